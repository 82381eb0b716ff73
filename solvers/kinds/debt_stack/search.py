"""Find the cheapest funding: the linear program first; switches only where a drawn tranche's conditions are not met."""

from dataclasses import dataclass

import numpy as np

from milpa.errors import FatalError
from solvers.backends.highs import Answer, Solver
from solvers.backends.model import Floats, Model
from solvers.explain import DualKind
from solvers.kinds.debt_stack.formulation import Choices, Funding, decided, funding, program, relaxation
from solvers.kinds.debt_stack.problem import Problem, Solution
from solvers.kinds.debt_stack.solution import solution_from
from solvers.limits import SolveLimits
from solvers.progress import Progress, Silent
from solvers.result import SolveStatus

_NOTHING = 1e-7
"""Of the purchase's cost: a draw below that counts as none when its conditions are looked at."""
_SAME = 1e-9
"""Of an amount: how far rounding may miss a condition."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """How the search for what to draw ended.

    answer: of its last run. choices: None when no funding was found. seconds: of all runs.
    """

    answer: Answer
    choices: Choices | None
    dual_kind: DualKind
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Settled:
    """The linear program left once it is decided what may be drawn, solved."""

    choices: Choices
    model: Model
    solver: Solver
    answer: Answer


def search(parts: Funding, limits: SolveLimits, progress: Progress, warm_start: Solution | None = None) -> Search:
    """Find which conditional tranches to draw: by the relaxation, where that happens to meet their conditions."""
    relaxed = Solver(relaxation(parts), limits, progress).solve()
    choices = None if relaxed.x is None else _choices(parts, relaxed.x)
    if choices is not None or relaxed.status is not SolveStatus.OPTIMAL:
        return Search(answer=relaxed, choices=choices, dual_kind=DualKind.LP, seconds=relaxed.seconds)
    solver = Solver(program(parts), limits, progress)
    if warm_start is not None:
        solver.start_from(_start(parts, warm_start))
    answer = solver.solve(limits.seconds - relaxed.seconds)
    choices = None if answer.x is None else _choices(parts, answer.x)
    if answer.x is not None and choices is None:
        raise FatalError("solver_failed", "a drawn tranche misses its conditions by more than rounding")
    seconds = relaxed.seconds + answer.seconds
    return Search(answer=answer, choices=choices, dual_kind=DualKind.FIXED_INTEGER, seconds=seconds)


def cheapest(problem: Problem, limits: SolveLimits) -> float | None:
    """Return the least expected annual cost of a problem, in money; None: no funding was found."""
    parts = funding(problem)
    choices = search(parts, limits, Silent()).choices
    if choices is None:
        return None
    return solution_from(parts, settle(parts, choices, limits).answer.point).annual_cost


def settle(parts: Funding, choices: Choices, limits: SolveLimits) -> Settled:
    """Solve the linear program that is left once the choices are made."""
    model = decided(parts, choices)
    solver = Solver(model, limits)
    return Settled(choices=choices, model=model, solver=solver, answer=solver.solve())


def other_choices(parts: Funding, settled: Settled) -> Choices:
    """Return the choices with those turned that stay open: undrawn tranches just within their own loan to value."""
    turned, x = dict(settled.choices), settled.answer.point
    for k, may_be_drawn in settled.choices.items():
        tight = x[parts.up_to[k]].sum() >= parts.own_limit(k) * (1 - _SAME)
        if may_be_drawn and tight and x[k] <= _NOTHING * parts.problem.cost:
            turned[k] = False
    return turned


def _choices(parts: Funding, x: Floats) -> Choices | None:
    """Return which conditional tranches may be drawn, as they are in x; None: one is drawn against its conditions."""
    choices = {}
    for k in parts.conditional:
        drawn = x[k] > _NOTHING * parts.problem.cost
        least = parts.problem.tranches[k].min_amount
        within = x[parts.up_to[k]].sum() <= parts.own_limit(k) * (1 + _SAME)
        if drawn and not (within and x[k] >= least * (1 - _SAME)):
            return None
        choices[k] = bool(drawn or (least == 0 and within))
    return choices


def _start(parts: Funding, solution: Solution) -> Floats:
    """Return the variables' values of a funding of a similar problem, as far as its tranches are still on offer."""
    amounts = {source.id: source for source in solution.sources}
    x = np.zeros(parts.equity_column + 1 + len(parts.conditional))
    for k, tranche in enumerate(parts.problem.tranches):
        if tranche.id in amounts:
            x[k] = amounts[tranche.id].amount
            x[parts.hedge_column.get(k, k)] = amounts[tranche.id].hedged if k in parts.hedge_column else x[k]
    x[parts.equity_column] = solution.equity
    x[parts.equity_column + 1 :] = [x[k] > 0 for k in parts.conditional]
    return x
