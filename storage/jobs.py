"""All that one tenant can do to its jobs: submit, attempt, ask to end, erase."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text

from milpa.errors import UsageError
from storage.attempts import Attempts
from storage.rows import Idempotency, JobRow, SubmittedBatch
from storage.session import read_job
from storage.submit import Submission

_REQUEST = text("""
WITH held AS (
    SELECT id FROM jobs
    WHERE id = ANY (CAST(:jobs AS uuid[])) AND finished_at IS NULL
    ORDER BY id FOR UPDATE
), job AS (
    UPDATE jobs
    SET stop_requested_at = CASE WHEN :stop THEN coalesce(stop_requested_at, now()) ELSE stop_requested_at END,
        cancel_requested_at = CASE WHEN :stop THEN cancel_requested_at ELSE coalesce(cancel_requested_at, now()) END,
        state = CASE WHEN state = 'running' THEN state WHEN :stop THEN 'succeeded' ELSE 'cancelled' END,
        outcome = CASE WHEN state <> 'running' AND :stop THEN 'no_solution' END,
        limit_reached = CASE WHEN state <> 'running' AND :stop THEN 'stopped' END,
        finished_at = CASE WHEN state <> 'running' THEN now() END,
        last_seq = last_seq + CAST(state <> 'running' AS int)
    FROM held WHERE jobs.id = held.id
    RETURNING jobs.*
), told AS (
    INSERT INTO job_events (tenant_id, job_id, seq, type, data)
    SELECT tenant_id, id, last_seq, state,
        jsonb_strip_nulls(jsonb_build_object('outcome', outcome, 'limit_reached', limit_reached))
    FROM job WHERE finished_at IS NOT NULL
)
SELECT * FROM job
""")

_BATCH = text("SELECT name, webhook_url FROM batches WHERE id = :batch")
_UNENDED = text("SELECT id FROM jobs WHERE batch_id = :batch AND finished_at IS NULL")
_FAILED = text("SELECT * FROM jobs WHERE batch_id = :batch AND state = 'failed' ORDER BY id")

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
        asked = await self._request_all([job_id], stop=stop)
        if asked:
            return asked[0]
        if await self.get(job_id) is None:
            return None
        raise UsageError("job_ended", "The job has ended already.")

    async def _request_all(self, job_ids: Sequence[UUID], *, stop: bool) -> Sequence[JobRow]:
        jobs = [read_job(row) for row in await self._session.all(_REQUEST, jobs=list(job_ids), stop=stop)]
        for job in jobs:
            if job.state.ended:
                self._session.outbox.ended(self._tenant, job.id, job.last_seq)
            else:
                self._session.outbox.controls.add(job.id)
        return jobs

    async def cancel_batch(self, batch_id: UUID) -> int | None:
        """Cancel all that has not ended of the batch; returns how many jobs. None: there is no such batch."""
        if await self._session.first(_BATCH, batch=batch_id) is None:
            return None
        unended = await self._session.all(_UNENDED, batch=batch_id)
        return len(await self._request_all([row["id"] for row in unended], stop=False))

    async def retry_batch(self, batch_id: UUID, idempotency: Idempotency | None = None) -> SubmittedBatch | None:
        """Make a new batch from the inputs of the batch's failed jobs, in their order. None: there is no such batch.

        UsageError (`nothing_to_retry`): none of its jobs has failed. (`input_gone`): an input was pruned.
        """
        batch = await self._session.first(_BATCH, batch=batch_id)
        if batch is None:
            return None
        failed = [read_job(row) for row in await self._session.all(_FAILED, batch=batch_id)]
        if not failed:
            raise UsageError("nothing_to_retry", "No job of this batch has failed.")
        again = [await self.again(job) for job in failed]
        return await self.submit_batch(batch["name"], again, batch["webhook_url"], idempotency)

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
