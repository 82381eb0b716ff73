"""Why a plan is the best, what would change it, and, when there is none, what stands in its way."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import ceil, floor, log10
from typing import Any

import msgspec
import numpy as np

from milpa.errors import FatalError
from solvers.backends.conflicts import conflict
from solvers.backends.highs import Answer, Solver
from solvers.backends.linear import Price
from solvers.explain import ConstraintReport, DualKind, Explanation, ReducedCost, Repair, WhatIf
from solvers.kinds.leasing_mix.fields import Field, fields_of
from solvers.kinds.leasing_mix.formulation import Building, building, program
from solvers.kinds.leasing_mix.prices import prices_of
from solvers.kinds.leasing_mix.problem import Problem, Solution
from solvers.kinds.leasing_mix.solution import cleaned, solution_from
from solvers.kinds.leasing_mix.words import of_conflict, of_plan, value_in_words
from solvers.limits import SolveLimits
from solvers.patches import apply_patch
from solvers.patience import Patience
from solvers.plain_words import listed
from solvers.report import Unit
from solvers.result import SolveStatus

_TIGHT = 1e-7
"""Of a field's size: the slack below which a constraint binds."""
_NO_CHANGE = 1e-9
"""Of the cash: a change below that is rounding."""
_WHAT_IFS = 6
_TRIED = 10
_REPAIRS = 12


def explain(parts: Building, solver: Solver, answer: Answer, solution: Solution, patience: Patience) -> Explanation:
    """Return what the limits of a plan are worth, and the most valuable changes of them.

    solver, answer: of the program of `parts`, with the plan found. Nothing is solved for a plan that a limit ended, or
    a stop would take as long: its limits are told without prices.
    """
    problem, fields = parts.problem, fields_of(parts.problem)
    linear = solver.linear and answer.status is SolveStatus.OPTIMAL
    prices = prices_of(parts, solver, answer.point, fields) if linear else {}
    activities = _activities(problem, solution)
    constraints = [_constraint(field, activities[field.name], prices.get(field.name)) for field in fields]
    promising = _by_promise(fields, constraints) if answer.limit is None else []
    why = Explanation(
        dual_kind=DualKind.LP if linear else DualKind.NONE,
        constraints=constraints,
        reduced_costs=_reduced_costs(parts, answer) if linear else [],
        what_if=_what_if(problem, promising, solution.ncf_12m, patience),
    )
    return msgspec.structs.replace(why, sentences=of_plan(problem, solution, fields, why, answer.limit))


def explain_infeasible(parts: Building, patience: Patience) -> Explanation:
    """Return which constraints can't hold together, and relaxations that were solved and work."""
    opposed = _opposed(parts.problem, patience.limits)
    repairs = [
        repair for field in opposed[:_REPAIRS] if (repair := _repair(parts.problem, [field], patience)) is not None
    ]
    if not repairs:
        repairs = list(_joint_repair(parts.problem, patience))
    return Explanation(
        conflicts=[field.name for field in opposed],
        repairs=repairs,
        sentences=of_conflict(opposed, repairs),
    )


def _constraint(field: Field, activity: float | None, price: Price | None) -> ConstraintReport:
    slack = None if activity is None else 0.0 + field.relax * (field.limit - activity)
    exact = price is not None and not field.is_coefficient
    return ConstraintReport(
        name=field.name,
        label=field.label,
        activity=activity,
        limit=field.limit,
        slack=slack,
        binding=slack is not None and slack <= _TIGHT * field.size,
        shadow_price=None if price is None else price.slope,
        valid_from=_within(field, price.valid_from(field.limit)) if price and exact else None,
        valid_to=_within(field, price.valid_to(field.limit)) if price and exact else None,
    )


def _within(field: Field, value: float | None) -> float | None:
    """Return an end of a range, or of the values that the field may have if that comes first."""
    if value is None:
        return None
    return min(value, field.end) if field.relax > 0 else max(value, field.end)


def _activities(problem: Problem, solution: Solution) -> dict[str, float | None]:
    """Return where the plan stands, by constraint, in the field's unit; null where there is nothing to measure."""
    offers = {offer.package_id: offer for offer in solution.offers}
    activities: dict[str, float | None] = {
        "total_area": solution.occupancy * problem.total_area,
        "area_max": solution.occupancy,
        "occupancy_min": solution.occupancy,
        "incentive_budget": solution.incentives_spent,
        "wault": solution.wault_years,
    }
    activities |= {f"use:{use}": 0.0 for use in problem.use_caps}
    for package in problem.packages:
        offer = offers.get(package.id)
        activities[f"max_leases:{package.id}"] = offer.leases if offer else 0.0
        activities[f"min_leases:{package.id}"] = offer.leases if offer else 0.0
        if offer and package.use in problem.use_caps:
            area = activities[f"use:{package.use}"] or 0.0
            activities[f"use:{package.use}"] = area + offer.area / problem.total_area
    return activities


def _reduced_costs(parts: Building, answer: Answer) -> list[ReducedCost]:
    """Return what a lease of each package that is not offered would change, in money per lease."""
    costs = answer.reduced_costs
    if costs is None:
        return []
    unsigned = np.flatnonzero((cleaned(parts, answer.point) == 0) & (costs < 0))
    return [ReducedCost(parts.problem.packages[p].id, float(costs[p])) for p in unsigned]


def _by_promise(fields: list[Field], constraints: list[ConstraintReport]) -> list[tuple[Field, ConstraintReport]]:
    """Return the constraints whose relaxation may pay, by what a step looser promises, the most first."""
    pairs = [(field, one) for field, one in zip(fields, constraints, strict=True) if field.name != "total_area"]
    priced = [pair for pair in pairs if pair[1].shadow_price is not None]
    if priced:
        worth = {field.name: (one.shadow_price or 0.0) * (field.looser - field.limit) for field, one in priced}
        paying = [pair for pair in priced if worth[pair[0].name] > 0]
        return sorted(paying, key=lambda pair: -worth[pair[0].name])
    near = [(field, one) for field, one in pairs if one.slack is not None and field.looser != field.limit]
    return sorted(near, key=lambda pair: (pair[1].slack or 0.0) / pair[0].size)


def _what_if(
    problem: Problem, promising: list[tuple[Field, ConstraintReport]], cash: float, patience: Patience
) -> list[WhatIf]:
    """Return the relaxations that bring most, each solved."""
    found: list[WhatIf] = []
    for field, one in promising[:_TRIED]:
        if patience.over:
            break
        value = field.looser
        changed = most_cash(field.change(problem, value), patience.limits)
        if changed is None or changed - cash <= _NO_CHANGE * max(1.0, abs(cash)):
            continue
        found.append(
            WhatIf(
                label=f"{field.label}: {value_in_words(problem, field, value)}",
                patch=field.patch(value),
                expected_change=changed - cash,
                valid_from=one.valid_from,
                valid_to=one.valid_to,
            )
        )
    return sorted(found, key=lambda change: -change.expected_change)[:_WHAT_IFS]


def most_cash(problem: Problem, limits: SolveLimits) -> float | None:
    """Return the most net cash flow of twelve months that a problem allows, in money; None: no plan was found."""
    parts = building(problem)
    try:
        answer = Solver(program(parts), limits).solve()
    except FatalError:
        return None
    return None if answer.x is None else solution_from(parts, answer.x).ncf_12m


def _works(problem: Problem, limits: SolveLimits) -> bool:
    """Tell whether some plan was found that meets all limits."""
    model = program(building(problem))
    try:
        return Solver(replace(model, costs=np.zeros_like(model.costs)), limits).solve().x is not None
    except FatalError:
        return False


def _opposed(problem: Problem, limits: SolveLimits) -> list[Field]:
    """Return the fields of a smallest set of constraints that can't hold together."""
    model = program(building(problem))
    names = {model.row_names[row] for row in conflict(model, limits)}
    return [field for field in fields_of(problem) if field.name in names]


def _repair(problem: Problem, fields: list[Field], patience: Patience) -> Repair | None:
    """Return the least relaxation of some fields, each in turn, that was solved and works; None: none was found."""
    loose = _all_loose(problem, fields)
    if patience.over or not _works(loose, patience.limits):
        return None
    values: dict[str, float] = {}
    for field in fields:
        values[field.name] = _least(field, loose, patience)
        loose = field.change(loose, values[field.name])
    changed = [field for field in fields if values[field.name] != field.limit]
    patch: dict[str, Any] = {}
    for field in changed:
        patch = apply_patch(patch, field.patch(values[field.name])).value
    return Repair(
        label=listed([f"{field.label}: {value_in_words(problem, field, values[field.name])}" for field in changed]),
        patch=patch,
        cost=sum(abs(values[field.name] - field.limit) for field in changed),
    )


def _joint_repair(problem: Problem, patience: Patience) -> Iterator[Repair]:
    """Yield a relaxation of several fields, one of each conflict in turn, where no single one is enough."""
    chosen: list[Field] = []
    while not patience.over and len(chosen) < _REPAIRS:
        names = {field.name for field in chosen}
        opposed = _opposed(_all_loose(problem, chosen), patience.limits)
        more = [field for field in opposed if field.name not in names and field.limit != field.enough]
        if not more:
            break
        chosen.append(more[0])
    repair = _repair(problem, chosen, patience) if chosen else None
    if repair is not None:
        yield repair


def _all_loose(problem: Problem, fields: list[Field]) -> Problem:
    """Return the problem with some fields at values from which on they allow no more."""
    for field in fields:
        problem = field.change(problem, field.enough)
    return problem


def _least(field: Field, loose: Problem, patience: Patience) -> float:
    """Return the value nearest to the field's limit, in steps that people write, with which the problem works."""
    step = _step(field)
    start = field.limit / step
    origin = floor(start) if field.relax > 0 else ceil(start)

    def value(steps: int) -> float:
        if steps == 0:
            return field.limit
        stepped = field.tidy((origin + field.relax * steps) * step)
        return min(stepped, field.enough) if field.relax > 0 else max(stepped, field.enough)

    def works(steps: int) -> bool:
        return _works(field.change(loose, value(steps)), patience.limits)

    return value(_first(works, ceil(abs(field.enough - field.limit) / step) + 1, patience))


def _first(works: Callable[[int], bool], last: int, patience: Patience) -> int:
    """Return the first of 0 … last that works, if all behind it do and the last one does; by halving."""
    first = 0
    while first < last and not patience.over:
        middle = (first + last) // 2
        first, last = (first, middle) if works(middle) else (middle + 1, last)
    return last


def _step(field: Field) -> float:
    """Return to what a repair is rounded: cents, or larger units for large amounts; hundredths of a per cent; …."""
    match field.unit:
        case Unit.MONEY:
            return float(10.0 ** max(-2, ceil(log10(1e-6 * max(1.0, field.enough)))))
        case Unit.SHARE:
            return 1e-4
        case Unit.YEARS:
            return 0.01
        case _:
            return 1.0
