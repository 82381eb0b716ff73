"""Why not: force what an answer left out, and see what that costs and what it breaks."""

from typing import Any
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath

from api.bodies import AnyRequest, answer, decode_asked, decode_body, off_loop, read_json
from api.children import Change, Parent, find_parent, read_children, refuse_without_answer
from api.job_answers import answer_job
from api.limits import making_jobs
from api.links import base_url, show_job
from api.operations import Answer, Operation
from api.principal import Permission
from api.problem_details import ProblemError, invalid, not_found
from api.queries import idempotency_key, preferred_wait
from api.questions import ForceQuestion, question_of
from api.services import services_of, settings_for
from api.submissions import Line, idempotency_of
from api.trails import note_made, transaction_of
from milpa.errors import TransientError
from milpa.jobs import Job, JobState
from milpa.settings import Settings
from solvers.issues import Issue, has_errors
from solvers.kind import Forced
from storage.rows import JobRow, NewJob, Submitted

ACCEPTED = Answer(
    "The new job; its answer is at `/v1/jobs/{its id}/why-not` once it has ended.",
    Job,
    headers=("Location", "Retry-After", "Idempotency-Replayed", "Preference-Applied"),
)


class WhyNotRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to force, as the kind has it. name: of the new job. options: those that differ from the parent job's."""

    force: msgspec.Raw
    name: Line | None = None
    options: dict[str, Any] = {}


class WhyNotAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What forcing it does.

    job: the one that was solved with it. price: its objective less the parent's, with its sign as it is: below 0 where
    more is better, and above 0 where less is, it costs so much; null when one of the two has no objective. breaks:
    names of the constraints that stand against it: those that it breaks by itself, which were lifted, and, when there
    is no solution even so, a smallest set that can't hold together. sentences: what the explanation says of the job.
    """

    job: Job
    parent_id: UUID | None
    force: dict[str, Any]
    objective: float | None
    parent_objective: float | None
    price: float | None
    breaks: list[str]
    sentences: list[str]


class _Explained(msgspec.Struct):
    conflicts: list[str] = []
    sentences: list[str] = []


class _Result(msgspec.Struct):
    explanation: _Explained = msgspec.field(default_factory=_Explained)


@post(
    "/v1/jobs/{job_id:uuid}/why-not",
    requires=Permission.SUBMIT,
    operation=Operation(
        tag="Questions",
        body=WhyNotRequest,
        headers=("Idempotency-Key", "Prefer"),
        answers={202: ACCEPTED, 200: Answer("What it costs.", WhyNotAnswer, headers=("Preference-Applied",))},
        problems=(409,),
        limited=True,
    ),
)
async def ask_why_not(request: AnyRequest, job_id: FromPath[UUID]) -> Response[bytes]:
    """Force what the answer of a job left out, as a job of its own.

    What to force depends on the kind: see `force_schema` there. `Prefer: wait=20` waits for the answer.
    """
    asked = await decode_asked(await read_json(request), WhyNotRequest, settings_for(request))
    parent = await find_parent(request, job_id)
    new = await _child(parent, asked, settings_for(request))
    key = await idempotency_of(idempotency_key(request), [new], "why not", str(job_id))
    async with making_jobs(request) as transaction:
        submitted = await transaction.jobs.submit(msgspec.structs.replace(new, idempotency=key))
        note_made(request, submitted.job.id)
    return await _answer_asked(request, submitted)


async def _child(parent: Parent, asked: WhyNotRequest, settings: Settings) -> NewJob:
    wanted = bytes(asked.force)
    forced, force = await off_loop(len(parent.problem) + len(wanted), lambda: _forced(parent, wanted, settings))
    question = ForceQuestion(force=force, lifted=forced.lifted, parent_objective=parent.row.objective)
    change = Change(
        patch=forced.patch,
        at="/force",
        name=asked.name,
        question=msgspec.json.encode(question),
    )
    (new,) = await read_children(parent, [change], asked.options, settings)
    return new


def _forced(parent: Parent, force: bytes, settings: Settings) -> tuple[Forced, dict[str, Any]]:
    if parent.kind.why_not is None:
        raise ProblemError(422, "no-why-not", f"Nothing can be forced on an answer of {parent.kind.name}.", at="/force")
    decoded = decode_body(force, parent.kind.why_not.force, settings)
    if decoded.value is None:
        raise invalid(_in_force(decoded.issues), decoded.total)
    problem = msgspec.json.decode(parent.problem, type=parent.kind.problem)
    forced = parent.kind.why_not.forced(problem, decoded.value)
    if has_errors(forced.issues):
        raise invalid(_in_force(forced.issues))
    return forced, msgspec.to_builtins(decoded.value)


def _in_force(issues: list[Issue]) -> list[Issue]:
    return [msgspec.structs.replace(issue, pointer=f"/force{issue.pointer}") for issue in issues]


async def _answer_asked(request: AnyRequest, submitted: Submitted) -> Response[bytes]:
    headers = {"Idempotency-Replayed": "true"} if submitted.replayed else {}
    wait = preferred_wait(request)
    if wait is None:
        return answer_job(request, submitted.job, 202, headers)
    headers["Preference-Applied"] = f"wait={wait:g}"
    job = submitted.job
    try:
        row, _ = await services_of(request).hub.wait_for_end(request.user.tenant, job.id, wait, known=job)
        if row is not None and row.state is JobState.SUCCEEDED:
            return answer(await _why_not(request, job.id), 200, headers)
    except TransientError:  # the job is accepted all the same
        row = None
    return answer_job(request, row or job, 202, headers)


@get(
    "/v1/jobs/{job_id:uuid}/why-not",
    requires=Permission.READ,
    operation=Operation(
        tag="Questions", personal=True, answers={200: Answer("What it costs.", WhyNotAnswer)}, problems=(409,)
    ),
)
async def show_why_not(request: AnyRequest, job_id: FromPath[UUID]) -> Response[bytes]:
    """Show what forcing it costs and breaks, once the job that a why-not made has ended."""
    return answer(await _why_not(request, job_id))


async def _why_not(request: AnyRequest, job_id: UUID) -> WhyNotAnswer:
    async with transaction_of(request) as transaction:
        row = await transaction.jobs.get(job_id)
        question = await question_of(transaction, job_id, ForceQuestion)
        if row is None or question is None:
            raise not_found("answer: no why-not made this job")
        refuse_without_answer(row)
        result = await transaction.jobs.payload(job_id, "result")
    return _weigh(row, question, result, base_url(request))


def _weigh(row: JobRow, question: ForceQuestion, result: bytes | None, base: str) -> WhyNotAnswer:
    found = msgspec.json.decode(result, type=_Result) if result else _Result()
    before, after = question.parent_objective, row.objective
    return WhyNotAnswer(
        job=show_job(row, base),
        parent_id=row.parent_id,
        force=question.force,
        objective=after,
        parent_objective=before,
        price=None if before is None or after is None else after - before,
        breaks=list(dict.fromkeys([*question.lifted, *found.explanation.conflicts])),
        sentences=found.explanation.sentences,
    )


ROUTES = [ask_why_not, show_why_not]
