"""Solve a funding: build, search, explain."""

import time
from typing import Any

from solvers.explain import DualKind
from solvers.kinds.debt_stack.explanation import explain, explain_infeasible
from solvers.kinds.debt_stack.formulation import funding
from solvers.kinds.debt_stack.problem import Problem, Solution
from solvers.kinds.debt_stack.search import Search, search, settle
from solvers.kinds.debt_stack.solution import solution_from
from solvers.limits import SolveLimits
from solvers.progress import Progress
from solvers.result import SolveResult, SolveStatus, relative_gap


def solve(
    problem: Problem, limits: SolveLimits, progress: Progress, warm_start: Solution | None = None
) -> SolveResult[Solution]:
    """Return the cheapest funding, why it is that, and what would change it; or what stands in its way."""
    started = time.perf_counter()
    progress.phase("build")
    parts = funding(problem)
    build_seconds = time.perf_counter() - started
    progress.phase("solve")
    found = search(parts, limits, progress, warm_start)
    stats: dict[str, Any] = {
        "backend": "highs",
        "build_seconds": build_seconds,
        "solve_seconds": found.seconds,
        "iterations": found.answer.iterations,
        "nodes": found.answer.nodes,
    }
    if found.choices is None:
        if found.answer.status is SolveStatus.INFEASIBLE:
            progress.phase("explain")
            why = explain_infeasible(parts, limits)
            return SolveResult(status=SolveStatus.INFEASIBLE, explanation=why, stats=stats)
        return SolveResult(status=SolveStatus.NO_SOLUTION, limit=found.answer.limit, stats=stats)
    best = settle(parts, found.choices, limits)
    solution = solution_from(parts, best.answer.point)
    objective, bound = solution.annual_cost, _bound(found, solution.annual_cost)
    progress.incumbent(objective, bound)
    progress.phase("explain")
    return SolveResult(
        status=found.answer.status,
        limit=found.answer.limit,
        solution=solution,
        objective=objective,
        bound=bound,
        gap=None if bound is None else relative_gap(objective, bound),
        explanation=explain(parts, best, solution, found.dual_kind, limits),
        stats=stats,
    )


def _bound(found: Search, objective: float) -> float | None:
    """Return the proven bound of the cost; an optimal linear program proves its own."""
    if found.answer.status is SolveStatus.OPTIMAL and found.dual_kind is DualKind.LP:
        return objective
    return None if found.answer.bound is None else min(found.answer.bound, objective)
