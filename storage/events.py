"""The event log: append-only; every verb writes its rows with the change they tell of. Readers are here."""

from collections.abc import Sequence
from uuid import UUID

from milpa.jobs import JobEvent
from storage.rows import StreamedEvent
from storage.session import Session


class EventLog:
    """One tenant's log of events."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def after(self, job_id: UUID, seq: int = 0, limit: int = 1000) -> list[JobEvent]:
        """Return the job's events with a greater seq, in order."""
        ...

    async def now(self) -> str:
        """Return the position behind which everything is still to come."""
        ...

    async def stream(
        self, position: str, limit: int = 1000, kind: str | None = None, job_ids: Sequence[UUID] = ()
    ) -> list[StreamedEvent]:
        """Return what was committed behind the position, over all jobs: state changes, and everything of `job_ids`.

        A position never passes a row that may still be committed, so that nothing is missed.
        UsageError (`bad_position`): the position was not made by this log.
        """
        ...
