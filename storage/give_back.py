"""Giving running jobs back to the queue, or ending those for which that was the last time."""

from collections.abc import Sequence

from sqlalchemy import text

from milpa.jobs import EventType, JobError
from storage.rows import ClaimRef, JobRow
from storage.session import Session, read_job, to_json

_GIVE_BACK = text("""
WITH held AS (
    SELECT tenant_id, id,
        CASE WHEN cancel_requested_at IS NOT NULL THEN 'cancelled'
             WHEN CAST(:errors AS int) > 0 AND error_count + :errors >= CAST(:max_errors AS int) THEN 'failed'
             WHEN CAST(:crashes AS int) > 0 AND crash_count + :crashes >= CAST(:max_crashes AS int) THEN 'failed'
             WHEN stop_requested_at IS NOT NULL THEN 'succeeded'
             ELSE 'queued' END AS target
    FROM jobs
    JOIN unnest(CAST(:tenants AS uuid[]), CAST(:jobs AS uuid[]), CAST(:attempts AS int[]))
        AS held (tenant_id, id, attempt) USING (tenant_id, id, attempt)
    WHERE state = 'running' AND (lease_until > now()) = CAST(:alive AS boolean)
    FOR UPDATE OF jobs
), job AS (
    UPDATE jobs
    SET state = target, error_count = error_count + :errors, crash_count = crash_count + :crashes,
        dispatch_no = dispatch_no + 1, last_seq = last_seq + 1, lease_until = NULL, rung_at = NULL, progress = NULL,
        run_at = CASE WHEN CAST(:delay AS float) > 0 THEN now() + make_interval(secs => :delay) ELSE run_at END,
        outcome = CASE WHEN target = 'succeeded' THEN 'no_solution' END,
        limit_reached = CASE WHEN target = 'succeeded' THEN 'stopped' END,
        error = CASE WHEN target = 'failed' THEN CAST(:error AS jsonb) END,
        finished_at = CASE WHEN target <> 'queued' THEN now() END
    FROM held WHERE jobs.tenant_id = held.tenant_id AND jobs.id = held.id
    RETURNING jobs.*
), told AS (
    INSERT INTO job_events (tenant_id, job_id, seq, type, data)
    SELECT tenant_id, id, last_seq, CASE WHEN state = 'queued' THEN :event ELSE state END,
        jsonb_strip_nulls(jsonb_build_object('attempt', attempt, 'outcome', outcome, 'limit_reached', limit_reached,
            'error', CASE WHEN state = 'failed' OR (state = 'queued' AND :errors > 0) THEN CAST(:error AS jsonb) END,
            'delay_seconds', CASE WHEN state = 'queued' AND :delay > 0 THEN CAST(:delay AS float) END))
    FROM job
)
SELECT * FROM job
""")

POISON = JobError("poison", "The job's worker died too often while solving it; it will not be tried again.")


async def give_back(
    session: Session,
    held: Sequence[ClaimRef],
    *,
    event: EventType,
    error: JobError | None = None,
    errors: int = 0,
    crashes: int = 0,
    delay_seconds: float = 0,
    alive: bool = True,
) -> list[JobRow]:
    """Take these attempts off their workers; returns the jobs as they are now, stale attempts left out.

    A job goes back to the queue unless its end was asked for meanwhile, or its errors or crashes have reached their
    limit. alive: whether the leases must still run, or must have expired.
    """
    rows = await session.all(
        _GIVE_BACK,
        tenants=[ref.tenant_id for ref in held],
        jobs=[ref.job_id for ref in held],
        attempts=[ref.attempt for ref in held],
        event=event,
        error=to_json(POISON if crashes else error),
        errors=errors,
        crashes=crashes,
        delay=float(delay_seconds),
        max_errors=session.settings.max_errors,
        max_crashes=session.settings.max_crashes,
        alive=alive,
    )
    jobs = [read_job(row) for row in rows]
    for job in jobs:
        tell = session.outbox.ended if job.state.ended else session.outbox.event
        tell(job.tenant_id, job.id, job.last_seq)
    session.outbox.waiting |= bool(jobs)
    return jobs
