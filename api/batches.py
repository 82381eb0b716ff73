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
from api.auth import Permission
from api.bodies import AnyRequest, answer, read_json
from api.entries import read_entries
from api.events import open_stream
from api.links import base_url, show_job
from api.operations import Answer, Operation
from api.problem_details import invalid, not_found
from api.queries import idempotency_key
from api.services import services_of
from api.submissions import Line, idempotency_of
from milpa.jobs import Job, JobState
from milpa.settings import Settings
from solvers.decode import decode
from storage.rows import BatchRow, NewJob


class BatchRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Jobs that belong together: each as its own submit would say it, with its `kind`."""

    jobs: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=1000)]
    name: Line | None = None


class BatchMade(msgspec.Struct, frozen=True, kw_only=True):
    """A batch just made, its jobs in the order given."""

    id: UUID
    jobs: list[Job]
    links: dict[str, str]


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch and how many of its jobs are in each state."""

    id: UUID
    name: str | None
    size: int
    counts: dict[JobState, int]
    created_at: datetime
    links: dict[str, str]


@post(
    "/v1/batches",
    requires=Permission.SUBMIT,
    operation=Operation(
        tag="Batches",
        body=BatchRequest,
        headers=("Idempotency-Key",),
        answers={202: Answer("The batch.", BatchMade, headers=("Location", "Idempotency-Replayed"))},
    ),
)
async def submit_batch(request: AnyRequest) -> Response[bytes]:
    """Submit up to 1,000 jobs at once: all of them, or none."""
    services = services_of(request)
    key = idempotency_key(request)
    body = await read_json(request, services.settings.max_body_bytes)
    name, jobs = await _read(body, services.settings)
    idempotency = await idempotency_of(key, jobs, name)
    async with services.database.transaction(request.user.tenant) as transaction:
        batch = await transaction.jobs.submit_batch(name, jobs, idempotency=idempotency)
    base = base_url(request)
    links = _links(batch.batch_id, base)
    made = BatchMade(id=batch.batch_id, jobs=[show_job(row, base) for row in batch.jobs], links=links)
    replayed: Mapping[str, str] = {"Idempotency-Replayed": "true"} if batch.replayed else {}
    return answer(made, 202, {"Location": links["self"], **replayed})


async def _read(body: bytes, settings: Settings) -> tuple[str | None, list[NewJob]]:
    """Read every entry; one that is wrong refuses them all, with the issues of all."""
    decoded = decode(body, BatchRequest, max_depth=settings.max_json_depth)
    if decoded.value is None:
        raise invalid(decoded.issues, decoded.total)
    entries = await read_entries(decoded.value.jobs, settings)
    if entries.issues:
        raise invalid(entries.issues, entries.total)
    return decoded.value.name, entries.jobs


@get(
    "/v1/batches/{batch_id:uuid}",
    requires=Permission.READ,
    operation=Operation(tag="Batches", answers={200: Answer("The batch.", Batch)}),
)
async def show_batch(request: AnyRequest, batch_id: FromPath[UUID]) -> Response[bytes]:
    """Show a batch, with its jobs counted by state."""
    row = await _get(request, batch_id)
    batch = Batch(
        id=row.id,
        name=row.name,
        size=row.size,
        counts=row.counts,
        created_at=row.created_at,
        links=_links(row.id, base_url(request)),
    )
    return answer(batch)


@get(
    "/v1/batches/{batch_id:uuid}/events",
    requires=Permission.READ,
    operation=Operation(
        tag="Batches", answers={200: Answer("A stream of counts by state.", media_type=sse.MEDIA_TYPE)}, problems=(429,)
    ),
)
async def follow_batch(request: AnyRequest, batch_id: FromPath[UUID]) -> Stream:
    """Follow a batch.

    `progress` tells its counts by state whenever they change, `finished` once all jobs have ended; then `end`.
    """
    await _get(request, batch_id)
    return open_stream(request, services_of(request).hub.follow_batch(request.user.tenant, batch_id))


async def _get(request: AnyRequest, batch_id: UUID) -> BatchRow:
    async with services_of(request).database.transaction(request.user.tenant) as transaction:
        row = await transaction.batches.get(batch_id)
    if row is None:
        raise not_found("batch")
    return row


def _links(batch_id: UUID, base: str) -> dict[str, Any]:
    self = f"{base}/v1/batches/{batch_id}"
    return {"self": self, "events": f"{self}/events", "jobs": f"{base}/v1/jobs?batch_id={batch_id}"}


ROUTES = [submit_batch, show_batch, follow_batch]
