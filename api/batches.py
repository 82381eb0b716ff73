"""Batches: up to 1,000 jobs in one transaction, counted together."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Stream

from api import sse
from api.bodies import AnyRequest, answer, decode_body, off_loop, read_json
from api.entries import read_entries, read_loose
from api.events import open_stream
from api.limits import making_jobs
from api.links import base_url, show_job
from api.operations import Answer, Operation
from api.principal import Permission
from api.problem_details import invalid, not_found
from api.queries import idempotency_key
from api.services import services_of, settings_for
from api.submissions import Line, idempotency_of
from api.trails import note_made, transaction_of
from api.web_addresses import WebAddress
from milpa.jobs import Job, JobState
from milpa.settings import Settings
from storage.rows import BatchRow, NewJob, SubmittedBatch
from storage.submit import MAX_BATCH


class BatchRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Jobs that belong together: each as its own submit would say it, with its `kind`.

    webhook_url: told once, when the last of them has ended.
    """

    jobs: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=MAX_BATCH)]
    name: Line | None = None
    webhook_url: WebAddress | None = None


class BatchMade(msgspec.Struct, frozen=True, kw_only=True):
    """A batch just made, its jobs in the order given."""

    id: UUID
    jobs: list[Job]
    links: dict[str, str]


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch and how many of its jobs are in each state. finished_at: when the last of them ended."""

    id: UUID
    name: str | None
    size: int
    counts: dict[JobState, int]
    created_at: datetime
    finished_at: datetime | None
    links: dict[str, str]


@post(
    "/v1/batches",
    requires=Permission.SUBMIT,
    operation=Operation(
        tag="Batches",
        body=BatchRequest,
        headers=("Idempotency-Key",),
        answers={202: Answer("The batch.", BatchMade, headers=("Location", "Idempotency-Replayed"))},
        limited=True,
    ),
)
async def submit_batch(request: AnyRequest) -> Response[bytes]:
    """Submit up to 1,000 jobs at once: all of them, or none."""
    key = idempotency_key(request)
    body = await read_json(request)
    asked, jobs = await _read(body, settings_for(request))
    idempotency = await idempotency_of(key, jobs, asked.name, asked.webhook_url)
    async with making_jobs(request) as transaction:
        batch = await transaction.jobs.submit_batch(asked.name, jobs, asked.webhook_url, idempotency)
        note_made(request, batch.batch_id)
    return _answer_made(request, batch)


def _answer_made(request: AnyRequest, batch: SubmittedBatch) -> Response[bytes]:
    base = base_url(request)
    links = _links(batch.batch_id, base)
    made = BatchMade(id=batch.batch_id, jobs=[show_job(row, base) for row in batch.jobs], links=links)
    replayed: Mapping[str, str] = {"Idempotency-Replayed": "true"} if batch.replayed else {}
    return answer(made, 202, {"Location": links["self"], **replayed})


async def _read(body: bytes, settings: Settings) -> tuple[BatchRequest, list[NewJob]]:
    """Read every entry, whatever is wrong beside them; one that is wrong refuses them all, with the issues of all."""
    decoded = await off_loop(len(body), lambda: decode_body(body, BatchRequest, settings))
    loose = await read_loose(body, settings)
    entries = await read_entries(loose.entries(MAX_BATCH), settings)
    wrong = [*decoded.issues, *loose.address_issues(decoded.issues, settings)]
    if decoded.value is None or entries.issues or wrong:
        raise invalid([*wrong, *entries.issues], decoded.total + len(wrong) - len(decoded.issues) + entries.total)
    return decoded.value, entries.jobs


@get(
    "/v1/batches/{batch_id:uuid}",
    requires=Permission.READ,
    operation=Operation(tag="Batches", answers={200: Answer("The batch.", Batch)}),
)
async def show_batch(request: AnyRequest, batch_id: FromPath[UUID]) -> Response[bytes]:
    """Show a batch, with its jobs counted by state."""
    return _answer_batch(request, await _get(request, batch_id))


@post(
    "/v1/batches/{batch_id:uuid}/cancel",
    requires=Permission.SUBMIT,
    operation=Operation(tag="Batches", answers={202: Answer("The batch.", Batch)}),
)
async def cancel_batch(request: AnyRequest, batch_id: FromPath[UUID]) -> Response[bytes]:
    """Cancel all jobs of a batch that have not ended, and keep nothing of them."""
    async with transaction_of(request) as transaction:
        await transaction.jobs.cancel_batch(batch_id)
        row = await transaction.batches.get(batch_id)
    return _answer_batch(request, _found(row), 202)


@post(
    "/v1/batches/{batch_id:uuid}/retry",
    requires=Permission.SUBMIT,
    operation=Operation(
        tag="Batches",
        headers=("Idempotency-Key",),
        answers={202: Answer("The new batch.", BatchMade, headers=("Location", "Idempotency-Replayed"))},
        problems=(409,),
        limited=True,
    ),
)
async def retry_batch(request: AnyRequest, batch_id: FromPath[UUID]) -> Response[bytes]:
    """Make a new batch from the inputs of a batch's failed jobs.

    It has the same name and tells the same address.
    """
    idempotency = await idempotency_of(idempotency_key(request), [], "retry", batch_id)
    async with making_jobs(request) as transaction:
        batch = await transaction.jobs.retry_batch(batch_id, idempotency)
        if batch is None:
            raise not_found("batch")
        note_made(request, batch.batch_id)
    return _answer_made(request, batch)


@get(
    "/v1/batches/{batch_id:uuid}/events",
    requires=Permission.READ,
    operation=Operation(
        tag="Batches", answers={200: Answer("A stream of counts by state.", media_type=sse.MEDIA_TYPE)}, limited=True
    ),
)
async def follow_batch(request: AnyRequest, batch_id: FromPath[UUID]) -> Stream:
    """Follow a batch.

    `progress` tells its counts by state whenever they change, `finished` once all jobs have ended; then `end`.
    """
    await _get(request, batch_id)
    return await open_stream(request, services_of(request).hub.follow_batch(request.user.tenant, batch_id))


async def _get(request: AnyRequest, batch_id: UUID) -> BatchRow:
    async with transaction_of(request) as transaction:
        return _found(await transaction.batches.get(batch_id))


def _found(row: BatchRow | None) -> BatchRow:
    if row is None:
        raise not_found("batch")
    return row


def _answer_batch(request: AnyRequest, row: BatchRow, status: int = 200) -> Response[bytes]:
    batch = Batch(
        id=row.id,
        name=row.name,
        size=row.size,
        counts=row.counts,
        created_at=row.created_at,
        finished_at=row.finished_at,
        links=_links(row.id, base_url(request)),
    )
    return answer(batch, status)


def _links(batch_id: UUID, base: str) -> dict[str, Any]:
    self = f"{base}/v1/batches/{batch_id}"
    return {"self": self, "events": f"{self}/events", "jobs": f"{base}/v1/jobs?batch_id={batch_id}"}


ROUTES = [submit_batch, show_batch, cancel_batch, retry_batch, follow_batch]
