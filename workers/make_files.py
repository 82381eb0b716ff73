"""Files asked for after a job has ended: describe the kept result once more, render, upload."""

import asyncio
from typing import Any
from uuid import UUID

import structlog

from milpa.errors import MilpaError, TransientError
from milpa.jobs import Priority, new_id
from milpa.logging import bind_job
from storage.rows import FileRequest
from workers.context import WorkerContext
from workers.protocol import Render, Rendered
from workers.run_job import upload

log = structlog.get_logger(__name__)


async def make_files(ctx: dict[str, Any], tenant: str, job: str, dispatch_no: int) -> None:
    """Answer a ring for files. A stale ring is dropped; nothing is ever raised to the queue."""
    context: WorkerContext = ctx["worker"]
    tenant_id, job_id = UUID(tenant), UUID(job)
    bind_job(job_id)
    try:
        async with context.database.transaction(tenant_id) as transaction:
            request = await transaction.files.claim(job_id, dispatch_no)
        if request is None:
            return
        await _make_or_give_back(context, tenant_id, request)
    except TransientError as error:
        log.warning("files_unanswered", code=error.code)
    except Exception:
        log.exception("files_unclaimed")  # the request is rung again when its time is over


async def _make_or_give_back(context: WorkerContext, tenant_id: UUID, request: FileRequest) -> None:
    """Make the files, unless the worker is drained before that: then another one shall."""
    making = asyncio.create_task(_render_and_upload(context, tenant_id, request))
    draining = asyncio.create_task(context.draining.wait())
    try:
        await asyncio.wait({making, draining}, return_when=asyncio.FIRST_COMPLETED)
        made = making.result() if making.done() else None
    finally:
        for task in (making, draining):
            task.cancel()
        await asyncio.gather(making, draining, return_exceptions=True)
    if not made:
        async with context.database.transaction(tenant_id) as transaction:
            await (transaction.files.release(request) if made is None else transaction.files.fail(request))


async def _render_and_upload(context: WorkerContext, tenant_id: UUID, request: FileRequest) -> bool:
    """Make the files and close the request. False: it could not be done, this time, whatever broke."""
    try:
        task = await _task(context, tenant_id, request)
        if task is None:
            return False
        ended = await context.pool.compute(task, Priority.INTERACTIVE, on_progress=lambda _: None, stop=asyncio.Event())
        if not isinstance(ended.answer, Rendered):
            log.warning("files_failed", answer=type(ended.answer).__name__)
            return False
        files = await upload(context.objects, tenant_id, request.job_id, f"later-{new_id()}", ended.answer.files)
        async with context.database.transaction(tenant_id) as transaction:
            await transaction.files.finish(request, files)
    except MilpaError as error:
        log.warning("files_failed", code=error.code)
        return False
    except Exception:
        log.exception("files_broke")
        return False
    return True


async def _task(context: WorkerContext, tenant_id: UUID, request: FileRequest) -> Render | None:
    """Return what the child needs, or None when the job or its payloads are gone."""
    async with context.database.transaction(tenant_id) as transaction:
        job = await transaction.jobs.get(request.job_id)
        problem = await transaction.jobs.payload(request.job_id, "input")
        result = await transaction.jobs.payload(request.job_id, "result")
    if job is None or problem is None or result is None:
        return None
    return Render(
        kind=job.kind,
        problem=problem,
        result=result,
        limit=job.limit_reached,
        formats=request.formats,
        title=job.name or "",
    )
