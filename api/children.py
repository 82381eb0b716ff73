"""Children of a job: its problem with changes, each solved as a job of its own that starts from the parent's answer."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
from litestar import Response

from api.bodies import AnyRequest, answer, off_loop
from api.limits import making_jobs
from api.links import base_url, show_job
from api.problem_details import ProblemError, invalid, not_found
from api.queries import idempotency_key
from api.submissions import idempotency_of, read_values
from api.trails import note_made, transaction_of
from milpa.jobs import Job, JobState
from milpa.settings import Settings
from solvers.issues import Issue, has_errors, pointer
from solvers.patches import ID, apply_patch
from solvers.registry import AnyKind, all_kinds
from storage.rows import JobRow, NewJob, SubmittedBatch

MOST_BODIES = 16
"""How many of the largest bodies the problems of all children may be together: they stand in memory at once."""


class Parent(msgspec.Struct, frozen=True):
    """A job that has succeeded, with its problem and its result as they were kept."""

    row: JobRow
    kind: AnyKind
    problem: bytes
    result: bytes | None

    @property
    def label(self) -> str:
        """What to call it: its name, or its kind's title."""
        return self.row.name or self.kind.title


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One child to make.

    patch: merge patch of the parent's problem. at: pointer to where the body asks for it. written: whether the body
    holds the patch as `patch`, so that issues can point into it. question: what the child answers, to be kept with it.
    """

    patch: dict[str, Any]
    at: str
    name: str | None
    written: bool = False
    question: bytes | None = None


class ChildrenMade(msgspec.Struct, frozen=True, kw_only=True):
    """Children just made, in the order asked for, as one batch."""

    batch_id: UUID
    jobs: list[Job]
    links: dict[str, str]


async def find_parent(request: AnyRequest, job_id: UUID) -> Parent:
    """Return the job that is asked about: 404 where there is none, 409 when it has not succeeded or was pruned."""
    async with transaction_of(request) as transaction:
        row = await transaction.jobs.get(job_id)
        if row is None:
            raise not_found("job")
        refuse_without_answer(row)
        problem = await transaction.jobs.payload(job_id, "input")
        result = await transaction.jobs.payload(job_id, "result")
    if problem is None:
        raise ProblemError(409, "input-gone", "The job's problem was removed after its retention time.")
    return Parent(row, all_kinds()[row.kind], problem, result)


def refuse_without_answer(row: JobRow) -> None:
    """Raise 409 unless the job has succeeded."""
    if not row.state.ended:
        raise ProblemError(409, "job-not-ended", f"The job is {row.state}; ask again when it has ended.")
    if row.state is not JobState.SUCCEEDED:
        raise ProblemError(409, "no-result", f"A {row.state} job has no answer to ask about.")


async def read_children(
    parent: Parent, changes: Sequence[Change], options: Mapping[str, Any], settings: Settings, *, size: int = 0
) -> list[NewJob]:
    """Return the jobs to submit; options: those that differ from the parent's; size: of the patches, in bytes.

    422 with every issue of all of them; 413 when their problems are too large to be made at once.
    """
    problems = len(parent.problem) * len(changes)
    if len(changes) > 1 and problems > MOST_BODIES * settings.max_body_bytes:
        fewer = max(1, MOST_BODIES * settings.max_body_bytes // len(parent.problem))
        raise ProblemError(413, "question-too-large", f"The problem is large: ask for {fewer} at once at most.")
    return await off_loop(problems + size, lambda: _read(parent, changes, options, settings))


def _read(parent: Parent, changes: Sequence[Change], options: Mapping[str, Any], settings: Settings) -> list[NewJob]:
    problem = msgspec.json.decode(parent.problem)
    given = {**msgspec.to_builtins(parent.row.options), **options}
    shared = {
        "options": {name: value for name, value in given.items() if value is not None},
        "priority": parent.row.priority.value,
    }
    jobs: list[NewJob] = []
    issues: dict[Issue, None] = {}  # each once: wrong options are wrong in every case
    unlisted = 0
    for change in changes:
        patched = apply_patch(problem, change.patch)
        reading = read_values(parent.kind, {**shared, "problem": patched.value, "name": change.name}, settings)
        found = [_in_patch(issue, change) for issue in patched.issues]
        found += [_placed(issue, change, patched.value) for issue in reading.issues]
        if reading.new is not None and not patched.issues:
            jobs.append(
                msgspec.structs.replace(reading.new, parent_id=parent.row.id, question=change.question, reuse=False)
            )
        else:
            issues |= dict.fromkeys(found)
            unlisted += reading.total - len(reading.issues) + patched.total - len(patched.issues)
    if has_errors(list(issues)):
        raise invalid(issues, len(issues) + unlisted)
    return jobs


def _in_patch(issue: Issue, change: Change) -> Issue:
    at = f"{change.at}/patch{issue.pointer}" if change.written else change.at
    return msgspec.structs.replace(issue, pointer=at)


def _placed(issue: Issue, change: Change, patched: Any) -> Issue:
    """Point into the body: to the patch where it made the issue, else to the patched problem, as `/cases/0/problem/…`.

    An issue of the options stays where it is, since all cases share them.
    """
    parts = [part.replace("~1", "/").replace("~0", "~") for part in issue.pointer.split("/")[1:]]
    if parts[:1] == ["options"]:
        return issue
    if not change.written:
        return msgspec.structs.replace(issue, pointer=change.at)
    path = _path_in_patch(parts[1:], change.patch, patched)
    at = change.at + (issue.pointer if path is None else "/patch" + pointer(*path))
    return msgspec.structs.replace(issue, pointer=at)


def _path_in_patch(parts: list[str], patch: Any, patched: Any) -> list[str] | None:
    """Return where a patch sets what stands at a path of the patched problem; None: it leaves it alone."""
    path: list[str] = []
    for part in parts:
        entry = _member(patched, part)
        by_id = isinstance(patched, list) and isinstance(patch, dict) and isinstance(entry, dict)
        key = str(entry.get(ID)) if by_id else part
        if isinstance(patch, dict) and key not in patch and entry is not None:
            return None
        path.append(key)
        patch, patched = _member(patch, key), entry
    return path


def _member(value: Any, part: str) -> Any:
    if isinstance(value, dict):
        return value.get(part)
    if isinstance(value, list) and part.isdecimal() and int(part) < len(value):
        return value[int(part)]
    return None


async def submit_children(
    request: AnyRequest, parent: Parent, name: str, jobs: Sequence[NewJob], **links: str
) -> Response[bytes]:
    """Make the children as one batch, once for one Idempotency-Key, and answer with them.

    links: parts of the batch beside its own.
    """
    key = await idempotency_of(idempotency_key(request), list(jobs), name, str(parent.row.id))
    async with making_jobs(request) as transaction:
        batch = await transaction.jobs.submit_batch(name, jobs, idempotency=key)
        note_made(request, batch.batch_id)
    made = _made(batch, base_url(request), links)
    replayed: Mapping[str, str] = {"Idempotency-Replayed": "true"} if batch.replayed else {}
    return answer(made, 202, {"Location": made.links["batch"], **replayed})


def _made(batch: SubmittedBatch, base: str, links: Mapping[str, str]) -> ChildrenMade:
    self = f"{base}/v1/batches/{batch.batch_id}"
    return ChildrenMade(
        batch_id=batch.batch_id,
        jobs=[show_job(row, base) for row in batch.jobs],
        links={
            "batch": self,
            "events": f"{self}/events",
            "jobs": f"{base}/v1/jobs?batch_id={batch.batch_id}",
            **{part: f"{self}/{path}" for part, path in links.items()},
        },
    )
