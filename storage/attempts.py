"""An attempt at a job: claim, heartbeat, finish, retry, crash, release. Every verb is one guarded statement."""

from typing import Any
from uuid import UUID

from sqlalchemy import text

from milpa.jobs import EventType, JobError, JobProgress, JobState
from storage.rows import Claim, ClaimRef, Ending, Heartbeat
from storage.session import Session, payload_context, read_job, to_json

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
WITH job AS (
    SELECT id, CAST(:event AS text) IS NOT NULL
               AND coalesce(progress_logged_at <= now() - interval '1 second', true) AS log
    FROM jobs
    WHERE id = :job AND attempt = :attempt AND state = 'running' AND lease_until > now()
    FOR UPDATE
), beat AS (
    UPDATE jobs
    SET lease_until = now() + make_interval(secs => :lease),
        progress = coalesce(CAST(:progress AS jsonb), progress),
        progress_logged_at = CASE WHEN job.log THEN now() ELSE progress_logged_at END,
        last_seq = last_seq + CASE WHEN job.log THEN 1 ELSE 0 END
    FROM job WHERE jobs.id = job.id
    RETURNING jobs.*, job.log
), told AS (
    INSERT INTO job_events (tenant_id, job_id, seq, type, data)
    SELECT tenant_id, id, last_seq, :event, coalesce(CAST(:progress AS jsonb), '{}') FROM beat WHERE log
)
SELECT stop_requested_at IS NOT NULL AS stop, cancel_requested_at IS NOT NULL AS cancel, last_seq, log FROM beat
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

_GIVE_BACK = text("""
WITH job AS (
    SELECT id,
           error_count + CAST(:errors AS int) AS errors,
           crash_count + CAST(:crashes AS int) AS crashes,
           CASE WHEN cancel_requested_at IS NOT NULL THEN 'cancelled'
                WHEN :errors > 0 AND error_count + :errors >= :max_errors THEN 'failed'
                WHEN :crashes > 0 AND crash_count + :crashes >= :max_crashes THEN 'failed'
                WHEN stop_requested_at IS NOT NULL THEN 'succeeded'
                ELSE 'queued' END AS target
    FROM jobs
    WHERE id = :job AND attempt = :attempt AND state = 'running' AND lease_until > now()
    FOR UPDATE
)
""")


class Attempts:
    """The verbs of the worker that holds a job. None or False: the attempt is stale, and nothing was written."""

    _session: Session
    _tenant: UUID

    async def claim(self, job_id: UUID, dispatch_no: int, worker_id: UUID, lease_seconds: float) -> Claim | None:
        """Take a queued job for one attempt. None: a stale ring, drop it."""
        row = await self._session.first(
            _CLAIM, job=job_id, dispatch_no=dispatch_no, worker=worker_id, lease=lease_seconds
        )
        if row is None:
            return None
        job = read_job(row)
        self._session.outbox.event(self._tenant, job_id, job.last_seq)
        return Claim(
            ref=ClaimRef(self._tenant, job_id, job.attempt),
            job=job,
            input=await self._open(row["input"], job_id, "input"),
            warm_start=await self._open(row["warm"], job.parent_id, "result") if row["warm"] else None,
        )

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
        ...

    async def finish(self, ref: ClaimRef, ending: Ending) -> bool:
        """End the job with all there is to keep, in one statement. A job whose cancel was asked ends `cancelled`."""
        ...

    async def retry(self, ref: ClaimRef, error: JobError, delay_seconds: float) -> bool:
        """Give the job back after a transient error; the last error allowed (a setting) fails it."""
        ...

    async def crash(self, ref: ClaimRef, delay_seconds: float = 0) -> bool:
        """Give the job back after its solver process died; the last crash allowed (a setting) fails it as `poison`."""
        ...

    async def release(self, ref: ClaimRef) -> bool:
        """Give the job back untried, because this worker shuts down; counts nothing."""
        ...
