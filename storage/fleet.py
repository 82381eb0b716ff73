"""The job core across tenants: admission in fair order, rescue, upkeep. It sees rows, never payloads."""

from collections.abc import Sequence
from uuid import UUID

from milpa.jobs import Priority
from storage.rows import JobRow, QueueRow, Ring
from storage.session import Session


class FleetStore:
    """What dispatchers, sweepers and the ledger do to all jobs."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def admit(self, limit: int = 1000) -> list[Ring]:
        """Choose in fair order the waiting jobs to ring for now, and note that they are rung."""
        ...

    async def admit_files(self, limit: int = 100) -> list[Ring]:
        """Choose the requests for files to ring for now, and note that they are rung."""
        ...

    async def rung(self, older_than_seconds: float) -> list[Ring]:
        """Return the rings that nobody has answered for so long."""
        ...

    async def unring(self, rings: Sequence[Ring]) -> int:
        """Let these be admitted again, under a new dispatch number; returns how many were still unanswered."""
        ...

    async def start_due(self) -> int:
        """Queue the scheduled jobs whose time has come; returns how many."""
        ...

    async def rescue(self) -> list[JobRow]:
        """Give back the jobs whose lease has expired, or end them where that is due; returns them as they are now."""
        ...

    async def prune(self, retention_days: float) -> list[str]:
        """Drop payloads and files of jobs ended so long ago, and expired idempotency keys; returns object keys to delete.

        Call again until it returns nothing: each call is one small bite.
        """
        ...

    async def unnamed(self, keys: Sequence[str]) -> list[str]:
        """Return those object keys that no file row names."""
        ...

    async def queues(self) -> list[QueueRow]:
        """Return how each queue stands."""
        ...

    async def pause(self, queue: Priority) -> None:
        """Ring no more jobs of this queue; those that run go on."""
        ...

    async def resume(self, queue: Priority) -> None:
        """Ring its jobs again."""
        ...
