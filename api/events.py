"""Events: one job's log as JSON or as a stream that resumes, and one stream over all of a tenant's jobs."""

from contextlib import AbstractAsyncContextManager, aclosing
from typing import Annotated, Any
from uuid import UUID, uuid4

import msgspec
from litestar import Response, get
from litestar.params import FromPath
from litestar.response import Stream

from api import sse
from api.auth import still_known
from api.bodies import AnyRequest, answer
from api.event_hub import EventHub, encode_event
from api.limits import take_place
from api.links import base_url
from api.operations import Answer, Operation
from api.principal import Permission
from api.problem_details import ProblemError, invalid, not_found
from api.queries import described, listed, read_query
from api.services import services_of
from api.trails import transaction_of
from solvers.issues import Issue

KNOWN_SECONDS = 5.0
"""How long a stream goes on telling without asking anew whether its listener is known."""
_PAGE = 1000
_MOST_FOLLOWED = 100
_LAST_SEQ = 2**31 - 1
_STREAM = Answer("A stream of events.", media_type=sse.MEDIA_TYPE)


class EventsQuery(msgspec.Struct, frozen=True):
    """Where to begin."""

    after: Annotated[
        int, msgspec.Meta(ge=0, le=_LAST_SEQ), described("Leave out events up to this seq, as Last-Event-ID does.")
    ] = 0


class TenantEventsQuery(msgspec.Struct, frozen=True):
    """What to follow."""

    kind: Annotated[str, described("Jobs of this kind only.")] | None = None
    job: Annotated[
        tuple[UUID, ...], msgspec.Meta(max_length=_MOST_FOLLOWED), described("Jobs of which everything is told.")
    ] = ()


class EventPage(msgspec.Struct, frozen=True):
    """Events in order, each with `job_id`, `seq`, `type`, `at` and its own data; next: the page after this one."""

    items: list[dict[str, Any]]
    next: str | None


@get(
    "/v1/jobs/{job_id:uuid}/events",
    requires=Permission.READ,
    operation=Operation(
        tag="Events",
        query=EventsQuery,
        headers=("Last-Event-ID",),
        answers={200: Answer("The job's events.", EventPage, or_media_type=sse.MEDIA_TYPE)},
        limited=True,
    ),
)
async def show_events(request: AnyRequest, job_id: FromPath[UUID]) -> Response[Any]:
    """Show a job's events; with `Accept: text/event-stream` follow them to the end."""
    after = _resume_after(request, read_query(request, EventsQuery))
    services = services_of(request)
    tenant: UUID = request.user.tenant
    stream = sse.MEDIA_TYPE in listed(request, "accept")
    if stream and services.hub.follows(tenant, job_id):
        return await open_stream(request, services.hub.follow_job(tenant, job_id, after))
    async with transaction_of(request) as transaction:
        if await transaction.jobs.get(job_id) is None:
            raise not_found("job")
        if stream:
            return await open_stream(request, services.hub.follow_job(tenant, job_id, after))
        events = await transaction.events.after(job_id, after, _PAGE)
    full = len(events) == _PAGE
    following = f"{base_url(request)}/v1/jobs/{job_id}/events?after={events[-1].seq}" if full else None
    return answer(EventPage([msgspec.Raw(encode_event(event)) for event in events], following))  # type: ignore[misc]


@get(
    "/v1/events",
    requires=Permission.READ,
    operation=Operation(
        tag="Events",
        query=TenantEventsQuery,
        headers=("Last-Event-ID",),
        answers={200: _STREAM},
        problems=(422,),
        limited=True,
    ),
)
async def follow_all(request: AnyRequest) -> Stream:
    """Follow the state changes of all jobs; with `job=a,b` everything of those."""
    query = read_query(request, TenantEventsQuery)
    services = services_of(request)
    tenant: UUID = request.user.tenant
    position = request.headers.get("last-event-id")
    async with transaction_of(request) as transaction:
        if position is None:
            position = await transaction.events.now()
        else:
            await transaction.events.stream(position, limit=1)  # refuses a position that is none
    return await open_stream(request, services.hub.follow_tenant(tenant, position, query.kind, query.job))


async def open_stream(request: AnyRequest, frames: Any) -> Stream:
    """Answer with a stream; 429 when this process, the tenant or the user has as many as it may."""
    services = services_of(request)
    if services.hub.streams >= services.settings.max_streams:
        detail = "Too many streams are open here; try again shortly."
        raise ProblemError(429, "too-many-streams", detail, headers={"Retry-After": "5"})
    lease = str(uuid4())
    place = services.stream_places.kept(lease, await take_place(request, lease))
    return sse.stream(_while_known(request, _counted(services.hub, frames, place)))


async def _while_known(request: AnyRequest, frames: Any) -> Any:
    """Cut the stream soon after its listener's key was revoked or token expired."""
    known, holder = services_of(request).listeners.known, request.headers["authorization"]
    async with aclosing(frames):
        async for frame in frames:
            if not await known(holder, lambda: still_known(request), KNOWN_SECONDS):
                return
            yield frame


async def _counted(hub: EventHub, frames: Any, place: AbstractAsyncContextManager[None]) -> Any:
    hub.streams += 1
    try:
        async with place, aclosing(frames):
            async for frame in frames:
                yield frame
    finally:
        hub.streams -= 1


def _resume_after(request: AnyRequest, query: EventsQuery) -> int:
    given = request.headers.get("last-event-id")
    if not given:
        return query.after
    if not given.isdecimal() or len(given) > len(str(_LAST_SEQ)) or int(given) > _LAST_SEQ:
        message = "Last-Event-ID is the seq of an event: a whole number."
        raise invalid([Issue(code="bad_value", pointer="/headers/Last-Event-ID", message=message)])
    return max(query.after, int(given))


ROUTES = [show_events, follow_all]
