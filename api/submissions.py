"""A submitted body becomes a typed problem and a `NewJob`, or every issue at once."""

import asyncio
import json
from collections.abc import Callable
from functools import cache, partial
from hashlib import sha256
from typing import Annotated, Any, Literal, cast

import msgspec

from api.bodies import HEAVY_BYTES, decode_body, off_loop
from api.further_issues import further_issues
from api.web_addresses import WebAddress, address_issues
from milpa.jobs import FileFormat, JobOptions, Priority
from milpa.settings import Settings
from solvers.decode import MAX_CONTAINERS, Decoded, convert
from solvers.issues import Issue, has_errors, pointer
from solvers.persons import persons_in
from solvers.registry import AnyKind
from storage.rows import Idempotency, NewJob, Subject

LINE_LENGTH = 200
Text = Annotated[str, msgspec.Meta(pattern=r"^[^\x00]*$")]
Line = Annotated[str, msgspec.Meta(max_length=LINE_LENGTH, pattern=r"^[^\x00]*$")]
Tag = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[^\x00]*$")]


class JobRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every submit may say beside the problem.

    files: made with the job; more can be made later. webhook_url: told when the job has ended. reuse: answer at once
    from an earlier job with the same problem and options, where there is one.
    """

    options: JobOptions = JobOptions()
    files: Annotated[list[FileFormat], msgspec.Meta(max_length=8)] = []
    name: Line | None = None
    tags: Annotated[list[Tag], msgspec.Meta(max_length=20)] = []
    priority: Priority = Priority.INTERACTIVE
    webhook_url: WebAddress | None = None
    reuse: bool = False


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a body: a job to submit, unless an issue is an error. total: issues there are in all."""

    new: NewJob | None
    issues: list[Issue]
    total: int


def pascal(kind_name: str) -> str:
    """Return a kind's name as types spell it.

    >>> pascal("deal-picker")
    'DealPicker'
    """
    return "".join(part.capitalize() for part in kind_name.split("-"))


@cache
def request_type(kind: AnyKind) -> type[JobRequest]:
    """Return the type of a kind's submit body, its problem included."""
    return _define(f"{pascal(kind.name)}JobRequest", [("problem", kind.problem)], kind)


@cache
def batch_item_type(kind: AnyKind) -> type[JobRequest]:
    """Return the same type as an entry of a batch: with the kind's name inside."""
    return _define(f"{pascal(kind.name)}BatchItem", [("kind", Literal[kind.name]), ("problem", kind.problem)], kind)


def _define(name: str, fields: list[tuple[str, Any]], kind: AnyKind) -> type[JobRequest]:
    namespace = {"__doc__": f"{kind.title}: a job to submit. {JobRequest.__doc__}"}
    type_ = msgspec.defstruct(
        name,
        fields,
        bases=(JobRequest,),
        namespace=namespace,
        module=__name__,
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )
    return cast("type[JobRequest]", type_)


async def read_submission(kind: AnyKind, body: bytes, settings: Settings) -> Reading:
    """Read a submit body: decode, check, encode anew. MalformedJSON: it is no JSON."""
    return await off_loop(len(body), lambda: _read(kind, request_type(kind), body, settings))


async def read_batch_item(kind: AnyKind, body: bytes, settings: Settings) -> Reading:
    """Read one entry of a batch, as `read_submission` does."""
    return await off_loop(len(body), lambda: _read(kind, batch_item_type(kind), body, settings))


async def read_merged(kind: AnyKind, job: dict[str, Any], settings: Settings, size: int) -> Reading:
    """Read a submit body given as plain values, once its table was put in; size: of what came in, in bytes."""
    return await off_loop(size, lambda: read_values(kind, job, settings))


def read_values(kind: AnyKind, job: dict[str, Any], settings: Settings) -> Reading:
    """Read a submit body given as plain values, here and now."""
    type_ = request_type(kind)
    return _check(kind, type_, convert(job, type_), settings, lambda: job)


def _read(kind: AnyKind, type_: type[JobRequest], body: bytes, settings: Settings) -> Reading:
    decoded = decode_body(body, type_, settings)
    return _check(kind, type_, decoded, settings, lambda: _plain(body))


def _plain(body: bytes) -> Any:
    """Return a refused body as plain values (1e999 is infinite then); None when unfolding it would cost too much."""
    if body.count(b"[") + body.count(b"{") > MAX_CONTAINERS:
        return None
    try:
        return json.loads(body)
    except ValueError:  # an integer of more than 4300 digits
        return None


def _check(
    kind: AnyKind, type_: type[JobRequest], decoded: Decoded[Any], settings: Settings, plain: Callable[[], Any]
) -> Reading:
    """Check what was decoded; plain: gives the body as plain values, for what can be checked of a body refused."""
    request = decoded.value
    if request is None:
        all_found = decoded.total == len(decoded.issues)
        check = partial(_issues_of, kind, settings)
        further = further_issues(plain(), type_, decoded.issues, check) if all_found else []
        return Reading(new=None, issues=decoded.issues + further, total=decoded.total + len(further))
    issues = _issues_of(kind, settings, request)
    new = None if has_errors(issues) else _new_job(kind, request, issues)
    return Reading(new=new, issues=issues, total=len(issues))


def _issues_of(kind: AnyKind, settings: Settings, request: Any) -> list[Issue]:
    """Return what is wrong, or odd, with a body that has the right types."""
    issues = _check_options(request.options, settings) + address_issues(request.webhook_url, settings)
    issues += [
        msgspec.structs.replace(issue, pointer="/problem" + issue.pointer) for issue in kind.check(request.problem)
    ]
    return issues


def _check_options(options: JobOptions, settings: Settings) -> list[Issue]:
    limit = settings.max_time_limit_seconds
    if options.time_limit_seconds is None or options.time_limit_seconds <= limit:
        return []
    at = pointer("options", "time_limit_seconds")
    return [Issue(code="out_of_range", pointer=at, message=f"The longest time limit here is {limit:g} seconds.")]


def _new_job(kind: AnyKind, request: Any, warnings: list[Issue]) -> NewJob:
    return NewJob(
        kind=kind.name,
        kind_version=kind.version,
        input=msgspec.json.encode(request.problem, order="deterministic"),
        options=request.options,
        files=list(dict.fromkeys(request.files)),
        name=request.name,
        tags=list(dict.fromkeys(request.tags)),
        priority=request.priority,
        webhook_url=request.webhook_url,
        warnings=warnings,
        reuse=request.reuse,
        subjects=[Subject(person.kind, person.id) for person in persons_in(kind.subjects, request.problem)],
    )


async def idempotency_of(key: str | None, jobs: list[NewJob], *more: object) -> Idempotency | None:
    """Return the caller's key with a hash of what was asked for: the same when it means the same, however written."""
    if key is None:
        return None
    heavy = sum(len(job.input) for job in jobs) > HEAVY_BYTES
    hashed = await asyncio.to_thread(_hash, jobs, *more) if heavy else _hash(jobs, *more)
    return Idempotency(key, hashed)


def _hash(jobs: list[NewJob], *more: object) -> bytes:
    digest = sha256(msgspec.json.encode(more))
    for job in jobs:
        how = (job.options, job.files, job.name, job.tags, job.priority, job.webhook_url, job.reuse)
        asked = (job.kind, *how, len(job.input))
        digest.update(msgspec.json.encode(asked))
        digest.update(job.input)
    return digest.digest()
