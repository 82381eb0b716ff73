"""The register of worker processes: how many slots the fleet has."""

from collections.abc import Sequence
from uuid import UUID

from storage.rows import WorkerRow
from storage.session import Session


class WorkerStore:
    """Who is alive."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def seen(self, worker_id: UUID, name: str, interactive_slots: int, batch_slots: int) -> None:
        """Register the worker, or say that it is still alive. Its slots count while it was seen within a lease's time."""
        ...

    async def leave(self, worker_id: UUID) -> None:
        """Take the worker off the register."""
        ...

    async def list(self) -> Sequence[WorkerRow]:
        """Return the workers alive."""
        ...
