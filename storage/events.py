"""The event log: append-only; every verb writes its rows with the change they tell of. Readers are here."""

import re
from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import text

from milpa.errors import UsageError
from milpa.jobs import JobEvent
from storage.rows import StreamedEvent
from storage.session import Row, Session, read

_AFTER = text("""
SELECT job_id, seq, type, data, at FROM job_events WHERE job_id = :job AND seq > :seq ORDER BY seq LIMIT :limit
""")

_AFTER_EACH = text("""
SELECT event.job_id, event.seq, event.type, event.data, event.at
FROM unnest(CAST(:jobs AS uuid[]), CAST(:seqs AS int[])) AS known (job_id, seq)
CROSS JOIN LATERAL (
    SELECT * FROM job_events WHERE job_id = known.job_id AND seq > known.seq ORDER BY seq LIMIT :limit
) AS event
ORDER BY event.job_id, event.seq
""")

_HEADS = text("SELECT id, last_seq FROM jobs WHERE id = ANY (CAST(:jobs AS uuid[]))")

_HORIZON = text("SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint) AS horizon")

_STREAM = text("""
SELECT event.job_id, event.seq, event.type, event.data, event.at, event.written_by, job.kind
FROM job_events AS event
JOIN jobs AS job ON job.tenant_id = event.tenant_id AND job.id = event.job_id
WHERE (event.written_by, event.job_id, event.seq) > (CAST(:written_by AS bigint), CAST(:job AS uuid), CAST(:seq AS int))
    AND event.written_by < CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint)
    AND CASE WHEN cardinality(CAST(:jobs AS uuid[])) > 0 THEN event.job_id = ANY (:jobs)
             ELSE event.type NOT IN ('phase', 'incumbent', 'file') END
    AND (CAST(:kind AS text) IS NULL OR job.kind = :kind)
ORDER BY event.written_by, event.job_id, event.seq
LIMIT :limit
""")

_NIL = UUID(int=0)
_POSITION = re.compile(r"([0-9]{1,18})\.([0-9a-f]{32})\.([0-9]{1,9})")


class EventLog:
    """One tenant's log of events."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def after(self, job_id: UUID, seq: int = 0, limit: int = 1000) -> list[JobEvent]:
        """Return the job's events with a greater seq, in order."""
        rows = await self._session.all(_AFTER, job=job_id, seq=seq, limit=limit)
        return [read(row, JobEvent) for row in rows]

    async def after_each(self, known: Mapping[UUID, int], limit: int = 1000) -> list[JobEvent]:
        """Return the events of many jobs with a greater seq than the one known of each, at most `limit` of one job."""
        jobs, seqs = list(known), list(known.values())
        rows = await self._session.all(_AFTER_EACH, jobs=jobs, seqs=seqs, limit=limit)
        return [read(row, JobEvent) for row in rows]

    async def heads(self, job_ids: Sequence[UUID]) -> dict[UUID, int]:
        """Return the newest seq of those of the jobs that exist."""
        rows = await self._session.all(_HEADS, jobs=list(job_ids))
        return {row["id"]: row["last_seq"] for row in rows}

    async def now(self) -> str:
        """Return the position behind which everything is still to come."""
        row = await self._session.one(_HORIZON)
        return _position(row["horizon"], _NIL, 0)

    async def stream(
        self, position: str, limit: int = 1000, kind: str | None = None, job_ids: Sequence[UUID] = ()
    ) -> list[StreamedEvent]:
        """Return what was committed behind the position: state changes of all jobs, or everything of `job_ids`.

        A position never passes a row that may still be committed, so that nothing is missed: rows are held back while
        an older transaction is open. UsageError (`bad_position`): the position was not made by this log.
        """
        written_by, job_id, seq = _parse(position)
        rows = await self._session.all(
            _STREAM, written_by=written_by, job=job_id, seq=seq, jobs=list(job_ids), kind=kind, limit=limit
        )
        return [_streamed(row) for row in rows]


def _streamed(row: Row) -> StreamedEvent:
    return StreamedEvent(
        position=_position(row["written_by"], row["job_id"], row["seq"]), kind=row["kind"], event=read(row, JobEvent)
    )


def _position(written_by: int, job_id: UUID, seq: int) -> str:
    return f"{written_by}.{job_id.hex}.{seq}"


def _parse(position: str) -> tuple[int, UUID, int]:
    found = _POSITION.fullmatch(position)
    if found is None:
        raise UsageError("bad_position", "This is not a position in the event log.")
    return int(found[1]), UUID(found[2]), int(found[3])
