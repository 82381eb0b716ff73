"""Why no plan holds, and what would help. Only what must be included can break a limit: nothing else is looked at."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from solvers.backends.conflicts import conflict, elastic
from solvers.backends.highs import solve
from solvers.backends.model import Model, Row, Shift, Whole, model_from_rows
from solvers.explain import Explanation, Repair
from solvers.kinds.deal_picker.fields import Limit, limits_of, patched
from solvers.kinds.deal_picker.formulation import Deals, columns_of, group_members, limit_rows
from solvers.kinds.deal_picker.plan import make_plan
from solvers.kinds.deal_picker.problem import Problem
from solvers.kinds.deal_picker.words import joined, raised
from solvers.limits import SolveLimits

_PROOF_SECONDS = 5.0


def explain_infeasible(problem: Problem, deals: Deals, limits: SolveLimits) -> Explanation:
    """Name a smallest set of constraints that can't hold together, and the cheapest changes that were seen to help."""
    model = requirements(problem, deals)
    names = [model.row_names[row] for row in conflict(model)]
    fields = {field.name: field for field in limits_of(problem, deals, deals.required)}
    proof = msgspec.structs.replace(limits, seconds=min(limits.seconds, _PROOF_SECONDS))
    repairs = [repair for repair in _candidates(problem, model, fields, names) if _works(problem, repair, proof)]
    labels = [fields[name].label for name in names]
    return Explanation(
        conflicts=names,
        repairs=repairs,
        sentences=[
            f"No plan holds every limit: {joined(labels)} can't hold together.",
            *(f"This would help: {repair.label[0].lower()}{repair.label[1:]}." for repair in repairs),
        ],
    )


def requirements(problem: Problem, deals: Deals) -> Model:
    """Return the program of what must be bought: y_i is the part of requirement i that is kept.

    Rows: must_include:<id>, y_i = 1 (the smallest deals first), then the limits, in the units of the full model.
    """
    needed = np.flatnonzero(deals.required)
    needed = needed[np.argsort(deals.prices[needed] * deals.required[needed], kind="stable")]
    at = np.full(deals.count, -1)
    at[needed] = np.arange(len(needed))
    ids = {int(position): deal_id for deal_id, position in deals.index.items() if position in set(needed.tolist())}
    musts = [Row(f"must_include:{ids[int(deal)]}", [y], [1.0], lower=1.0) for y, deal in enumerate(needed)]
    return model_from_rows(
        costs=np.ones(len(needed)),
        lower=np.zeros(len(needed)),
        upper=np.ones(len(needed)),
        rows=[*musts, *_limits(problem, deals, at)],
        maximize=True,
    )


def _limits(problem: Problem, deals: Deals, at: Whole) -> Iterator[Row]:
    """Every limit over the requirements: of amounts first, then of numbers of deals."""
    for row in limit_rows(problem, deals):
        columns = np.asarray(row.columns)
        inside = at[columns] >= 0
        used = np.asarray(row.values)[inside] * deals.required[columns[inside]]
        yield Row(row.name, at[columns[inside]], used, upper=row.upper)
    if problem.max_deals is not None:
        every = at[at >= 0]
        yield Row("max_deals", every, np.ones(len(every)), upper=float(problem.max_deals))
    for number, group in enumerate(group_members(problem, deals)):
        members = at[group][at[group] >= 0]
        yield Row(f"group:{number}", members, np.ones(len(members)), upper=1.0)


def _candidates(problem: Problem, model: Model, fields: Mapping[str, Limit], names: list[str]) -> Iterator[Repair]:
    """Yield one limit raised, for each in the conflict that can do it alone; else several; then deals let go."""
    row_of = {name: row for row, name in enumerate(model.row_names)}
    raisable = [field for field in fields.values() if field.relax > 0 and not field.name.startswith("group:")]
    alone = [
        (field, growth)
        for field in raisable
        if field.name in names and (growth := elastic(model, [_growth_of(field, row_of)])) is not None
    ]
    for field, growth in alone:
        yield _raised(problem, [(field, float(growth[0]))])
    if not alone and raisable:
        together = elastic(model, [_growth_of(f, row_of) for f in raisable], [1.0 / f.size for f in raisable])
        if together is not None:
            grown = [(field, float(by)) for field, by in zip(raisable, together, strict=True) if by > 0]
            yield _raised(problem, grown)
    for name in names:
        if name.startswith("group:"):
            yield Repair(label=fields[name].change_label, patch=fields[name].patch, cost=1.0)
    yield _let_go(problem, model)


def _growth_of(field: Limit, row_of: Mapping[str, int]) -> Shift:
    """Return how the field moves the requirements' rows, which stand behind those of the deals."""
    first = row_of["budget"]
    rates = {first + row: rate for row, rate in field.shift.row_upper.items()} or {row_of[field.name]: 1.0}
    return Shift(row_upper=rates)


def _raised(problem: Problem, growths: list[tuple[Limit, float]]) -> Repair:
    """Return the repair that raises limits by so much each."""
    patch: dict[str, Any] = {}
    labels = []
    for field, growth in growths:
        name, _, key = field.name.partition(":")
        value = field.limit + growth
        if name == "max_deals":
            patch[name] = value = int(np.ceil(value - 1e-9))
        elif key or name in {"sector", "city"}:
            patch.setdefault(f"{name}_caps", {})[key] = value
        else:
            patch[name] = value
        labels.append(raised(problem, field.name, value))
    return Repair(label=f"Raise {joined(labels)}", patch=patch, cost=sum(growth for _, growth in growths))


def _let_go(problem: Problem, model: Model) -> Repair:
    """Return the repair that requires as many of the deals as can be had."""
    musts = np.array([name.startswith("must_include:") for name in model.row_names])
    kept = solve(
        replace(
            model,
            row_lower=np.where(musts, 0.0, model.row_lower),
            integer=np.ones(len(model.costs), dtype=bool),
        )
    ).point
    names = [name for name, keeps in zip(model.row_names, kept, strict=False) if keeps < 0.5]  # noqa: PLR2004
    gone = [name.partition(":")[2] for name in names]
    rest = [deal_id for deal_id in problem.must_include if deal_id not in set(gone)]
    return Repair(label=f"No longer require {joined(gone)}", patch={"must_include": rest}, cost=float(len(gone)))


def _works(problem: Problem, repair: Repair, limits: SolveLimits) -> bool:
    """Solve the repaired problem, and tell whether there is a plan."""
    other = patched(problem, repair.patch)
    return make_plan(other, columns_of(other), limits).answer.x is not None
