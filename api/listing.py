"""Lists of jobs: filters, and a signed cursor that only fits the list it came from."""

from datetime import datetime
from hashlib import sha256
from typing import Annotated
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

import msgspec
from litestar import Response

from api.bodies import AnyRequest, answer
from api.links import base_url, show_job
from api.queries import bad_parameter, described
from api.services import services_of
from api.times import Time
from api.trails import transaction_of
from milpa.jobs import Job, JobState
from storage.rows import JobFilter, JobRow


class JobsQuery(msgspec.Struct, frozen=True):
    """Which jobs to list; all filters hold together."""

    state: Annotated[tuple[JobState, ...], described("In one of these states.")] = ()
    kind: Annotated[str, described("Of this kind.")] | None = None
    tag: Annotated[str, described("With this tag.")] | None = None
    batch_id: Annotated[UUID, described("Of this batch.")] | None = None
    name: Annotated[str, described("With this in its name, whatever the case.")] | None = None
    created_after: Annotated[Time, described("Made after this time.")] | None = None
    created_before: Annotated[Time, described("Made before this time.")] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=200), described("How many at most.")] = 50
    cursor: Annotated[str, described("From `next`, with the same filters.")] | None = None


class JobPage(msgspec.Struct, frozen=True):
    """Jobs, newest first; next: the address of the page after this one."""

    items: list[Job]
    next: str | None


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """The last job of a page, and a hash of the list it belongs to."""

    created_at: datetime
    job_id: UUID
    of: bytes


async def list_page(request: AnyRequest, query: JobsQuery) -> Response[bytes]:
    """Answer with one page and the way to the next."""
    services = services_of(request)
    tenant: UUID = request.user.tenant
    of = _list_hash(tenant, query)
    where = JobFilter(
        states=query.state,
        kind=query.kind,
        tag=query.tag,
        batch_id=query.batch_id,
        name=query.name,
        created_after=query.created_after,
        created_before=query.created_before,
    )
    after = None
    if query.cursor is not None:
        cursor = services.cursors.open(query.cursor, Cursor)
        if cursor is None or cursor.of != of:
            raise bad_parameter("cursor", "This cursor was not made for this list.", "bad_cursor")
        after = (cursor.created_at, cursor.job_id)
    async with transaction_of(request) as transaction:
        rows = await transaction.jobs.list(where, query.limit + 1, after)
    base = base_url(request)
    page, more = rows[: query.limit], len(rows) > query.limit
    following = next_address(request, base, services.cursors.sign(_cursor(page[-1], of))) if more else None
    headers = {"Link": f'<{following}>; rel="next"'} if following else {}
    return answer(JobPage([show_job(row, base) for row in page], following), headers=headers)


def _cursor(row: JobRow, of: bytes) -> Cursor:
    return Cursor(row.created_at, row.id, of)


def _list_hash(tenant: UUID, query: JobsQuery) -> bytes:
    filters = msgspec.structs.replace(query, cursor=None, limit=1)
    return sha256(msgspec.json.encode((tenant, filters))).digest()[:8]


def next_address(request: AnyRequest, base: str, cursor: str) -> str:
    """Return this request's address with another cursor."""
    pairs = parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True)
    kept = [(name, value) for name, value in pairs if name != "cursor"]
    return f"{base}{request.scope['path']}?{urlencode([*kept, ('cursor', cursor)])}"
