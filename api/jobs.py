"""Jobs: submit one of any kind, list, look, wait, stop, cancel, retry, delete."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Response, delete, get, post
from litestar.params import FromPath

from api.bodies import AnyRequest, answer, content_type, read_json
from api.job_answers import answer_if_changed, answer_job
from api.kinds import find_kind
from api.limits import making_jobs
from api.links import JobWithResult, base_url, show_job
from api.listing import JobPage, JobsQuery, list_page
from api.operations import Answer, Operation
from api.payloads import payload_of
from api.principal import Permission
from api.problem_details import invalid, not_found
from api.queries import MAX_WAIT_SECONDS, described, idempotency_key, preferred_wait, read_query
from api.services import services_of, settings_for
from api.submissions import Reading, idempotency_of, read_submission, request_type
from api.tables import read_form
from api.trails import note_made, transaction_of
from milpa.errors import TransientError
from milpa.jobs import Job
from milpa.repeating import patiently
from solvers.issues import Issue
from solvers.registry import AnyKind, all_kinds

ACCEPTED = Answer("The job.", Job, headers=("Location", "Retry-After", "Idempotency-Replayed", "Preference-Applied"))


class SubmitQuery(msgspec.Struct, frozen=True):
    """What a submit takes beside its body."""

    validate_only: Annotated[bool, described("Say what is wrong, and make nothing.")] = False


class WaitQuery(msgspec.Struct, frozen=True):
    """What looking at a job takes."""

    wait: Annotated[float, described("Hold until the job has ended, for so many seconds (30 at most).")] = 0.0


class Validation(msgspec.Struct, frozen=True):
    """All that a submit would say of the body: errors refuse it, warnings are kept with the job."""

    issues: list[Issue]


def _submit_route(kind: AnyKind) -> Any:
    found = "The ended job, its `result` inside when it has succeeded; or what `validate_only` found."
    done = Answer(found, (JobWithResult, Validation), headers=("Location", "Preference-Applied"))

    @post(
        f"/v1/{kind.name}/jobs",
        requires=Permission.SUBMIT,
        operation=Operation(
            tag="Jobs",
            summary=f"Submit a job: {kind.title}.",
            query=SubmitQuery,
            headers=("Idempotency-Key", "Prefer"),
            body=request_type(kind),
            answers={202: ACCEPTED, 200: done},
            limited=True,
        ),
        name=f"submit_{kind.name.replace('-', '_')}",
    )
    async def submit(request: AnyRequest) -> Response[bytes]:
        """Submit a job.

        The answer comes once the job is kept; `Prefer: wait=20` waits for its end.
        """
        return await _submit(request, kind)

    return submit


@post("/v1/{kind:str}/jobs", requires=Permission.SUBMIT, operation=None)
async def submit_unknown(kind: FromPath[str]) -> Response[bytes]:
    """Answer a submit of a kind that there is not."""
    find_kind(kind)
    raise not_found()


async def _submit(request: AnyRequest, kind: AnyKind) -> Response[bytes]:
    query = read_query(request, SubmitQuery)
    key = idempotency_key(request)
    reading = await _read(request, kind)
    if query.validate_only:
        return answer(Validation(reading.issues))
    if reading.new is None:
        raise invalid(reading.issues, reading.total)
    services = services_of(request)
    new = msgspec.structs.replace(reading.new, idempotency=await idempotency_of(key, [reading.new]))
    async with making_jobs(request) as transaction:
        submitted = await transaction.jobs.submit(new)
        note_made(request, submitted.job.id)
    headers = {"Idempotency-Replayed": "true"} if submitted.replayed else {}
    wait = preferred_wait(request)
    if wait is None:
        return answer_job(request, submitted.job, 202, headers)
    headers["Preference-Applied"] = f"wait={wait:g}"
    try:
        row, result = await services.hub.wait_for_end(request.user.tenant, submitted.job.id, wait, known=submitted.job)
    except TransientError:  # the job is accepted all the same
        return answer_job(request, submitted.job, 202, headers)
    row = row or submitted.job
    return answer_job(request, row, 200 if row.state.ended else 202, headers, payload_of(row, "result", result))


async def _read(request: AnyRequest, kind: AnyKind) -> Reading:
    settings = settings_for(request)
    if content_type(request).media_type == "multipart/form-data" and kind.main_table:
        return await read_form(request, kind, settings)
    return await read_submission(kind, await read_json(request), settings)


@get(
    "/v1/jobs",
    requires=Permission.READ,
    operation=Operation(
        tag="Jobs", query=JobsQuery, answers={200: Answer("A page of jobs.", JobPage, headers=("Link",))}
    ),
)
async def list_jobs(request: AnyRequest) -> Response[bytes]:
    """List jobs, newest first."""
    return await list_page(request, read_query(request, JobsQuery))


@get(
    "/v1/jobs/{job_id:uuid}",
    requires=Permission.READ,
    operation=Operation(
        tag="Jobs",
        query=WaitQuery,
        headers=("If-None-Match",),
        answers={
            200: Answer("The job.", Job, headers=("ETag",)),
            304: Answer("Nothing has changed.", headers=("ETag",)),
        },
    ),
)
async def show(request: AnyRequest, job_id: FromPath[UUID]) -> Response[bytes]:
    """Show a job; `?wait=20` holds until it has ended."""
    query = read_query(request, WaitQuery)
    services = services_of(request)
    if query.wait > 0:
        wait = min(query.wait, MAX_WAIT_SECONDS)
        row, _ = await services.hub.wait_for_end(request.user.tenant, job_id, wait)
    else:
        async with transaction_of(request) as transaction:
            row = await transaction.jobs.get(job_id)
    if row is None:
        raise not_found("job")
    return answer_if_changed(request, msgspec.json.encode(show_job(row, base_url(request))))


@post(
    "/v1/jobs/{job_id:uuid}/stop",
    requires=Permission.SUBMIT,
    operation=Operation(tag="Jobs", answers={202: Answer("The job.", Job)}, problems=(409,)),
)
async def stop(request: AnyRequest, job_id: FromPath[UUID]) -> Response[bytes]:
    """End a job now and keep the best it has found."""
    async with transaction_of(request) as transaction:
        row = await transaction.jobs.request_stop(job_id)
    if row is None:
        raise not_found("job")
    return answer_job(request, row, 202)


@post(
    "/v1/jobs/{job_id:uuid}/cancel",
    requires=Permission.SUBMIT,
    operation=Operation(tag="Jobs", answers={202: Answer("The job.", Job)}, problems=(409,)),
)
async def cancel(request: AnyRequest, job_id: FromPath[UUID]) -> Response[bytes]:
    """End a job now and keep nothing of it."""
    async with transaction_of(request) as transaction:
        row = await transaction.jobs.request_cancel(job_id)
    if row is None:
        raise not_found("job")
    return answer_job(request, row, 202)


@post(
    "/v1/jobs/{job_id:uuid}/retry",
    requires=Permission.SUBMIT,
    operation=Operation(tag="Jobs", answers={202: ACCEPTED}, problems=(409,), limited=True),
)
async def retry(request: AnyRequest, job_id: FromPath[UUID]) -> Response[bytes]:
    """Make a new job from the same input, for one that failed or was cancelled."""
    async with making_jobs(request) as transaction:
        row = await transaction.jobs.resubmit(job_id)
        if row is None:
            raise not_found("job")
        note_made(request, row.id)
    return answer_job(request, row, 202)


@delete(
    "/v1/jobs/{job_id:uuid}",
    requires=Permission.MANAGE,
    operation=Operation(tag="Jobs", answers={204: Answer("It is erased.")}, problems=(409,)),
    status_code=204,
)
async def erase(request: AnyRequest, job_id: FromPath[UUID]) -> None:
    """Erase an ended job, its payloads and its files."""
    services = services_of(request)
    async with transaction_of(request) as transaction:
        keys = await transaction.jobs.delete(job_id)
    if keys is None:
        raise not_found("job")
    await patiently(services.objects.delete, keys)  # what is left behind is nobody's, and collected as such


ROUTES = [
    *(_submit_route(kind) for kind in all_kinds().values()),
    submit_unknown,
    list_jobs,
    show,
    stop,
    cancel,
    retry,
    erase,
]
