"""Solve a phasing: numbers, the best plan, why it is the best; or what stands in the way of any."""

import time
from typing import Any

import msgspec

from solvers.explain import Explanation
from solvers.issues import Issue, Severity
from solvers.kinds.capex_phasing.explanation import Explained, explain
from solvers.kinds.capex_phasing.infeasible import explain_infeasible
from solvers.kinds.capex_phasing.instance import instance_of
from solvers.kinds.capex_phasing.problem import Problem, Solution
from solvers.kinds.capex_phasing.search import Found, Search
from solvers.kinds.capex_phasing.solution import solution_of, starts_of
from solvers.kinds.capex_phasing.words import best_in_words
from solvers.limits import SolveLimits
from solvers.plain_words import nothing_found
from solvers.progress import Progress
from solvers.result import SolveResult, SolveStatus, relative_gap

_SEARCH_SHARE = 0.8
_ALL_SHARE = 0.97
"""Of the time there is: what the search may take, and the search with its explanation."""
_PATIENCE = 2.0
"""Seconds that an explanation may always take; and as long again as the search, where that took longer."""


def solve(
    problem: Problem, limits: SolveLimits, progress: Progress, warm_start: Solution | None = None
) -> SolveResult[Solution]:
    """Return the best plan, why it is that, and what would change it; or what stands in the way of any."""
    started = time.perf_counter()
    progress.phase("build")
    of = instance_of(problem)
    built = time.perf_counter()
    progress.phase("solve")
    search = Search(
        of=of,
        limits=msgspec.structs.replace(limits, seconds=_SEARCH_SHARE * limits.seconds),
        progress=progress,
        start=None if warm_start is None else starts_of(of, warm_start),
    )
    found = search.run()
    solved = time.perf_counter()
    progress.phase("explain")
    until = min(started + _ALL_SHARE * limits.seconds, solved + max(_PATIENCE, solved - built))
    result = _result(search, found, limits, until)
    result.stats |= {
        "build_seconds": built - started,
        "solve_seconds": solved - built,
        "explain_seconds": time.perf_counter() - solved,
    }
    return result


def _result(search: Search, found: Found, limits: SolveLimits, until: float) -> SolveResult[Solution]:
    of, progress = search.of, search.progress
    if found.starts is None or found.objective is None:
        infeasible = found.status is SolveStatus.INFEASIBLE
        why = Explanation(sentences=nothing_found(found.limit, best_in_words(of.problem, found.bound)))
        if infeasible:
            why = explain_infeasible(of.problem, limits, until)
        return SolveResult(
            status=found.status, limit=found.limit, bound=found.bound, explanation=why, stats=_stats(found)
        )
    solution = solution_of(of, found.starts)
    progress.incumbent(found.objective, found.bound)
    plan = Explained(
        of=of,
        found=found,
        starts=found.starts,
        objective=found.objective,
        solution=solution,
        prices=search.prices,
        limits=limits,
        progress=progress,
        until=until,
    )
    return SolveResult(
        status=found.status,
        limit=found.limit,
        solution=solution,
        objective=found.objective,
        bound=found.bound,
        gap=None if found.bound is None else relative_gap(found.objective, found.bound),
        explanation=explain(plan),
        stats=_stats(found),
        warnings=[] if found.cheapest else [_not_cheapest()],
    )


def _not_cheapest() -> Issue:
    message = "There was no time to prove that no plan of the same uplift is cheaper."
    return Issue(code="not_proven_cheapest", pointer="/objective", message=message, severity=Severity.WARNING)


def _stats(found: Found) -> dict[str, Any]:
    return {"backend": "cpsat", "linear_bound": found.linear_bound, "cpsat_bound": found.cpsat_bound, **found.stats}
