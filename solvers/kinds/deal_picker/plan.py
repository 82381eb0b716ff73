"""The best plan and its proof: sifting where shares are free, a core of switches or whole deals where they are not."""

import time
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from solvers.backends.core import solve_by_core
from solvers.backends.highs import Answer
from solvers.backends.model import Floats, Model, Whole, model_from_rows
from solvers.backends.sifting import Sifter
from solvers.explain import DualKind
from solvers.kinds.deal_picker.formulation import (
    Deals,
    Flags,
    limit_rows,
    objective,
    packing_model,
    switched_deals,
    switched_model,
    within_reach,
)
from solvers.kinds.deal_picker.problem import Problem
from solvers.limits import SolveLimits
from solvers.progress import Progress, Silent
from solvers.result import SolveStatus

_AT_BOUND = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """An answer over the deals: answer.x has shape (n,), or is None. sifter: the solved linear program, if one stands.

    dual_kind: what the prices of that program mean. rows, columns: size of the model; build_seconds: to write it down.
    """

    answer: Answer
    sifter: Sifter | None
    dual_kind: DualKind
    rows: int
    columns: int
    build_seconds: float = 0.0


def make_plan(
    problem: Problem, deals: Deals, limits: SolveLimits, progress: Progress | None = None, start: Floats | None = None
) -> Plan:
    """Find the best plan. start: allocations, shape (n,), to begin a MILP with."""
    progress, started = progress or Silent(), time.perf_counter()
    deals = within_reach(problem, deals)
    packing = packing_model(problem, deals)
    built = time.perf_counter() - started
    switched = switched_deals(problem, deals)
    if problem.mode == "whole":
        plan = _whole_plan(packing, limits, progress, start)
    elif len(switched):
        plan = _switched_plan(problem, deals, packing, switched, limits=limits, progress=progress, start=start)
    else:
        plan = _linear_plan(packing, limits, progress)
    return replace(plan, build_seconds=built)


def _linear_plan(packing: Model, limits: SolveLimits, progress: Progress) -> Plan:
    sifter = Sifter(packing, limits, progress)
    answer = _snapped(sifter.solve(), packing)
    solved = answer.status is SolveStatus.OPTIMAL
    return _plan(answer, packing, sifter if solved else None, DualKind.LP if solved else DualKind.NONE)


def _whole_plan(packing: Model, limits: SolveLimits, progress: Progress, start: Floats | None) -> Plan:
    columns = len(packing.costs)
    model = replace(packing, integer=np.ones(columns, dtype=bool))
    answer = solve_by_core(model, packing, np.arange(columns), limits=limits, progress=progress, start=start)
    if answer.x is not None:
        x = np.round(answer.x)
        answer = replace(answer, x=x, objective=float(packing.costs @ x))
    return _plan(answer, model, None, DualKind.NONE)


def _switched_plan(
    problem: Problem,
    deals: Deals,
    packing: Model,
    switched: Whole,
    *,
    limits: SolveLimits,
    progress: Progress,
    start: Floats | None,
) -> Plan:
    """Solve with switches, then the linear program that is left once they are set: exact shares, and prices."""
    ends = time.perf_counter() + limits.seconds
    model, owner = switched_model(problem, deals, switched)
    begin = None if start is None else np.concatenate([start, start[switched] > _AT_BOUND])
    found = solve_by_core(model, packing, owner, limits=limits, progress=progress, start=begin)
    if found.x is None:
        return _plan(found, model, None, DualKind.NONE)
    fixed = fixed_model(problem, deals, switched, found.x[deals.count :] > 0.5)  # noqa: PLR2004 - rounding a switch
    left = msgspec.structs.replace(limits, seconds=max(1.0, ends - time.perf_counter()))
    sifter = Sifter(fixed, left)
    shares = _snapped(sifter.solve(), fixed)
    if shares.status is not SolveStatus.OPTIMAL:
        return _plan(replace(found, x=found.x[: deals.count]), model, None, DualKind.NONE)
    bound = None if found.bound is None or shares.objective is None else max(found.bound, shares.objective)
    answer = replace(found, x=shares.x, objective=shares.objective, bound=bound, reduced_costs=shares.reduced_costs)
    return _plan(answer, model, sifter, DualKind.FIXED_INTEGER)


def fixed_model(problem: Problem, deals: Deals, switched: Whole, on: Flags) -> Model:
    """Return the linear program left when the switches are set: off is nothing, on is at least the least share."""
    lower, upper = deals.required.copy(), deals.most.copy()
    lower[switched] = np.where(on, deals.least[switched], 0.0)
    upper[switched] = np.where(on, deals.most[switched], 0.0)
    rows = limit_rows(problem, deals)
    return model_from_rows(costs=objective(problem, deals), lower=lower, upper=upper, rows=rows, maximize=True)


def _snapped(answer: Answer, model: Model) -> Answer:
    """Put shares that are at a bound but for rounding onto it."""
    if answer.x is None:
        return answer
    x = np.where(np.abs(answer.x - model.lower) <= _AT_BOUND, model.lower, answer.x)
    x = np.where(np.abs(x - model.upper) <= _AT_BOUND * model.upper, model.upper, x)
    return replace(answer, x=x, objective=float(model.costs @ x))


def _plan(answer: Answer, model: Model, sifter: Sifter | None, dual_kind: DualKind) -> Plan:
    rows, columns = model.matrix.shape
    return Plan(answer=answer, sifter=sifter, dual_kind=dual_kind, rows=rows, columns=columns)
