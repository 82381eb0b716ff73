"""Find the cheapest funding: the linear program first; switches only where a drawn tranche's conditions are not met."""

from dataclasses import dataclass, replace

import numpy as np

from milpa.errors import FatalError
from milpa.jobs import LimitReached
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
"""Of the purchase's cost, or of the most on offer: a draw below counts as none when its conditions are looked at."""
_SAME = 1e-6
"""Of an amount: how far a solver's tolerance may miss a condition."""


@dataclass(frozen=True, kw_only=True)
class Settled:
    """The linear program left once it is decided what may be drawn, solved."""

    choices: Choices
    model: Model
    solver: Solver
    answer: Answer


@dataclass(frozen=True, kw_only=True)
class Search:
    """How the search for what to draw ended.

    settled: None when no funding was found. iterations, nodes, seconds: of its runs.
    """

    status: SolveStatus
    limit: LimitReached | None
    bound: float | None
    settled: Settled | None
    dual_kind: DualKind
    iterations: int
    nodes: int
    seconds: float


def search(parts: Funding, limits: SolveLimits, progress: Progress, warm_start: Solution | None = None) -> Search:
    """Find the cheapest funding: by the relaxation, where that happens to meet the conditions of drawn tranches."""
    runs = [Solver(relaxation(parts), limits, progress).solve()]
    choices = _choices(parts, runs[0])
    if choices is None and runs[0].status is SolveStatus.OPTIMAL:
        solver = Solver(program(parts), limits, progress)
        if warm_start is not None:
            solver.start_from(_start(parts, warm_start))
        runs.append(solver.solve(limits.seconds - runs[0].seconds))
        choices = _choices(parts, runs[1])
        if choices is None and runs[1].x is not None:
            raise FatalError("solver_failed", "a drawn tranche misses its conditions by more than rounding")
    return _ended(runs, None if choices is None else settle(parts, choices, limits))


def cheapest(problem: Problem, limits: SolveLimits) -> float | None:
    """Return the least expected annual cost of a problem, in money; None: no funding was found, or HiGHS gave up."""
    parts = funding(problem)
    try:
        settled = search(parts, limits, Silent()).settled
    except FatalError:
        return None
    return None if settled is None else solution_from(parts, settled.answer.point).annual_cost


def _ended(runs: list[Answer], settled: Settled | None) -> Search:
    last = runs[-1]
    found_none = SolveStatus.INFEASIBLE if last.limit is None else SolveStatus.NO_SOLUTION
    # The relaxation's bound holds for the program too, if that did not come far; nothing bounds what can't be.
    bounds = [run.bound for run in runs if run.bound is not None and last.limit is not None]
    return Search(
        status=last.status if settled else found_none,
        limit=last.limit,
        bound=last.bound if settled else max(bounds, default=None),
        settled=settled,
        dual_kind=DualKind.LP if len(runs) == 1 else DualKind.FIXED_INTEGER,
        iterations=sum(run.iterations for run in runs),
        nodes=sum(run.nodes for run in runs),
        seconds=sum(run.seconds for run in runs),
    )


def settle(parts: Funding, choices: Choices, limits: SolveLimits) -> Settled | None:
    """Solve the linear program that is left once the choices are made; None: they leave no funding."""
    model = decided(parts, choices)
    solver = Solver(model, limits)
    answer = solver.solve()
    if answer.status is not SolveStatus.OPTIMAL:
        return None
    # Beside the purchase's cost, the solver's tolerance may be cents of a tranche that must not be drawn.
    answer = replace(answer, x=np.clip(answer.point, model.lower, model.upper))
    return Settled(choices=choices, model=model, solver=solver, answer=answer)


def other_choices(parts: Funding, settled: Settled) -> Choices:
    """Return the choices with those turned that stay open: undrawn tranches just within their own loan to value."""
    turned, x = dict(settled.choices), settled.answer.point
    for k, may_be_drawn in settled.choices.items():
        tight = x[parts.up_to[k]].sum() >= parts.own_limit(k) * (1 - _SAME)
        if may_be_drawn and tight and x[k] <= _NOTHING * parts.full(k):
            turned[k] = False
    return turned


def _choices(parts: Funding, run: Answer) -> Choices | None:
    """Return which conditional tranches may be drawn; None: one is against its conditions, or nothing was found."""
    x, choices = run.x, {}
    if x is None:
        return None
    for k in parts.conditional:
        drawn = x[k] > _NOTHING * parts.full(k)
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
