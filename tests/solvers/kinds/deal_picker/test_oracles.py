"""Plans against scipy and against brute force, on hundreds of small portfolios."""

import msgspec
import numpy as np
import pytest
from scipy.optimize import LinearConstraint, linprog, milp

from solvers.kinds.deal_picker.problem import Deal, Problem, Solution
from solvers.kinds.deal_picker.verify import verify
from solvers.result import SolveResult, SolveStatus
from tests.solvers.kinds.deal_picker.problems import Oracle, random_problem, solved


def assert_same(result: SolveResult[Solution], problem: Problem, best: float | None) -> None:
    if best is None:
        assert result.status is SolveStatus.INFEASIBLE
        assert (result.solution, result.objective, result.bound, result.gap) == (None, None, None, None)
        return
    assert result.status is SolveStatus.OPTIMAL
    assert result.solution is not None
    assert result.objective == pytest.approx(best, abs=1e-7)
    assert result.bound == pytest.approx(best, abs=1e-6)
    assert verify(problem, result.solution) == []


@pytest.mark.parametrize("seed", range(250))
def test_fractional_plans_agree_with_linprog(seed: int) -> None:
    problem = random_problem(seed)
    oracle = Oracle(problem)
    best = linprog(-oracle.worth, A_ub=oracle.rows, b_ub=oracle.limits, bounds=oracle.bounds(None))
    result = solved(problem)
    assert_same(result, problem, -best.fun if best.status == 0 else None)


@pytest.mark.parametrize("seed", range(200))
def test_whole_plans_agree_with_milp_and_brute_force(seed: int) -> None:
    problem = random_problem(seed, mode="whole")
    oracle = Oracle(problem)
    plans = [np.array(bought, dtype=float) * (oracle.most > 0) for bought in oracle.choices()]
    held = [plan for plan in plans if np.all(oracle.rows @ plan <= oracle.limits + 1e-9)]
    best = max((float(oracle.worth @ plan) for plan in held), default=None)
    assert_same(solved(problem), problem, best)
    if problem.max_deals is None and not problem.exclusive_groups:
        theirs = milp(
            -oracle.worth,
            integrality=np.ones(len(oracle.worth)),
            bounds=tuple(np.array(oracle.bounds(None)).T),
            constraints=LinearConstraint(oracle.rows, -np.inf, oracle.limits),
        )
        assert (theirs.status == 2) == (best is None)
        if best is not None:
            assert -theirs.fun == pytest.approx(best, abs=1e-7)


@pytest.mark.parametrize("seed", range(200))
def test_switched_plans_agree_with_brute_force_over_the_sets_of_deals(seed: int) -> None:
    problem = random_problem(seed, switches=True)
    oracle = Oracle(problem)
    values = []
    for bought in oracle.choices():
        best = linprog(-oracle.worth, A_ub=oracle.rows, b_ub=oracle.limits, bounds=oracle.bounds(bought))
        if best.status == 0:
            values.append(-best.fun)
    assert_same(solved(problem), problem, max(values, default=None))


@pytest.mark.parametrize("mode", ["shares", "switches", "whole"])
def test_a_deal_far_beyond_reach_changes_nothing_for_the_others(mode: str) -> None:
    for seed in range(25):
        problem = random_problem(seed, switches=mode == "switches", mode="whole" if mode == "whole" else "fractional")
        risk = 0.0 if problem.yield_basis == "rate" else 1e15
        giant = Deal(id="giant", price=1e15, yield_=0.0, risk=risk, sector="a", city="x")
        beside = msgspec.structs.replace(problem, deals=[*problem.deals, giant])
        assert_same(solved(beside), beside, solved(problem).objective)
