"""One attempt at a job: claim, compute, upload, finish."""

import asyncio
import hashlib
import os
import random
import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import structlog

from milpa.errors import MilpaError, TransientError
from milpa.jobs import JobError, JobProgress, JobState, Outcome
from milpa.logging import bind_job
from storage.objects import ObjectStore, object_key
from storage.rows import Claim, Ending, JobRow, NewFile
from workers.child_process import Ended
from workers.context import WorkerContext
from workers.lease import Lease, Verdict
from workers.protocol import Blame, Failed, File, Limits, Solve, Solved
from workers.stopwatch import Stopwatch

LONGEST_RETRY_SECONDS = 60.0

log = structlog.get_logger(__name__)


async def run_job(ctx: dict[str, Any], tenant: str, job: str, dispatch_no: int) -> None:
    """Answer a ring: claim the job and try it once. A stale ring is dropped; nothing is ever raised to the queue."""
    context: WorkerContext = ctx["worker"]
    bind_job(UUID(job))
    try:
        taken_at, watch = time.monotonic(), Stopwatch()
        async with context.database.transaction(UUID(tenant)) as transaction:
            claim = await transaction.jobs.claim(UUID(job), dispatch_no, context.id, context.settings.lease_seconds)
        watch.lap("claim")
        if claim is not None:
            await _attempt(context, claim, Lease(context.database, context.settings, claim.ref, taken_at), watch)
            log.info("attempt_ended", attempt=claim.ref.attempt, **watch.seconds)
    except TransientError as error:
        log.warning("claim_unanswered", code=error.code)
    except Exception:
        log.exception("attempt_broke")  # the lease runs out, and the sweeper gives the job back


async def _attempt(context: WorkerContext, claim: Claim, lease: Lease, watch: Stopwatch) -> None:
    """Compute and finish, unless the lease is lost, the job cancelled or the worker drained before that."""
    context.leases[claim.job.id] = lease
    keeping = asyncio.create_task(lease.keep())
    draining = asyncio.create_task(context.draining.wait())
    computing = asyncio.create_task(_compute(context, claim, lease))
    try:
        await asyncio.wait({keeping, draining, computing}, return_when=asyncio.FIRST_COMPLETED)
        watch.lap("compute")
        if lease.seconds_left <= 0 or (keeping.done() and keeping.result() is Verdict.LOST):
            log.warning("lease_lost", attempt=claim.ref.attempt)
        elif keeping.done():
            await _end_child(computing)
            await lease.write(lambda jobs: jobs.finish(lease.ref, Ending(state=JobState.CANCELLED)))
        elif computing.done():
            await _settle(context, claim.job, lease, computing.result())
        else:
            await _end_child(computing)
            await lease.write(lambda jobs: jobs.release(lease.ref))
        watch.lap("finish")
    finally:
        for task in (keeping, draining, computing):
            task.cancel()
        await asyncio.gather(keeping, draining, computing, return_exceptions=True)
        if context.leases.get(claim.job.id) is lease:  # a later attempt may have come back to this worker
            del context.leases[claim.job.id]


async def _compute(context: WorkerContext, claim: Claim, lease: Lease) -> Ended:
    job = claim.job
    if claim.unreadable is not None:
        return Ended(Failed(blame=Blame.FATAL, code=claim.unreadable.code, message=claim.unreadable.message), b"")
    task = Solve(
        kind=job.kind,
        problem=claim.input,
        limits=_limits(context, job),
        formats=job.files,
        title=job.name or "",
        warm_start=claim.warm_start,
    )
    try:
        return await context.pool.compute(task, job.priority, on_progress=lease.report, stop=lease.stop)
    except MilpaError as error:
        return Ended(_failed(error), b"")


def _limits(context: WorkerContext, job: JobRow) -> Limits:
    settings, options = context.settings, job.options
    seconds = options.time_limit_seconds or settings.default_time_limit_seconds
    return Limits(
        seconds=min(seconds, settings.max_time_limit_seconds),
        relative_gap=options.relative_gap,
        threads=min(options.threads or settings.solve_threads, os.cpu_count() or 1),
        seed=options.seed,
    )


async def _end_child(computing: asyncio.Task[Ended]) -> None:
    computing.cancel()
    await asyncio.gather(computing, return_exceptions=True)


async def _settle(context: WorkerContext, job: JobRow, lease: Lease, ended: Ended) -> None:
    """Upload, and write down how the attempt ended; who is to blame for a failure decides whether it is tried again."""
    answer, files = ended.answer, []
    if isinstance(answer, Solved):
        try:
            files = await upload(context.objects, lease.ref.tenant_id, job.id, lease.ref.attempt, answer.files)
        except MilpaError as error:
            answer = _failed(error)
    if isinstance(answer, Solved):
        ending = success(answer, files, ended.log)
        await lease.write(lambda jobs: jobs.finish(lease.ref, ending))
    elif isinstance(answer, Failed):
        log.warning("attempt_failed", code=answer.code, blame=answer.blame, where=answer.detail)
        await _settle_failure(job, lease, answer, ended.log)


async def _settle_failure(job: JobRow, lease: Lease, failure: Failed, printed: bytes) -> None:
    error = JobError(failure.code, failure.message)
    if failure.blame is Blame.TRANSIENT:
        delay = retry_delay(job.error_count)
        await lease.write(lambda jobs: jobs.retry(lease.ref, error, delay))
    elif failure.blame is Blame.CRASH:
        await lease.write(lambda jobs: jobs.crash(lease.ref))
    else:
        ending = Ending(state=JobState.FAILED, error=error, log=printed or None)
        await lease.write(lambda jobs: jobs.finish(lease.ref, ending))


def success(answer: Solved, files: Sequence[NewFile], printed: bytes) -> Ending:
    """Return how a job ends that was solved; printed: the solver's log."""
    return Ending(
        state=JobState.SUCCEEDED,
        outcome=Outcome(answer.outcome),
        limit_reached=answer.limit,
        objective=answer.objective,
        verified=answer.verified,
        warnings=answer.warnings,
        solve_seconds=answer.solve_seconds,
        progress=JobProgress(
            phase="solve", fraction=1.0, objective=answer.objective, bound=answer.bound, gap=answer.gap
        ),
        result=answer.result,
        report=answer.report,
        log=printed or None,
        files=files,
    )


def _failed(error: MilpaError) -> Failed:
    blame = Blame.TRANSIENT if isinstance(error, TransientError) else Blame.FATAL
    return Failed(blame=blame, code=error.code, message=error.message)


async def upload(
    objects: ObjectStore, tenant_id: UUID, job_id: UUID, attempt: int | str, files: Sequence[File]
) -> list[NewFile]:
    """Put the files under write-once keys of this attempt, and return the rows that name them."""
    rows = [
        NewFile(
            name=file.name,
            format=file.format,
            media_type=file.media_type,
            size=len(file.data),
            sha256=hashlib.sha256(file.data).hexdigest(),
            object_key=object_key(tenant_id, job_id, attempt, file.name),
        )
        for file in files
    ]
    await asyncio.gather(*(objects.put(row.object_key, file.data) for row, file in zip(rows, files, strict=True)))
    return rows


def retry_delay(errors: int) -> float:
    """Return the pause in seconds before the next try: full jitter, doubling with every error."""
    return random.uniform(0, min(LONGEST_RETRY_SECONDS, 2.0 ** min(errors, 6)))  # noqa: S311  no secret
