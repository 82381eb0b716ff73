"""An attempt at a job: claim, heartbeat, finish, retry, crash, release. Every verb is one guarded statement."""

from collections.abc import Sequence
from uuid import UUID

import structlog
from sqlalchemy import text

from milpa.errors import FatalError
from milpa.jobs import EventType, JobError, JobProgress, JobState
from storage.give_back import give_back
from storage.job_reader import JobReader
from storage.rows import Claim, ClaimRef, Ending, Heartbeat, PayloadName
from storage.session import payload_context, read_job, to_json

_CLAIM = text("""
WITH job AS (
    UPDATE jobs
    SET state = 'running', attempt = attempt + 1, last_seq = last_seq + 1, worker_id = :worker,
        lease_until = now() + make_interval(secs => :lease), rung_at = coalesce(rung_at, now()),
        started_at = coalesce(started_at, now()), progress = NULL, progress_logged_at = NULL
    WHERE id = :job AND state = 'queued' AND dispatch_no = :dispatch_no
    RETURNING *
), told AS (
    INSERT INTO job_events (tenant_id, job_id, seq, type, data)
    SELECT tenant_id, id, last_seq, 'started', jsonb_build_object('attempt', attempt) FROM job
)
SELECT job.*, input.data AS input, warm.data AS warm
FROM job
JOIN payloads AS input ON input.job_id = job.id AND input.name = 'input'
LEFT JOIN payloads AS warm ON warm.job_id = job.parent_id AND warm.name = 'result'
""")

_HEARTBEAT = text("""
WITH held AS (
    SELECT id, CAST(:event AS text) IS NOT NULL
               AND coalesce(progress_logged_at <= now() - interval '1 second', true) AS log
    FROM jobs
    WHERE id = :job AND attempt = :attempt AND state = 'running' AND lease_until > now()
    FOR UPDATE
), job AS (
    UPDATE jobs
    SET lease_until = now() + make_interval(secs => :lease),
        progress = coalesce(CAST(:progress AS jsonb), progress),
        progress_logged_at = CASE WHEN log THEN now() ELSE progress_logged_at END,
        last_seq = last_seq + CAST(log AS int)
    FROM held WHERE jobs.id = held.id
    RETURNING jobs.*, log
), told AS (
    INSERT INTO job_events (tenant_id, job_id, seq, type, data)
    SELECT tenant_id, id, last_seq, :event, coalesce(CAST(:progress AS jsonb), '{}') FROM job WHERE log
)
SELECT stop_requested_at IS NOT NULL AS stop, cancel_requested_at IS NOT NULL AS cancel, last_seq, log FROM job
""")

_FINISH = text("""
WITH job AS (
    UPDATE jobs
    SET state = :state, outcome = :outcome, limit_reached = :limit_reached, objective = :objective,
        verified = :verified, warnings = warnings || CAST(:warnings AS jsonb), solve_seconds = :solve_seconds,
        error = CAST(:error AS jsonb), progress = coalesce(CAST(:progress AS jsonb), progress),
        last_seq = last_seq + cardinality(CAST(:types AS text[])), finished_at = now(), lease_until = NULL
    WHERE id = :job AND attempt = :attempt AND state = 'running' AND lease_until > now()
        AND (cancel_requested_at IS NULL OR :state = 'cancelled')
    RETURNING tenant_id, id, last_seq
), kept AS (
    INSERT INTO payloads (tenant_id, job_id, name, data)
    SELECT tenant_id, id, name, data
    FROM job, unnest(CAST(:names AS text[]), CAST(:payloads AS bytea[])) AS payload (name, data)
), listed AS (
    INSERT INTO files (tenant_id, job_id, name, format, media_type, size, sha256, object_key)
    SELECT tenant_id, id, name, format, media_type, size, sha256, object_key
    FROM job, jsonb_to_recordset(CAST(:files AS jsonb))
        AS file (name text, format text, media_type text, size bigint, sha256 text, object_key text)
), told AS (
    INSERT INTO job_events (tenant_id, job_id, seq, type, data)
    SELECT tenant_id, id, last_seq - cardinality(CAST(:types AS text[])) + place, type, data
    FROM job, unnest(CAST(:types AS text[]), CAST(:data AS jsonb[])) WITH ORDINALITY AS event (type, data, place)
)
SELECT last_seq FROM job
""")

log = structlog.get_logger()

_CANCELLED = Ending(state=JobState.CANCELLED)


class Attempts(JobReader):
    """The verbs of the worker that holds a job. None or False: the attempt is stale, and nothing was written."""

    async def claim(self, job_id: UUID, dispatch_no: int, worker_id: UUID, lease_seconds: float) -> Claim | None:
        """Take a queued job for one attempt. None: a stale ring, drop it."""
        row = await self._session.first(
            _CLAIM, job=job_id, dispatch_no=dispatch_no, worker=worker_id, lease=lease_seconds
        )
        if row is None:
            return None
        job = read_job(row)
        self._session.outbox.event(self._tenant, job_id, job.last_seq)
        input_, unreadable = await self._opened(row["input"], job_id, "input")
        warm_start, _ = await self._opened(row["warm"], row["parent_id"], "result") if row["warm"] else (None, None)
        return Claim(
            ref=ClaimRef(self._tenant, job_id, job.attempt),
            job=job,
            input=input_ or b"",
            warm_start=warm_start,
            unreadable=unreadable,
        )

    async def _opened(self, sealed: bytes, job_id: UUID, name: PayloadName) -> tuple[bytes | None, JobError | None]:
        """Return a payload, or why it can't be opened: an error here would undo the claim, and the next one."""
        try:
            return await self._session.seal.open_async(sealed, payload_context(self._tenant, job_id, name)), None
        except FatalError as error:
            log.error("payload_unreadable", payload=name, code=error.code)  # noqa: TRY400  it is told with the job
            return None, JobError(error.code, error.message)

    async def heartbeat(
        self,
        ref: ClaimRef,
        lease_seconds: float,
        progress: JobProgress | None = None,
        event: EventType | None = None,
    ) -> Heartbeat | None:
        """Renew the lease, keep the newest progress, and learn what was asked meanwhile.

        event: `phase` or `incumbent` also writes the progress to the log, at most once a second per job: what comes
        sooner is kept on the job only. None: the attempt is over; end the solver and write nothing.
        """
        row = await self._session.first(
            _HEARTBEAT,
            job=ref.job_id,
            attempt=ref.attempt,
            lease=lease_seconds,
            progress=to_json(progress),
            event=event,
        )
        if row is None:
            return None
        if row["log"]:
            self._session.outbox.event(self._tenant, ref.job_id, row["last_seq"])
        return Heartbeat(stop=row["stop"], cancel=row["cancel"])

    async def finish(self, ref: ClaimRef, ending: Ending) -> bool:
        """End the job with all there is to keep, in one statement. A job whose cancel was asked ends `cancelled`."""
        return await self._end(ref, ending) or (
            ending.state is not JobState.CANCELLED and await self._end(ref, _CANCELLED)
        )

    async def _end(self, ref: ClaimRef, ending: Ending) -> bool:
        payloads = await self._sealed(ref, ending)
        events = _closing_events(ending)
        row = await self._session.first(
            _FINISH,
            job=ref.job_id,
            attempt=ref.attempt,
            state=ending.state,
            outcome=ending.outcome,
            limit_reached=ending.limit_reached,
            objective=ending.objective,
            verified=ending.verified,
            warnings=to_json(ending.warnings),
            solve_seconds=ending.solve_seconds,
            error=to_json(ending.error),
            progress=to_json(ending.progress),
            names=list(payloads),
            payloads=list(payloads.values()),
            files=to_json(ending.files),
            types=[type_ for type_, _ in events],
            data=[to_json(data) for _, data in events],
        )
        if row is None:
            return False
        self._session.outbox.ended(self._tenant, ref.job_id, row["last_seq"])
        return True

    async def _sealed(self, ref: ClaimRef, ending: Ending) -> dict[str, bytes]:
        payloads: dict[PayloadName, bytes | None] = {
            "result": ending.result,
            "report": ending.report,
            "log": ending.log,
        }
        return {
            name: await self._session.seal.seal_async(data, payload_context(self._tenant, ref.job_id, name))
            for name, data in payloads.items()
            if data is not None
        }

    async def retry(self, ref: ClaimRef, error: JobError, delay_seconds: float) -> bool:
        """Give the job back after a transient error; the last error allowed (a setting) fails it."""
        return bool(
            await give_back(
                self._session,
                [ref],
                event=EventType.RETRYING,
                error=error,
                errors=1,
                delay_seconds=delay_seconds,
            )
        )

    async def crash(self, ref: ClaimRef, delay_seconds: float = 0) -> bool:
        """Give the job back after its solver process died; the last crash allowed (a setting) fails it as `poison`."""
        return bool(
            await give_back(self._session, [ref], event=EventType.RETRYING, crashes=1, delay_seconds=delay_seconds)
        )

    async def release(self, ref: ClaimRef) -> bool:
        """Give the job back untried, because this worker shuts down; counts nothing."""
        return bool(await give_back(self._session, [ref], event=EventType.QUEUED))


def _closing_events(ending: Ending) -> Sequence[tuple[EventType, object]]:
    """Return a `file` event for each file, and the one that closes the job with what a listener wants to know."""
    told = {
        "outcome": ending.outcome,
        "limit_reached": ending.limit_reached,
        "objective": ending.objective,
        "verified": ending.verified,
        "solve_seconds": ending.solve_seconds,
        "error": ending.error,
    }
    files = [(EventType.FILE, {"name": file.name, "format": file.format, "size": file.size}) for file in ending.files]
    return [*files, (EventType(ending.state), {name: value for name, value in told.items() if value is not None})]
