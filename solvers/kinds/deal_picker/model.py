"""Solve the deal picker: arrays, the best plan, why it is the best, and how it fares under other risk limits."""

import time
from typing import Any

import msgspec
import numpy as np

from solvers.backends.model import Floats
from solvers.explain import Explanation
from solvers.kinds.deal_picker.explanation import explain
from solvers.kinds.deal_picker.formulation import Deals, columns_of
from solvers.kinds.deal_picker.frontier import frontier
from solvers.kinds.deal_picker.infeasible import explain_infeasible
from solvers.kinds.deal_picker.plan import Plan, make_plan
from solvers.kinds.deal_picker.problem import Problem, Solution
from solvers.kinds.deal_picker.solution import solution_of
from solvers.kinds.deal_picker.words import best_in_words
from solvers.limits import SolveLimits
from solvers.plain_words import nothing_found
from solvers.progress import Progress
from solvers.result import SolveResult, SolveStatus, relative_gap


def solve(
    problem: Problem, limits: SolveLimits, progress: Progress, warm_start: Solution | None = None
) -> SolveResult[Solution]:
    """Find the best plan within the limits, and explain it."""
    started = time.perf_counter()
    progress.phase("build")
    deals = columns_of(problem)
    built = time.perf_counter()
    progress.phase("solve")
    plan = make_plan(problem, deals, limits, progress, start=_start(deals, warm_start))
    solved = time.perf_counter()
    progress.phase("explain")
    result = _result(problem, deals, plan, limits)
    result.stats |= {
        "build_seconds": built - started + plan.build_seconds,
        "solve_seconds": solved - built - plan.build_seconds,
        "explain_seconds": time.perf_counter() - solved,
    }
    return result


def _start(deals: Deals, warm_start: Solution | None) -> Floats | None:
    """Return the allocations of a similar problem's plan, as far as its deals are on offer here."""
    if warm_start is None:
        return None
    x = np.zeros(deals.count)
    for bought in warm_start.allocations:
        if bought.deal_id in deals.index:
            x[deals.index[bought.deal_id]] = bought.allocation
    return x


def _result(problem: Problem, deals: Deals, plan: Plan, limits: SolveLimits) -> SolveResult[Solution]:
    answer, stats = plan.answer, _stats(plan)
    if answer.status is SolveStatus.INFEASIBLE:
        explanation = explain_infeasible(problem, deals, limits)
        return SolveResult(status=answer.status, explanation=explanation, stats=stats)
    if answer.x is None or answer.objective is None:
        why = Explanation(sentences=nothing_found(answer.limit, best_in_words(problem, answer.bound)))
        return SolveResult(
            status=SolveStatus.NO_SOLUTION, limit=answer.limit, bound=answer.bound, explanation=why, stats=stats
        )
    explanation = explain(problem, deals, plan, limits)
    risks = frontier(problem, deals, plan, limits)
    solution = solution_of(problem, deals, answer.x)
    bound = answer.bound
    return SolveResult(
        status=answer.status,
        limit=answer.limit,
        solution=solution,
        objective=solution.objective_value,
        bound=bound,
        gap=None if bound is None else relative_gap(solution.objective_value, bound),
        explanation=_told(explanation, risks.missing),
        stats=stats | {"frontier": msgspec.to_builtins(risks.points), "frontier_missing": risks.missing},
    )


def _told(explanation: Explanation, missing: str) -> Explanation:
    """Return the explanation with a sentence more, if there is one to say."""
    sentences = [*explanation.sentences, *([missing] if missing else [])]
    return msgspec.structs.replace(explanation, sentences=sentences)


def _stats(plan: Plan) -> dict[str, Any]:
    return {
        "backend": "highs",
        "rows": plan.rows,
        "columns": plan.columns,
        "working_columns": plan.columns if plan.sifter is None else plan.sifter.working_columns,
        "iterations": plan.answer.iterations,
        "nodes": plan.answer.nodes,
    }
