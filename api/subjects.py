"""Erasing one person: a pseudonym in their place wherever jobs and schedules name them."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast
from urllib.parse import unquote_to_bytes
from uuid import UUID

import msgspec
from litestar import Response, delete

from api.bodies import AnyRequest, answer
from api.operations import Answer, Operation
from api.principal import Permission
from api.problem_details import ProblemError, not_found
from api.services import services_of
from api.trails import note_person, transaction_of
from solvers.persons import Person, SubjectField, renamed, words_for
from solvers.registry import all_kinds
from storage.rows import JobRow, NewJob, Subject
from storage.schedule_rows import ScheduleChanges, ScheduleRow
from storage.subjects import USER, SubjectJob, Told

_ALIAS_LENGTH = 12
_PATH = b"/v1/subjects/"
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

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self.jobs = self.schedules = 0
        self.keys: list[str] = []
        self.known = False


@delete(
    "/v1/subjects/{person_kind:str}/{person_id:path}",
    requires=Permission.ADMINISTER,
    operation=Operation(tag="Privacy", answers={200: Answer("What was done.", Erased)}, problems=(409,)),
    status_code=200,
)
async def erase_subject(request: AnyRequest) -> Response[bytes]:
    """Erase one person.

    Id and names give way to a pseudonym in problems, results and reports; solver logs, files and exports go, and files
    can be made anew. 409 while jobs that name the person have not ended. Kind `user` is who asks for jobs: the link to
    them goes, and an API key of that id ends. Cut short, it goes on where it was when asked again.
    """
    subject = _subject_of(request)
    # The same each time, so that an erasure that was cut short ends with one pseudonym for one person.
    tally = _Tally(f"erased-{services_of(request).database.pseudonym(subject)[:_ALIAS_LENGTH]}")
    note_person(request, subject)
    await _ended_jobs(request, subject)  # before anything is done
    await _rewrite_schedules(request, subject, tally)  # first: what is due meanwhile makes jobs that name nobody
    await _rewrite_jobs(request, subject, tally)
    async with transaction_of(request) as transaction:
        if subject.kind == USER:
            tally.known |= await transaction.subjects.forget_user(subject.id, tally.alias)
        if not tally.known:
            raise not_found("person")
        tally.keys += await transaction.exports.recall()
    await services_of(request).objects.delete(tally.keys)
    return answer(Erased(pseudonym=tally.alias, jobs=tally.jobs, schedules=tally.schedules, files=len(tally.keys)))


def _subject_of(request: AnyRequest) -> Subject:
    """Return whom the address names, read as it was sent: an id may hold `/`, which a decoded path has lost."""
    _, _, named = request.scope["raw_path"].partition(_PATH)
    kind, _, id_ = (unquote_to_bytes(part).decode(errors="replace") for part in named.partition(b"/"))
    if "\x00" in kind + id_:  # which PostgreSQL does not take as text
        raise not_found("person")
    return Subject(kind, id_)


async def _ended_jobs(request: AnyRequest, subject: Subject) -> Sequence[SubjectJob]:
    """Return the jobs that name the person, or refuse while some have not ended: 409. No problem names a `user`."""
    if subject.kind == USER:
        return []
    async with transaction_of(request) as transaction:
        jobs = await transaction.subjects.jobs(subject)
    going = [str(job.id) for job in jobs if not job.state.ended]
    if going:
        shown = ", ".join(going[:_SHOWN_JOBS])
        raise ProblemError(409, "jobs-not-ended", f"{len(going)} jobs name the person and have not ended: {shown}.")
    return jobs


async def _rewrite_jobs(request: AnyRequest, subject: Subject, tally: _Tally) -> None:
    jobs = await _ended_jobs(request, subject)
    if not jobs:
        return
    async with transaction_of(request) as transaction:
        # First of all: what is cut short behind this finds no job of the person any more.
        tally.keys += await transaction.exports.recall()
    tally.known = True
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
    if "input" not in told.payloads:
        return _blanked(told)
    words = _words(told.job.kind, told.payloads["input"], subject)

    def again(value: Any) -> Any:
        return renamed(value, words, alias)

    job = cast("JobRow", _with(told.job, again, ("name", "tags", "warnings", "error")))
    payloads = {name: _encode(again(msgspec.json.decode(data))) for name, data in told.payloads.items()}
    return Told(job=job, batch=again(told.batch), payloads=payloads)


def _blanked(told: Told) -> Told:
    """Return a job without what people have called it: with its problem gone, nobody knows who is meant by it."""
    error = told.job.error and msgspec.structs.replace(told.job.error, message="Erased.")
    job = msgspec.structs.replace(told.job, name=None, tags=[], warnings=[], error=error)
    return Told(job=job, batch=None, payloads={})


def _words(kind: str, problem: bytes, subject: Subject) -> frozenset[str]:
    """Return what the person is called in a problem of this kind."""
    return words_for(_fields(kind), msgspec.json.decode(problem), Person(subject.kind, subject.id))


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
                    changes = await asyncio.to_thread(_schedule_renamed, schedule, jobs, subject, tally.alias)
                    await transaction.schedules.update(schedule.id, changes)
                    tally.keys += await transaction.exports.recall()  # asked again, this finds no such schedule
                    tally.schedules += 1
                    tally.known = True
        if len(page) < _PAGE:
            return
        before = (page[-1].created_at, page[-1].id)


def _schedule_renamed(schedule: ScheduleRow, jobs: Sequence[NewJob], subject: Subject, alias: str) -> ScheduleChanges:
    words = frozenset().union(*(_words(job.kind, job.input, subject) for job in jobs if subject in job.subjects))
    again = [_job_renamed(job, subject, alias) for job in jobs]
    return ScheduleChanges(name=renamed(schedule.name, words, alias), jobs=again)


def _job_renamed(job: NewJob, subject: Subject, alias: str) -> NewJob:
    if subject not in job.subjects:
        return job
    words = _words(job.kind, job.input, subject)

    def again(value: Any) -> Any:
        return renamed(value, words, alias)

    described = cast("NewJob", _with(job, again, ("name", "tags", "warnings")))
    others = [named for named in job.subjects if named != subject]
    return msgspec.structs.replace(
        described,
        input=_encode(again(msgspec.json.decode(job.input))),
        question=job.question and _encode(again(msgspec.json.decode(job.question))),
        subjects=[*others, Subject(subject.kind, alias)],
    )


ROUTES = [erase_subject]
