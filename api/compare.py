"""Comparing jobs: their figures side by side, and what differs between their problems."""

from collections.abc import Iterator
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Response, get

from api.bodies import AnyRequest, answer, off_loop
from api.links import base_url, show_job
from api.operations import Answer, Operation
from api.payloads import Cell, ReportFact
from api.principal import Permission
from api.problem_details import ProblemError, not_found
from api.queries import bad_parameter, described, read_query
from api.trails import transaction_of
from milpa.jobs import Job
from solvers.issues import pointer
from solvers.patches import ID, diff
from solvers.report import Unit
from storage.rows import JobRow

FEWEST, MOST = 2, 10
MOST_CHANGES = 1000

Path = tuple[str, ...]


class CompareQuery(msgspec.Struct, frozen=True):
    """Which jobs to compare."""

    ids: Annotated[tuple[str, ...], described("2 to 10 ended jobs of one kind, with commas between.")] = ()
    baseline: Annotated[str | None, described("The one of them to measure against; else the first.")] = None


class ProblemChange(msgspec.Struct, frozen=True, kw_only=True):
    """One place where a problem differs from the baseline's.

    pointer: JSON pointer in which an entry of a list with ids is named by its id. before: in the baseline; after: here;
    null where there is nothing.
    """

    pointer: str
    before: Any
    after: Any


class ComparedJob(msgspec.Struct, frozen=True, kw_only=True):
    """One job of a comparison.

    patch: merge patch that makes its problem of the baseline's. changes: the same, place by place, the first 1,000 of
    `changes_total`. All three are null when one of the problems was removed after its retention time.
    """

    job: Job
    patch: dict[str, Any] | None
    changes: list[ProblemChange] | None
    changes_total: int | None


class ComparedFact(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of every job, in the order of the jobs; null where a job does not have it.

    differences: less the baseline's. relative_differences: ÷ |the baseline's|, fractions; null for what is no number,
    and where the baseline's is 0.
    """

    name: str
    label: str
    unit: Unit
    headline: bool
    values: list[Cell]
    differences: list[float | None]
    relative_differences: list[float | None]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs side by side, in the order asked for. facts: the objective, then those of the reports by name."""

    kind: str
    baseline: UUID
    currency: str
    jobs: list[ComparedJob]
    facts: list[ComparedFact]


class _Report(msgspec.Struct):
    currency: str = ""
    facts: list[ReportFact] = []


class _Kept(msgspec.Struct, frozen=True):
    row: JobRow
    report: _Report
    problem: bytes | None


@get(
    "/v1/jobs/compare",
    requires=Permission.READ,
    operation=Operation(
        tag="Questions",
        personal=True,
        query=CompareQuery,
        answers={200: Answer("The jobs.", Comparison)},
        problems=(404, 409),
    ),
)
async def compare_jobs(request: AnyRequest) -> Response[bytes]:
    """Put jobs of one kind side by side: figures, differences, and what changed in the problem."""
    query = read_query(request, CompareQuery)
    ids, baseline = _ids(query)
    kept = await _read(request, ids)
    base = kept[ids.index(baseline)]
    size = sum(len(one.problem or b"") for one in kept)
    compared = await off_loop(size, lambda: [_compared(one, base, base_url(request)) for one in kept])
    comparison = Comparison(
        kind=base.row.kind,
        baseline=baseline,
        currency=base.report.currency,
        jobs=compared,
        facts=_facts(kept, ids.index(baseline)),
    )
    return answer(comparison)


def _ids(query: CompareQuery) -> tuple[list[UUID], UUID]:
    if not FEWEST <= len(query.ids) <= MOST:
        raise bad_parameter("ids", f"Give {FEWEST} to {MOST} ids, not {len(query.ids)}.", "out_of_range")
    ids = [_uuid(text) for text in query.ids]
    if len(set(ids)) < len(ids):
        raise bad_parameter("ids", "Each job comes once.", "duplicate_id")
    baseline = ids[0] if query.baseline is None else _uuid(query.baseline)
    if baseline not in ids:
        raise bad_parameter("baseline", "The baseline is one of the jobs to compare.")
    return ids, baseline


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise not_found("job") from None


async def _read(request: AnyRequest, ids: list[UUID]) -> list[_Kept]:
    async with transaction_of(request) as transaction:
        rows = await transaction.jobs.get_many(ids)
        if len(rows) < len(ids):
            raise not_found("job")
        _refuse_unlike(rows)
        reports = [await transaction.jobs.payload(job_id, "report") for job_id in ids]
        problems = [await transaction.jobs.payload(job_id, "input") for job_id in ids]
    return [
        _Kept(row, msgspec.json.decode(report or b"{}", type=_Report), problem)
        for row, report, problem in zip(rows, reports, problems, strict=True)
    ]


def _refuse_unlike(rows: Any) -> None:
    kinds = sorted({row.kind for row in rows})
    if len(kinds) > 1:
        raise bad_parameter("ids", f"Jobs of one kind can be compared, not of {' and '.join(kinds)}.")
    going = [str(row.id) for row in rows if not row.state.ended]
    if going:
        raise ProblemError(409, "job-not-ended", f"Not ended yet: {', '.join(going)}.")


# Figures


def _facts(kept: list[_Kept], base: int) -> list[ComparedFact]:
    """Return each figure that any of the jobs has, in the order in which they first come."""
    objective = ReportFact(name="objective", label="Objective", value=None, unit=Unit.NUMBER, note="", headline=True)
    known = {"objective": objective}
    values: list[dict[str, Cell]] = []
    for one in kept:
        for fact in one.report.facts:
            known.setdefault(fact.name, fact)
        values.append({**{fact.name: fact.value for fact in one.report.facts}, "objective": one.row.objective})
    return [_compared_fact(fact, [each.get(name) for each in values], base) for name, fact in known.items()]


def _compared_fact(fact: ReportFact, values: list[Cell], base: int) -> ComparedFact:
    differences = [_difference(value, values[base]) for value in values]
    size = _number(values[base])
    return ComparedFact(
        name=fact.name,
        label=fact.label,
        unit=fact.unit,
        headline=fact.headline,
        values=values,
        differences=differences,
        relative_differences=[one / abs(size) if size and one is not None else None for one in differences],
    )


def _difference(value: Cell, base: Cell) -> float | None:
    one, other = _number(value), _number(base)
    return None if one is None or other is None else one - other


def _number(value: Cell) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


# Problems


def _compared(one: _Kept, base: _Kept, links: str) -> ComparedJob:
    job = show_job(one.row, links)
    if one.problem is None or base.problem is None:
        return ComparedJob(job=job, patch=None, changes=None, changes_total=None)
    before = msgspec.json.decode(base.problem)
    patch = {} if one.problem == base.problem else diff(before, msgspec.json.decode(one.problem))
    changes = list(_changes(before, patch, ()))
    return ComparedJob(job=job, patch=patch, changes=changes[:MOST_CHANGES], changes_total=len(changes))


def _changes(before: Any, patch: Any, path: Path) -> Iterator[ProblemChange]:
    """Walk a patch along what it changes: objects and lists with ids entry by entry, the rest as a whole."""
    if isinstance(patch, dict) and isinstance(before, dict | list) and before:
        members = before if isinstance(before, dict) else {entry[ID]: entry for entry in before}
        for name, value in patch.items():
            yield from _changes(members.get(name), value, (*path, name))
    else:
        yield ProblemChange(pointer=pointer(*path), before=before, after=patch)


ROUTES = [compare_jobs]
