"""Solve a funding: build, search, explain."""

import time
from typing import Any

from solvers.explain import DualKind, Explanation
from solvers.kinds.debt_stack.explanation import explain, explain_infeasible
from solvers.kinds.debt_stack.formulation import funding
from solvers.kinds.debt_stack.problem import Problem, Solution
from solvers.kinds.debt_stack.search import Search, search
from solvers.kinds.debt_stack.solution import solution_from
from solvers.kinds.debt_stack.words import best_in_words
from solvers.limits import SolveLimits
from solvers.patience import Patience
from solvers.plain_words import nothing_found
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
    stats = _stats(found, build_seconds)
    best, patience = found.settled, Patience(limits, progress, started)
    if best is None:
        progress.phase("explain")
        why = Explanation(sentences=nothing_found(found.limit, best_in_words(problem, found.bound)))
        if found.status is SolveStatus.INFEASIBLE:
            why = explain_infeasible(parts, patience)
        return SolveResult(status=found.status, limit=found.limit, bound=found.bound, explanation=why, stats=stats)
    solution = solution_from(parts, best.answer.point)
    objective, bound = solution.annual_cost, _bound(found, solution.annual_cost)
    progress.incumbent(objective, bound)
    progress.phase("explain")
    return SolveResult(
        status=found.status,
        limit=found.limit,
        solution=solution,
        objective=objective,
        bound=bound,
        gap=None if bound is None else relative_gap(objective, bound),
        explanation=explain(parts, best, solution, found, patience),
        stats=stats | {"rows": len(best.model.row_names), "columns": len(best.model.costs)},
    )


def _bound(found: Search, objective: float) -> float | None:
    """Return the proven bound of the cost; an optimal linear program proves its own."""
    if found.status is SolveStatus.OPTIMAL and found.dual_kind is DualKind.LP:
        return objective
    return None if found.bound is None else min(found.bound, objective)


def _stats(found: Search, build_seconds: float) -> dict[str, Any]:
    return {
        "backend": "highs",
        "build_seconds": build_seconds,
        "solve_seconds": found.seconds,
        "iterations": found.iterations,
        "nodes": found.nodes,
    }
