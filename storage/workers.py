"""The register of worker processes: how many slots the fleet has."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text

from storage.rows import WorkerRow
from storage.session import Session, read

_SEEN = text("""
INSERT INTO workers (id, name, interactive_slots, batch_slots) VALUES (:id, :name, :interactive_slots, :batch_slots)
ON CONFLICT (id) DO UPDATE
SET seen_at = now(), name = excluded.name, interactive_slots = excluded.interactive_slots,
    batch_slots = excluded.batch_slots
""")
_LEAVE = text("DELETE FROM workers WHERE id = :id")
_LIST = text("SELECT * FROM workers WHERE seen_at > now() - make_interval(secs => :alive) ORDER BY started_at, id")


class WorkerStore:
    """Who is alive."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def seen(self, worker_id: UUID, name: str, interactive_slots: int, batch_slots: int) -> None:
        """Register the worker, or say that it is still alive: its slots count for a lease's time after this."""
        await self._session.run(
            _SEEN, id=worker_id, name=name, interactive_slots=interactive_slots, batch_slots=batch_slots
        )
        self._session.outbox.waiting = True

    async def leave(self, worker_id: UUID) -> None:
        """Take the worker off the register."""
        await self._session.run(_LEAVE, id=worker_id)

    async def list(self) -> Sequence[WorkerRow]:
        """Return the workers alive."""
        rows = await self._session.all(_LIST, alive=self._session.settings.lease_seconds)
        return [read(row, WorkerRow) for row in rows]
