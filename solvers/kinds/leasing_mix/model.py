"""Solve a leasing plan: build, solve, explain."""

import time
from typing import Any

import numpy as np

from solvers.backends.highs import Answer, Solver
from solvers.backends.model import Floats, Model
from solvers.explain import Explanation
from solvers.kinds.leasing_mix.explanation import explain, explain_infeasible
from solvers.kinds.leasing_mix.formulation import building, program
from solvers.kinds.leasing_mix.problem import Problem, Solution
from solvers.kinds.leasing_mix.solution import solution_from
from solvers.kinds.leasing_mix.words import best_in_words
from solvers.limits import SolveLimits
from solvers.patience import Patience
from solvers.plain_words import nothing_found
from solvers.progress import Progress
from solvers.result import SolveResult, SolveStatus, relative_gap


def solve(
    problem: Problem, limits: SolveLimits, progress: Progress, warm_start: Solution | None = None
) -> SolveResult[Solution]:
    """Return the plan that brings most, why it is that, and what would change it; or what stands in its way."""
    started = time.perf_counter()
    progress.phase("build")
    parts = building(problem)
    model = program(parts)
    solver = Solver(model, limits, progress)
    if warm_start is not None:
        solver.start_from(_start(problem, warm_start))
    build_seconds = time.perf_counter() - started
    progress.phase("solve")
    answer = solver.solve()
    stats = _stats(model, answer, build_seconds)
    patience = Patience(limits, progress, started)
    if answer.x is None:
        progress.phase("explain")
        why = Explanation(sentences=nothing_found(answer.limit, best_in_words(problem, answer.bound)))
        if answer.status is SolveStatus.INFEASIBLE:
            why = explain_infeasible(parts, patience)
        return SolveResult(status=answer.status, limit=answer.limit, bound=answer.bound, explanation=why, stats=stats)
    solution = solution_from(parts, answer.x)
    objective, bound = solution.ncf_12m, _bound(model, answer, solution.ncf_12m)
    progress.incumbent(objective, bound)
    progress.phase("explain")
    return SolveResult(
        status=answer.status,
        limit=answer.limit,
        solution=solution,
        objective=objective,
        bound=bound,
        gap=None if bound is None else relative_gap(objective, bound),
        explanation=explain(parts, solver, answer, solution, patience),
        stats=stats,
    )


def _bound(model: Model, answer: Answer, objective: float) -> float | None:
    """Return the proven bound of the cash; an optimal linear program proves its own."""
    if model.is_linear and answer.status is SolveStatus.OPTIMAL:
        return objective
    return None if answer.bound is None else max(answer.bound, objective)


def _start(problem: Problem, solution: Solution) -> Floats:
    """Return the numbers of leases of a plan for a similar problem, as far as its packages are still on offer."""
    leases = {offer.package_id: offer.leases for offer in solution.offers}
    return np.array([leases.get(package.id, 0.0) for package in problem.packages])


def _stats(model: Model, answer: Answer, build_seconds: float) -> dict[str, Any]:
    return {
        "backend": "highs",
        "build_seconds": build_seconds,
        "solve_seconds": answer.seconds,
        "rows": len(model.row_names),
        "columns": len(model.costs),
        "iterations": answer.iterations,
        "nodes": answer.nodes,
    }
