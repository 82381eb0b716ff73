"""All that one tenant can do to its jobs: submit, attempt, ask to end, erase."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text

from milpa.errors import UsageError
from storage.attempts import Attempts
from storage.rows import JobRow
from storage.session import read_job
from storage.submit import Submission

_REQUEST = text("""
WITH job AS (
    UPDATE jobs
    SET stop_requested_at = CASE WHEN :stop THEN coalesce(stop_requested_at, now()) ELSE stop_requested_at END,
        cancel_requested_at = CASE WHEN :stop THEN cancel_requested_at ELSE coalesce(cancel_requested_at, now()) END,
        state = CASE WHEN state = 'running' THEN state WHEN :stop THEN 'succeeded' ELSE 'cancelled' END,
        outcome = CASE WHEN state <> 'running' AND :stop THEN 'no_solution' END,
        limit_reached = CASE WHEN state <> 'running' AND :stop THEN 'stopped' END,
        finished_at = CASE WHEN state <> 'running' THEN now() END,
        last_seq = last_seq + CAST(state <> 'running' AS int)
    WHERE id = :job AND finished_at IS NULL
    RETURNING *
), told AS (
    INSERT INTO job_events (tenant_id, job_id, seq, type, data)
    SELECT tenant_id, id, last_seq, state,
        jsonb_strip_nulls(jsonb_build_object('outcome', outcome, 'limit_reached', limit_reached))
    FROM job WHERE finished_at IS NOT NULL
)
SELECT * FROM job
""")

_LOCK = text("SELECT finished_at IS NOT NULL AS ended FROM jobs WHERE id = :job FOR UPDATE")

_DELETE = text("""
WITH gone AS (DELETE FROM jobs WHERE id = :job)
SELECT DISTINCT object_key FROM files AS mine
WHERE job_id = :job
    AND NOT EXISTS (SELECT FROM files AS other WHERE other.object_key = mine.object_key AND other.job_id <> mine.job_id)
""")


class JobStore(Submission, Attempts):
    """All that one tenant can do to its jobs. A foreign job is a missing one."""

    async def request_stop(self, job_id: UUID) -> JobRow | None:
        """Ask the job to end now with the best it has; one that does not run yet ends at once with `no_solution`.

        None: there is no such job. UsageError (`job_ended`): it has ended.
        """
        return await self._request(job_id, stop=True)

    async def request_cancel(self, job_id: UUID) -> JobRow | None:
        """Ask the job to end now and keep nothing; one that does not run yet is cancelled at once.

        None: there is no such job. UsageError (`job_ended`): it has ended.
        """
        return await self._request(job_id, stop=False)

    async def _request(self, job_id: UUID, *, stop: bool) -> JobRow | None:
        row = await self._session.first(_REQUEST, job=job_id, stop=stop)
        if row is None:
            if await self.get(job_id) is None:
                return None
            raise UsageError("job_ended", "The job has ended already.")
        job = read_job(row)
        if job.state.ended:
            self._session.outbox.event(self._tenant, job_id, job.last_seq)
            self._session.outbox.waiting = True
        else:
            self._session.outbox.controls.add(job_id)
        return job

    async def delete(self, job_id: UUID) -> Sequence[str] | None:
        """Erase an ended job with all that belongs to it; returns the keys of the objects to delete after the commit.

        None: there is no such job. UsageError (`job_not_ended`): it has not ended.
        """
        locked = await self._session.first(_LOCK, job=job_id)
        if locked is None:
            return None
        if not locked["ended"]:
            raise UsageError("job_not_ended", "The job has not ended yet; cancel it first.")
        return [row["object_key"] for row in await self._session.all(_DELETE, job=job_id)]
