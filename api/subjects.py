"""Erasing one person: a pseudonym in their place wherever jobs and schedules name them."""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from typing import Any, cast
from uuid import UUID

import msgspec
from litestar import Response, delete
from litestar.params import FromPath

from api.bodies import AnyRequest, answer
from api.operations import Answer, Operation
from api.principal import Permission
from api.problem_details import ProblemError, not_found
from api.services import services_of
from api.trails import note_person, transaction_of
from solvers.persons import Person, SubjectField, renamed, words_for
from solvers.registry import all_kinds
from storage.rows import JobRow, NewJob, Subject
from storage.schedule_rows import ScheduleChanges
from storage.subjects import USER, Told

_ALIAS_BYTES = 6
_PAGE = 200
_SHOWN_JOBS = 20


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    """What was done: how many jobs and schedules name a pseudonym now, and how many files and exports are gone."""

    pseudonym: str
    jobs: int
    schedules: int
    files: int


class _Tally:
    """What an erasure has done so far."""

    def __init__(self) -> None:
        self.alias = f"erased-{secrets.token_hex(_ALIAS_BYTES)}"
        self.jobs = self.schedules = 0
        self.keys: list[str] = []
        self.known = False


@delete(
    "/v1/subjects/{person_kind:str}/{person_id:str}",
    requires=Permission.ADMINISTER,
    operation=Operation(tag="Privacy", answers={200: Answer("What was done.", Erased)}, problems=(409,)),
    status_code=200,
)
async def erase_subject(request: AnyRequest, person_kind: FromPath[str], person_id: FromPath[str]) -> Response[bytes]:
    """Erase one person.

    Id and names give way to a random pseudonym in problems, results and reports; solver logs, files and exports go,
    and files can be made anew. 409 while jobs that name the person have not ended. Kind `user` is who asks for jobs:
    the link to them goes, and an API key of that id ends. Cut short, it goes on where it was when asked again.
    """
    if "\x00" in person_kind + person_id:  # which PostgreSQL does not take as text
        raise not_found("person")
    subject, tally = Subject(person_kind, person_id), _Tally()
    note_person(request, subject)
    await _rewrite_jobs(request, subject, tally)
    await _rewrite_schedules(request, subject, tally)
    async with transaction_of(request) as transaction:
        if subject.kind == USER:
            tally.known |= await transaction.subjects.forget_user(subject.id, tally.alias)
        if not tally.known:
            raise not_found("person")
        tally.keys += await transaction.exports.recall()
    await services_of(request).objects.delete(tally.keys)
    return answer(Erased(pseudonym=tally.alias, jobs=tally.jobs, schedules=tally.schedules, files=len(tally.keys)))


async def _rewrite_jobs(request: AnyRequest, subject: Subject, tally: _Tally) -> None:
    if subject.kind == USER:
        return
    async with transaction_of(request) as transaction:
        jobs = await transaction.subjects.jobs(subject)
        going = [str(job.id) for job in jobs if not job.state.ended]
        if going:
            shown = ", ".join(going[:_SHOWN_JOBS])
            raise ProblemError(409, "jobs-not-ended", f"{len(going)} jobs name the person and have not ended: {shown}.")
        if jobs:  # first of all: what is cut short behind this finds no job of the person any more
            tally.keys += await transaction.exports.recall()
    tally.known |= bool(jobs)
    for job in jobs:
        await _rewrite_job(request, job.id, subject, tally)


async def _rewrite_job(request: AnyRequest, job_id: UUID, subject: Subject, tally: _Tally) -> None:
    """One job is one transaction: a payload at a time is held, and what was done stays done."""
    async with transaction_of(request) as transaction:
        told = await transaction.subjects.told(job_id)
        if told is None:
            return
        rewritten = await asyncio.to_thread(_renamed, told, subject, tally.alias)
        keys = await transaction.subjects.rewrite(subject, rewritten)
    tally.jobs += 1
    await services_of(request).objects.delete(keys)


def _fields(kind: str) -> tuple[SubjectField, ...]:
    found = all_kinds().get(kind)
    return found.subjects if found else ()


def _renamed(told: Told, subject: Subject, alias: str) -> Told:
    problem = msgspec.json.decode(told.payloads.get("input", b"null"))
    words = words_for(_fields(told.job.kind), problem, Person(subject.kind, subject.id))

    def again(value: Any) -> Any:
        return renamed(value, words, alias)

    job = cast("JobRow", _with(told.job, again, ("name", "tags", "warnings", "error")))
    payloads = {name: _encode(again(msgspec.json.decode(data))) for name, data in told.payloads.items()}
    return Told(job=job, batch=again(told.batch), payloads=payloads)


def _encode(value: Any) -> bytes:
    return msgspec.json.encode(value, order="deterministic")


def _with(value: msgspec.Struct, change: Callable[[Any], Any], names: tuple[str, ...]) -> msgspec.Struct:
    """Return the struct with the fields of these names changed."""
    types = {field.name: field.type for field in msgspec.structs.fields(value)}
    changed: Mapping[str, Any] = {
        name: msgspec.convert(change(msgspec.to_builtins(getattr(value, name))), types[name]) for name in names
    }
    return msgspec.structs.replace(value, **changed)


async def _rewrite_schedules(request: AnyRequest, subject: Subject, tally: _Tally) -> None:
    before = None
    while True:
        async with transaction_of(request) as transaction:
            page = await transaction.schedules.list(_PAGE, before)
        for schedule in page:
            async with transaction_of(request) as transaction:
                jobs = await transaction.schedules.jobs(schedule.id) or []
                if any(subject in job.subjects for job in jobs):
                    again = await asyncio.to_thread(_all_renamed, jobs, subject, tally.alias)
                    await transaction.schedules.update(schedule.id, ScheduleChanges(jobs=again))
                    tally.schedules += 1
                    tally.known = True
        if len(page) < _PAGE:
            return
        before = (page[-1].created_at, page[-1].id)


def _all_renamed(jobs: Any, subject: Subject, alias: str) -> list[NewJob]:
    return [_job_renamed(job, subject, alias) for job in jobs]


def _job_renamed(job: NewJob, subject: Subject, alias: str) -> NewJob:
    if subject not in job.subjects:
        return job
    problem = msgspec.json.decode(job.input)
    words = words_for(_fields(job.kind), problem, Person(subject.kind, subject.id))

    def again(value: Any) -> Any:
        return renamed(value, words, alias)

    described = cast("NewJob", _with(job, again, ("name", "tags", "warnings")))
    others = [named for named in job.subjects if named != subject]
    return msgspec.structs.replace(
        described,
        input=_encode(again(problem)),
        question=job.question and _encode(again(msgspec.json.decode(job.question))),
        subjects=[*others, Subject(subject.kind, alias)],
    )


ROUTES = [erase_subject]
