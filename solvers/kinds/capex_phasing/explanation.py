"""Why a plan is what it is: how tight each limit is, and what the tightest bring when they are one step looser."""

import time
from collections import defaultdict
from dataclasses import dataclass

import msgspec

from solvers.explain import ConstraintReport, DualKind, Explanation, WhatIf
from solvers.kinds.capex_phasing.fields import Field, activities_of, fields_of
from solvers.kinds.capex_phasing.greedy import fitted
from solvers.kinds.capex_phasing.instance import Instance, Starts, instance_of
from solvers.kinds.capex_phasing.problem import Objective, Solution
from solvers.kinds.capex_phasing.search import Found, Search
from solvers.kinds.capex_phasing.words import of_plan, step_in_words
from solvers.limits import SolveLimits
from solvers.progress import Progress
from solvers.result import SolveStatus

_WHAT_IFS = 5
_TIGHT = 0.25
"""Of a step: slack up to that makes a limit as tight as one without any."""
_LEAST_SECONDS = 0.2
_NO_CHANGE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """A plan, its limits, what they were searched with, and until when there is time (of `time.perf_counter`)."""

    of: Instance
    found: Found
    starts: Starts
    objective: float
    solution: Solution
    prices: dict[str, float]
    limits: SolveLimits
    progress: Progress
    until: float


def explain(plan: Explained) -> Explanation:
    """Return where the plan stands at each limit, and the five tightest one step looser, each searched again."""
    problem = plan.of.problem
    fields, stands = fields_of(problem), activities_of(problem, plan.solution)
    tried = _tried(plan, _tightest(plan, fields, stands))
    return Explanation(
        dual_kind=DualKind.NONE,
        constraints=[_report(field, stands.get(field.name)) for field in fields],
        what_if=[what_if for what_if, _ in tried],
        sentences=of_plan(problem, plan.solution, tried, plan.found, plan.objective),
    )


def _report(field: Field, stand: tuple[float, float] | None) -> ConstraintReport:
    activity, limit = stand if stand is not None else (None, field.limit)
    slack = None if stand is None else _slack(field, stand)
    binding = slack is not None and slack <= _NO_CHANGE * max(1.0, abs(limit or 0.0))
    return ConstraintReport(
        name=field.name, label=field.label, activity=activity, limit=limit, slack=slack, binding=binding
    )


def _slack(field: Field, stand: tuple[float, float]) -> float:
    activity, limit = stand
    return activity - limit if field.kind == "after" else limit - activity


def _tightest(plan: Explained, fields: list[Field], stands: dict[str, tuple[float, float]]) -> list[Field]:
    """Return the fields to loosen: the tightest, and among those the most valuable to the linear relaxation."""
    worth = _estimates(plan, fields)
    ranked: list[tuple[bool, float, float, int, Field]] = []
    for field in fields:
        if field.name not in stands or (field.limit is not None and field.limit >= field.most):
            continue
        slack = max(0.0, _slack(field, stands[field.name])) / field.step
        if slack < 1:
            ranked.append((slack > _TIGHT, -worth[field.path], slack, len(ranked), field))
    distinct: dict[tuple[str, ...], Field] = {}
    for *_, field in sorted(ranked):
        distinct.setdefault(field.path, field)
    return list(distinct.values())[:_WHAT_IFS]


def _estimates(plan: Explained, fields: list[Field]) -> dict[tuple[str, ...], float]:
    """Return by field what the linear relaxation says a step is worth; its rows may be several."""
    of, prices = plan.of, plan.prices
    worth: dict[tuple[str, ...], float] = defaultdict(float)
    later = 0.0
    for field in reversed(fields):
        price = prices.get(field.name, 0.0)
        if field.kind == "cash":
            later = price + (later if of.problem.carry_over else 0.0)
            price = later + prices.get(f"balance:{field.month}", 0.0)
        elif field.kind == "required":
            place = next(i for i, project in enumerate(of.problem.projects) if project.id == field.of)
            price = max(0.0, -float(of.values[place].max()))
        worth[field.path] += price * field.step
    return worth


def _tried(plan: Explained, fields: list[Field]) -> list[tuple[WhatIf, bool]]:
    """Search each change again, as long as there is time; tell with each whether its worth is proven."""
    proven = plan.found.status is SolveStatus.OPTIMAL
    tried = []
    for number, field in enumerate(fields):
        seconds = (plan.until - time.perf_counter()) / (len(fields) - number)
        if seconds < _LEAST_SECONDS or plan.progress.stop_requested():
            break
        value = (field.limit or 0.0) + field.step
        found = _again(plan, field, value, seconds)
        change = None if found is None else _change(plan, found)
        if found is not None and change is not None:
            label = step_in_words(plan.of.problem, field)
            patch = field.patch(plan.of.problem, value)
            exact = proven and found.status is SolveStatus.OPTIMAL
            tried.append((WhatIf(label=label, patch=patch, expected_change=change), exact))
    return sorted(tried, key=lambda one: -abs(one[0].expected_change))


def _again(plan: Explained, field: Field, value: float, seconds: float) -> Found | None:
    """Search the problem with a field changed; where that takes too long to prove, look around the plan.

    None: it would not make sense so, or nothing was found.
    """
    changed = field.change(plan.of.problem, value)
    if changed is None:
        return None
    took = plan.found.seconds
    limits = msgspec.structs.replace(plan.limits, seconds=seconds)
    quick = plan.found.status is not SolveStatus.OPTIMAL or took > seconds
    found = Search(of=instance_of(changed), limits=limits, start=plan.starts, quick=quick).run()
    return found if found.objective is not None else None


def _change(plan: Explained, found: Found) -> float | None:
    """Return by how much the objective changes; None: the better plan would have been one without the change."""
    if found.objective is None or found.starts is None:
        return None
    change = found.objective - plan.objective
    if plan.of.objective is Objective.MAKESPAN:
        change = min(0.0, change)
    else:
        change = max(0.0, change) if change > _NO_CHANGE * max(1.0, abs(plan.objective)) else 0.0
    if change and fitted(plan.of, found.starts) is not None:
        return None
    return change
