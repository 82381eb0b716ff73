"""Lists of jobs, and their filters."""

from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Response

from api.bodies import AnyRequest, answer
from api.links import base_url, show_job
from api.pages import PageQuery, page_of, page_start
from api.queries import described
from api.times import Time
from api.trails import transaction_of
from milpa.jobs import Job, JobState
from storage.rows import JobFilter


class JobsQuery(PageQuery, frozen=True):
    """Which jobs to list; all filters hold together."""

    state: Annotated[tuple[JobState, ...], described("In one of these states.")] = ()
    kind: Annotated[str, described("Of this kind.")] | None = None
    tag: Annotated[str, described("With this tag.")] | None = None
    batch_id: Annotated[UUID, described("Of this batch.")] | None = None
    name: Annotated[str, described("With this in its name, whatever the case.")] | None = None
    created_after: Annotated[Time, described("Made after this time.")] | None = None
    created_before: Annotated[Time, described("Made before this time.")] | None = None


class JobPage(msgspec.Struct, frozen=True):
    """Jobs, newest first; next: the address of the page after this one."""

    items: list[Job]
    next: str | None


async def list_page(request: AnyRequest, query: JobsQuery) -> Response[bytes]:
    """Answer with one page and the way to the next."""
    where = JobFilter(
        states=query.state,
        kind=query.kind,
        tag=query.tag,
        batch_id=query.batch_id,
        name=query.name,
        created_after=query.created_after,
        created_before=query.created_before,
    )
    start = page_start(request, query)
    async with transaction_of(request) as transaction:
        rows = await transaction.jobs.list(where, query.limit + 1, start)
    page, following = page_of(request, query, rows)
    headers = {"Link": f'<{following}>; rel="next"'} if following else {}
    base = base_url(request)
    return answer(JobPage([show_job(row, base) for row in page], following), headers=headers)
