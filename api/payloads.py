"""What went into a job and what came out: problem, result, report and log, as they were kept.

A job that was stopped before anything was found has left nothing but its row, which is made a result and a report of:
wherever it was when it was stopped (waiting, given back, in a solver that had to be killed), it is shown alike.
"""

from typing import Any
from uuid import UUID

import msgspec
from litestar import Response, get
from litestar.params import FromPath

from api.bodies import AnyRequest, answer
from api.operations import Answer, KindPart, Operation
from api.principal import Permission
from api.problem_details import ProblemError, not_found
from api.trails import transaction_of
from milpa.jobs import JobState, Outcome
from solvers.explain import Explanation
from solvers.registry import all_kinds
from solvers.report import Column, Unit
from storage.rows import JobRow, PayloadName


class JobResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a solve found. solution, objective, bound and gap are null when there is none."""

    outcome: Outcome
    objective: float | None
    bound: float | None
    gap: float | None
    solution: dict[str, Any] | None
    explanation: Explanation
    stats: dict[str, Any]


STOPPED = "The job was stopped before anything was found."

Cell = str | float | int | bool | None
"""A date is text, as RFC 3339 has it."""


class ReportFact(msgspec.Struct, frozen=True, kw_only=True):
    """One figure that matters. name: stable; label: for people; headline: shown first."""

    name: str
    label: str
    value: Cell
    unit: Unit
    note: str
    headline: bool


class ReportTable(msgspec.Struct, frozen=True, kw_only=True):
    """Rows under columns; `rows[i][j]` belongs to `columns[j]`. formulas: column name → formula over column names."""

    name: str
    title: str
    columns: list[Column]
    rows: list[list[Cell]]
    note: str
    formulas: dict[str, str]


class ChartSpec(msgspec.Struct, frozen=True):
    """A chart as a Vega-Lite specification with its data inside."""

    name: str
    title: str
    spec: dict[str, Any]


class JobReport(msgspec.Struct, frozen=True, kw_only=True):
    """What to show of a job: facts, sentences, tables and charts. currency: of amounts of money."""

    title: str
    subtitle: str
    currency: str
    facts: list[ReportFact]
    sentences: list[str]
    tables: list[ReportTable]
    charts: list[ChartSpec]


async def _read(request: AnyRequest, job_id: UUID, name: PayloadName) -> tuple[JobRow, bytes | None]:
    async with transaction_of(request) as transaction:
        row = await transaction.jobs.get(job_id)
        if row is None:
            raise not_found("job")
        _refuse_too_early(row, name)
        return row, await transaction.jobs.payload(job_id, name)


def _refuse_too_early(row: JobRow, name: PayloadName) -> None:
    if name == "input" or (name == "log" and row.state.ended) or row.state is JobState.SUCCEEDED:
        return
    if row.state.ended:
        raise ProblemError(409, f"no-{name}", f"A {row.state} job has no {name}.")
    raise ProblemError(409, "job-not-ended", f"The job is {row.state}; its {name} comes with its end.")


def payload_of(row: JobRow, name: PayloadName, kept: bytes | None) -> bytes | None:
    """Return what there is to show: what was kept, or what the row says of a job stopped before anything was found."""
    if kept is not None or row.outcome is not Outcome.NO_SOLUTION or row.pruned_at is not None:
        return kept
    shown = {"result": _NO_RESULT, "report": _no_report(row)}.get(name)
    return None if shown is None else msgspec.json.encode(shown)


_NO_RESULT = JobResult(
    outcome=Outcome.NO_SOLUTION,
    objective=None,
    bound=None,
    gap=None,
    solution=None,
    explanation=Explanation(sentences=[STOPPED]),
    stats={},
)


def _no_report(row: JobRow) -> JobReport:
    kind = all_kinds().get(row.kind)
    title = kind.title if kind else row.kind
    return JobReport(
        title=row.name or title,
        subtitle=title if row.name else "",
        currency="",
        facts=[],
        sentences=[STOPPED],
        tables=[],
        charts=[],
    )


async def _answer(request: AnyRequest, job_id: UUID, name: PayloadName) -> Response[bytes]:
    row, kept = await _read(request, job_id, name)
    payload = payload_of(row, name, kept)
    if payload is None:
        raise not_found(f"{name}: it was removed when its time was over")
    return answer(payload, headers={"Cache-Control": "private, no-cache"})


@get(
    "/v1/jobs/{job_id:uuid}/problem",
    requires=Permission.READ,
    operation=Operation(tag="Jobs", personal=True, answers={200: Answer("The problem.", KindPart.PROBLEM)}),
)
async def show_problem(request: AnyRequest, job_id: FromPath[UUID]) -> Response[bytes]:
    """Show the problem as solved, with every default filled in."""
    return await _answer(request, job_id, "input")


@get(
    "/v1/jobs/{job_id:uuid}/result",
    requires=Permission.READ,
    operation=Operation(tag="Jobs", personal=True, answers={200: Answer("The result.", JobResult)}, problems=(409,)),
)
async def show_result(request: AnyRequest, job_id: FromPath[UUID]) -> Response[bytes]:
    """Show what was found, and why it is so."""
    return await _answer(request, job_id, "result")


@get(
    "/v1/jobs/{job_id:uuid}/report",
    requires=Permission.READ,
    operation=Operation(tag="Jobs", personal=True, answers={200: Answer("The report.", JobReport)}, problems=(409,)),
)
async def show_report(request: AnyRequest, job_id: FromPath[UUID]) -> Response[bytes]:
    """Show the result for people: facts, tables, charts."""
    return await _answer(request, job_id, "report")


@get(
    "/v1/jobs/{job_id:uuid}/log",
    requires=Permission.READ,
    operation=Operation(
        tag="Jobs", personal=True, answers={200: Answer("The log.", media_type="text/plain")}, problems=(409,)
    ),
)
async def show_log(request: AnyRequest, job_id: FromPath[UUID]) -> Response[bytes]:
    """Show the solver's log as text."""
    _, payload = await _read(request, job_id, "log")
    return Response(content=payload or b"", media_type="text/plain")


ROUTES = [show_problem, show_result, show_report, show_log]
