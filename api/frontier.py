"""Frontiers: a job solved again at several values of one limit, and the curve that comes out of it."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath

from api.bodies import AnyRequest, answer, decode_asked, off_loop, read_json
from api.children import Change, ChildrenMade, Parent, find_parent, read_children, submit_children
from api.frontier_chart import Point, frontier_chart, mark_dominated
from api.operations import Answer, Operation
from api.payloads import ChartSpec
from api.principal import Permission
from api.problem_details import ProblemError, invalid, not_found
from api.questions import SweepQuestion, question_of
from api.services import settings_for
from api.submissions import LINE_LENGTH
from api.trails import transaction_of
from solvers.issues import Issue
from solvers.kind import Sense, SweptField
from solvers.report import Unit
from storage.rows import JobFilter, JobRow

MOST_POINTS = 20
_DIGITS = 12
"""Significant digits of a value: the steps between two ends shall read as people would write them."""

ACCEPTED = Answer(
    "The jobs, from the first value to the last; the curve is at `links.frontier` once all have ended.",
    ChildrenMade,
    headers=("Location", "Idempotency-Replayed"),
)


class FrontierRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Values of one limit to solve at.

    against: a field that the kind names in its `frontier`. points: how many values, evenly spread (fewer where the
    field takes whole numbers and there are not so many). from, to: the first and the last; worth looking at by the
    parent's problem and solution when left out. options: those that differ from the parent job's.
    """

    against: str
    points: Annotated[int, msgspec.Meta(ge=2, le=MOST_POINTS)] = 10
    from_: float | None = msgspec.field(name="from", default=None)
    to: float | None = None
    options: dict[str, Any] = {}


class Frontier(msgspec.Struct, frozen=True, kw_only=True):
    """What each value of a limit yields.

    against: the field; label and unit: of its values; better: which way the limit pleases whoever set it. sense:
    whether more or less of the objective is better. points: by value; dominated: another point is no worse in both the
    limit and the objective, and better in one. chart: Vega-Lite with the points inside.
    """

    batch_id: UUID
    parent_id: UUID | None
    kind: str
    against: str
    label: str
    unit: Unit
    better: Sense
    sense: Sense
    points: list[Point]
    chart: ChartSpec


@post(
    "/v1/jobs/{job_id:uuid}/frontier",
    requires=Permission.SUBMIT,
    operation=Operation(
        tag="Questions",
        body=FrontierRequest,
        headers=("Idempotency-Key",),
        answers={202: ACCEPTED},
        problems=(409,),
        limited=True,
    ),
)
async def ask_frontier(request: AnyRequest, job_id: FromPath[UUID]) -> Response[bytes]:
    """Solve the problem of a job at several values of one of its limits, all else as it is.

    The values become one batch of jobs, each of which starts from the solution of the job that was asked about.
    """
    settings = settings_for(request)
    asked = await decode_asked(await read_json(request), FrontierRequest, settings)
    parent = await find_parent(request, job_id)
    changes = await off_loop(len(parent.problem), lambda: _changes(parent, asked))
    jobs = await read_children(parent, changes, asked.options, settings)
    return await submit_children(request, parent, f"Frontier: {parent.label}", jobs, frontier="frontier")


def _changes(parent: Parent, asked: FrontierRequest) -> list[Change]:
    kind, field = parent.kind, _field(parent, asked.against)
    problem = msgspec.json.decode(parent.problem, type=kind.problem)
    first, last = _ends(parent, problem, field, asked)
    question = SweepQuestion(
        against=field.name,
        label=field.label,
        unit=field.unit,
        better=field.better,
        sense=kind.sense if kind.sense_of is None else kind.sense_of(problem),
        value=first,
    )
    return [
        Change(
            patch={field.name: value} if field.patch is None else field.patch(problem, value),
            at="/from" if value <= (first + last) / 2 else "/to",
            name=f"{field.label} {value:,.{_DIGITS}g}"[:LINE_LENGTH],
            question=msgspec.json.encode(msgspec.structs.replace(question, value=value)),
        )
        for value in _values(first, last, asked.points, whole=field.whole)
    ]


def _field(parent: Parent, name: str) -> SweptField[Any]:
    fields = {field.name: field for field in parent.kind.frontier}
    if name in fields:
        return fields[name]
    offered = f"one of {', '.join(fields)}" if fields else "nothing"
    message = f"A frontier of {parent.kind.name} can be drawn against {offered}."
    raise invalid([Issue(code="bad_value", pointer="/against", message=message)])


def _ends(parent: Parent, problem: Any, field: SweptField[Any], asked: FrontierRequest) -> tuple[float, float]:
    first, last = asked.from_, asked.to
    if first is None or last is None:
        span = field.span(problem, _solution(parent))
        if span is None:
            message = f"There is nothing to tell what {field.name} could be: give from and to."
            raise invalid([Issue(code="missing_field", pointer="/from", message=message)])
        first = span[0] if first is None else first
        last = span[1] if last is None else last
    if field.whole:
        first, last = round(first), round(last)
    if first >= last:
        message = f"The values must rise: {first:g} is not below {last:g}."
        raise invalid([Issue(code="out_of_range", pointer="/from", message=message)])
    return first, last


def _solution(parent: Parent) -> Any:
    """Return the parent's solution, or None where there is none that this version of the kind can read."""
    try:
        plain = msgspec.json.decode(parent.result or b"{}").get("solution")
        return None if plain is None else msgspec.convert(plain, parent.kind.solution)
    except msgspec.ValidationError:
        return None


def _values(first: float, last: float, points: int, *, whole: bool) -> list[float]:
    step = (last - first) / (points - 1)
    spread = [first + step * index for index in range(points - 1)] + [last]
    if whole:
        return list(dict.fromkeys(round(value) for value in spread))
    return [float(f"{value:.{_DIGITS}g}") for value in spread]


@get(
    "/v1/batches/{batch_id:uuid}/frontier",
    requires=Permission.READ,
    operation=Operation(tag="Questions", answers={200: Answer("The curve.", Frontier)}, problems=(409,)),
)
async def show_frontier(request: AnyRequest, batch_id: FromPath[UUID]) -> Response[bytes]:
    """Show the curve of a frontier's batch once all of its jobs have ended."""
    asked: list[tuple[JobRow, SweepQuestion]] = []
    async with transaction_of(request) as transaction:
        for row in await transaction.jobs.list(JobFilter(batch_id=batch_id), MOST_POINTS):
            question = await question_of(transaction, row.id, SweepQuestion)
            if question is not None:
                asked.append((row, question))
    if not asked:
        raise not_found("frontier: no batch of that id was made by one")
    going = sum(not row.state.ended for row, _ in asked)
    if going:
        raise ProblemError(409, "batch-not-ended", f"{going} of {len(asked)} jobs have not ended.")
    return answer(_frontier(batch_id, asked))


def _frontier(batch_id: UUID, asked: list[tuple[JobRow, SweepQuestion]]) -> Frontier:
    row, question = asked[0]
    points = [
        Point(value=asked.value, objective=row.objective, state=row.state, outcome=row.outcome, job_id=row.id)
        for row, asked in sorted(asked, key=lambda pair: pair[1].value)
    ]
    points = mark_dominated(points, question.better, question.sense)
    return Frontier(
        batch_id=batch_id,
        parent_id=row.parent_id,
        kind=row.kind,
        against=question.against,
        label=question.label,
        unit=question.unit,
        better=question.better,
        sense=question.sense,
        points=points,
        chart=frontier_chart(points, question.label, question.unit),
    )


ROUTES = [ask_frontier, show_frontier]
