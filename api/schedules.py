"""Schedules: jobs submitted again and again, when the clocks of a place say so."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from litestar import Response, delete, get, patch, post
from litestar.params import FromPath

from api.bodies import AnyRequest, answer, read_json
from api.limits import making_jobs
from api.links import base_url
from api.operations import Answer, Operation
from api.pages import PageQuery, page_of, page_start
from api.principal import Permission
from api.problem_details import not_found
from api.queries import idempotency_key, read_query
from api.schedule_bodies import SchedulePatch, ScheduleRequest, read_changes, read_schedule
from api.services import settings_for
from api.submissions import idempotency_of
from api.trails import note_made, transaction_of
from milpa.jobs import FileFormat, JobOptions, JobState, Priority
from storage.rows import NewJob
from storage.schedule_rows import Overlap, RunRow, RunState, ScheduleRow
from storage.transaction import Transaction


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule; size: the jobs of one run. next_due_at: null when it is not enabled."""

    id: UUID
    name: str
    cron: str
    timezone: str
    size: int
    webhook_url: str | None
    overlap: Overlap
    catch_up_minutes: int
    enabled: bool
    next_due_at: datetime | None
    created_at: datetime
    updated_at: datetime
    links: dict[str, str]


class ScheduleRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run. due_at: null when it was asked for by hand.

    state: `started` a batch, with its size and its jobs counted by state; `skipped`, because the run before had not
    ended; or `missed`, because nobody was there within the time to catch up.
    """

    id: UUID
    schedule_id: UUID
    due_at: datetime | None
    state: RunState
    batch_id: UUID | None
    size: int | None
    counts: dict[JobState, int]
    created_at: datetime
    links: dict[str, str]


class ScheduledJob(msgspec.Struct, frozen=True, kw_only=True):
    """One of the jobs, ready to be given again."""

    kind: str
    problem: msgspec.Raw
    options: JobOptions
    files: list[FileFormat]
    name: str | None
    tags: list[str]
    priority: Priority
    webhook_url: str | None
    reuse: bool


class ScheduledJobs(msgspec.Struct, frozen=True):
    """What each run of a schedule submits."""

    jobs: list[ScheduledJob]


class SchedulePage(msgspec.Struct, frozen=True):
    """Schedules, newest first; next: the address of the page after this one."""

    items: list[Schedule]
    next: str | None


class RunPage(msgspec.Struct, frozen=True):
    """Runs, newest first; next: the address of the page after this one."""

    items: list[ScheduleRun]
    next: str | None


@post(
    "/v1/schedules",
    requires=Permission.ADMINISTER,
    operation=Operation(
        tag="Schedules",
        body=ScheduleRequest,
        headers=("Idempotency-Key",),
        answers={201: Answer("The schedule.", Schedule, headers=("Location", "Idempotency-Replayed"))},
    ),
)
async def create_schedule(request: AnyRequest) -> Response[bytes]:
    """Make a schedule.

    Its jobs are checked here and now; each due time submits them as one batch.
    """
    key = idempotency_key(request)
    new = await read_schedule(await read_json(request), settings_for(request))
    idempotency = await idempotency_of(key, list(new.jobs), msgspec.structs.replace(new, jobs=()))
    async with transaction_of(request) as transaction:
        made = await transaction.schedules.create(new, idempotency)
        note_made(request, made.schedule.id)
    schedule = _show(request, made.schedule)
    replayed = {"Idempotency-Replayed": "true"} if made.replayed else {}
    return answer(schedule, 201, {"Location": schedule.links["self"], **replayed})


@get(
    "/v1/schedules",
    requires=Permission.READ,
    operation=Operation(
        tag="Schedules",
        query=PageQuery,
        answers={200: Answer("A page of schedules.", SchedulePage)},
    ),
)
async def list_schedules(request: AnyRequest) -> Response[bytes]:
    """List schedules, newest first."""
    query = read_query(request, PageQuery)
    start = page_start(request, query)
    async with transaction_of(request) as transaction:
        rows = await transaction.schedules.list(query.limit + 1, start)
    page, following = page_of(request, query, rows)
    return answer(SchedulePage([_show(request, row) for row in page], following))


@get(
    "/v1/schedules/{schedule_id:uuid}",
    requires=Permission.READ,
    operation=Operation(tag="Schedules", answers={200: Answer("The schedule.", Schedule)}),
)
async def show_schedule(request: AnyRequest, schedule_id: FromPath[UUID]) -> Response[bytes]:
    """Show a schedule."""
    async with transaction_of(request) as transaction:
        return answer(_show(request, await _get(transaction, schedule_id)))


@get(
    "/v1/schedules/{schedule_id:uuid}/jobs",
    requires=Permission.READ,
    operation=Operation(tag="Schedules", personal=True, answers={200: Answer("The jobs.", ScheduledJobs)}),
)
async def show_schedule_jobs(request: AnyRequest, schedule_id: FromPath[UUID]) -> Response[bytes]:
    """Show what each run submits."""
    async with transaction_of(request) as transaction:
        jobs = await transaction.schedules.jobs(schedule_id)
    if jobs is None:
        raise not_found("schedule")
    return answer(ScheduledJobs([_show_job(job) for job in jobs]))


@patch(
    "/v1/schedules/{schedule_id:uuid}",
    requires=Permission.ADMINISTER,
    operation=Operation(tag="Schedules", body=SchedulePatch, answers={200: Answer("The schedule.", Schedule)}),
)
async def change_schedule(request: AnyRequest, schedule_id: FromPath[UUID]) -> Response[bytes]:
    """Change a schedule.

    What is left out stays. Another time or place, or switching it on, counts from now.
    """
    changes = await read_changes(await read_json(request), settings_for(request))
    async with transaction_of(request) as transaction:
        row = await transaction.schedules.update(schedule_id, changes)
    if row is None:
        raise not_found("schedule")
    return answer(_show(request, row))


@delete(
    "/v1/schedules/{schedule_id:uuid}",
    requires=Permission.ADMINISTER,
    operation=Operation(tag="Schedules", answers={204: Answer("It is removed.")}),
    status_code=204,
)
async def delete_schedule(request: AnyRequest, schedule_id: FromPath[UUID]) -> None:
    """Remove a schedule and the list of its runs; the batches it has started stay."""
    async with transaction_of(request) as transaction:
        found = await transaction.schedules.delete(schedule_id)
    if not found:
        raise not_found("schedule")


@post(
    "/v1/schedules/{schedule_id:uuid}/run",
    requires=Permission.ADMINISTER,
    operation=Operation(
        tag="Schedules",
        headers=("Idempotency-Key",),
        answers={202: Answer("The run.", ScheduleRun, headers=("Location", "Idempotency-Replayed"))},
        limited=True,
    ),
)
async def run_schedule(request: AnyRequest, schedule_id: FromPath[UUID]) -> Response[bytes]:
    """Run a schedule now.

    Whether it is enabled or not, and whatever still runs. Due times stay as they are.
    """
    key = idempotency_key(request)
    async with making_jobs(request) as transaction:
        made = await transaction.schedules.run_now(schedule_id, key)
        if made is None:
            raise not_found("schedule")
        note_made(request, made.run.id)
    run = _show_run(request, made.run)
    replayed = {"Idempotency-Replayed": "true"} if made.replayed else {}
    return answer(run, 202, {"Location": run.links["batch"], **replayed})


@get(
    "/v1/schedules/{schedule_id:uuid}/runs",
    requires=Permission.READ,
    operation=Operation(tag="Schedules", query=PageQuery, answers={200: Answer("A page of runs.", RunPage)}),
)
async def list_schedule_runs(request: AnyRequest, schedule_id: FromPath[UUID]) -> Response[bytes]:
    """List the runs of a schedule with their batches, newest first."""
    query = read_query(request, PageQuery)
    start = page_start(request, query)
    async with transaction_of(request) as transaction:
        await _get(transaction, schedule_id)
        rows = await transaction.schedules.runs(schedule_id, query.limit + 1, start)
    page, following = page_of(request, query, rows)
    return answer(RunPage([_show_run(request, row) for row in page], following))


async def _get(transaction: Transaction, schedule_id: UUID) -> ScheduleRow:
    row = await transaction.schedules.get(schedule_id)
    if row is None:
        raise not_found("schedule")
    return row


def _show(request: AnyRequest, row: ScheduleRow) -> Schedule:
    self = f"{base_url(request)}/v1/schedules/{row.id}"
    links = {"self": self, "jobs": f"{self}/jobs", "runs": f"{self}/runs"}
    return Schedule(**_shared(row, Schedule), links=links)


def _show_run(request: AnyRequest, row: RunRow) -> ScheduleRun:
    base = base_url(request)
    links = {"schedule": f"{base}/v1/schedules/{row.schedule_id}"}
    if row.batch_id is not None:
        links["batch"] = f"{base}/v1/batches/{row.batch_id}"
        links["jobs"] = f"{base}/v1/jobs?batch_id={row.batch_id}"
    return ScheduleRun(**_shared(row, ScheduleRun), links=links)


def _show_job(job: NewJob) -> ScheduledJob:
    return ScheduledJob(**_shared(job, ScheduledJob), problem=msgspec.Raw(job.input))


def _shared(row: msgspec.Struct, type_: type[msgspec.Struct]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in type_.__struct_fields__ if hasattr(row, name)}


ROUTES = [
    create_schedule,
    list_schedules,
    show_schedule,
    show_schedule_jobs,
    change_schedule,
    delete_schedule,
    run_schedule,
    list_schedule_runs,
]
