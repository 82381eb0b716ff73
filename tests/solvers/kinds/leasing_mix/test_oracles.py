"""The leasing mix against other formulations: scipy's programs, every plan tried, and rules that any answer obeys."""

import random
from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.kinds.leasing_mix import KIND
from solvers.kinds.leasing_mix.explanation import most_cash
from solvers.kinds.leasing_mix.problem import Mode, Problem
from solvers.result import SolveStatus
from tests.solvers.kinds.leasing_mix.problems import EXACT, a_problem, best_by_trying, best_cash, solve, worked_example

SEEDS = st.integers(0, 10**6)
close = pytest.approx


def check_against(problem: Problem, expected: float | None) -> None:
    result = solve(problem)
    if expected is None:
        assert result.status is SolveStatus.INFEASIBLE
        assert (result.solution, result.objective, result.bound, result.gap) == (None, None, None, None)
    else:
        assert result.status is SolveStatus.OPTIMAL
        size = 1e-7 * problem.total_area * 100
        assert result.objective == close(expected, rel=1e-7, abs=size), msgspec.json.encode(problem)
        assert result.bound == close(expected, rel=1e-7, abs=size)
        assert KIND.verify(problem, result.solution) == []


@pytest.mark.parametrize("mode", ["fractional", "whole"])
@pytest.mark.parametrize("seed", range(6))
def test_the_cash_is_that_of_another_formulation_in_another_solver(seed: int, mode: str) -> None:
    rng = random.Random(f"{seed} {mode}")
    for _ in range(20):
        problem = a_problem(rng, mode=mode)
        check_against(problem, best_cash(problem))


@pytest.mark.parametrize("seed", range(4))
def test_no_plan_of_whole_leases_that_can_be_tried_is_better(seed: int) -> None:
    rng = random.Random(f"tried {seed}")
    for _ in range(30):
        problem = a_problem(rng, mode="whole", small=True)
        check_against(problem, best_by_trying(problem))


def test_the_random_buildings_are_of_every_sort() -> None:
    rng = random.Random(5)
    results = [solve(a_problem(rng)) for _ in range(80)]
    assert min(Counter(result.status for result in results).values()) >= 10
    bound = {c.name.partition(":")[0] for r in results for c in r.explanation.constraints if c.binding}
    assert bound >= {"area_max", "incentive_budget", "wault", "use", "max_leases", "min_leases", "occupancy_min"}
    conflicts = {name.partition(":")[0] for r in results for name in r.explanation.conflicts}
    assert conflicts >= {"area_max", "incentive_budget", "wault", "use", "max_leases", "min_leases", "occupancy_min"}


@given(SEEDS, st.sampled_from(["fractional", "whole"]))
@settings(max_examples=25, deadline=None)
def test_more_room_never_hurts(seed: int, mode: str) -> None:
    rng = random.Random(seed)
    problem = a_problem(rng, mode=mode)
    here = most_cash(problem, EXACT)
    if here is None:
        return
    for changes in (
        {"incentive_budget": problem.incentive_budget * rng.uniform(1, 2) + 100},
        {"min_wault_years": problem.min_wault_years * rng.random()},
        {"max_occupancy": 1.0},
        {"min_occupancy": problem.min_occupancy * rng.random()},
        {"use_caps": {use: min(1.0, 2 * cap) for use, cap in problem.use_caps.items()}},
        {"packages": [msgspec.structs.replace(p, max_leases=p.max_leases + 1) for p in problem.packages]},
        {"packages": [msgspec.structs.replace(p, min_leases=p.min_leases // 2) for p in problem.packages]},
    ):
        there = most_cash(msgspec.structs.replace(problem, **changes), EXACT)
        assert there is not None
        assert there >= here - 1e-7 * max(1.0, abs(here)), changes


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_a_longer_target_never_helps(seed: int) -> None:
    problem = a_problem(random.Random(seed))
    best: float | None = None
    for target in (6.0, 5.0, 3.0, 1.0, 0.0):
        cash = most_cash(msgspec.structs.replace(problem, min_wault_years=target), EXACT)
        if best is not None:
            assert cash is not None
            assert cash >= best - 1e-7 * max(1.0, abs(best))
        best = cash if cash is not None else best


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_fractions_of_leases_never_bring_less_than_whole_ones(seed: int) -> None:
    whole = a_problem(random.Random(seed), mode="whole")
    fractional = msgspec.structs.replace(whole, mode=Mode.FRACTIONAL)
    best, relaxed = most_cash(whole, EXACT), most_cash(fractional, EXACT)
    if best is not None:
        assert relaxed is not None
        assert relaxed >= best - 1e-7 * max(1.0, abs(best))


@given(SEEDS, st.sampled_from(["fractional", "whole"]))
@settings(max_examples=15, deadline=None)
def test_the_same_problem_has_the_same_answer_to_the_last_bit(seed: int, mode: str) -> None:
    problem = a_problem(random.Random(seed), mode=mode)
    first, second = solve(problem), solve(problem)
    assert msgspec.json.encode((first.solution, first.explanation)) == msgspec.json.encode(
        (second.solution, second.explanation)
    )


def test_no_mean_is_asked_of_a_building_in_which_nothing_is_let() -> None:
    nothing = worked_example(existing=[], min_wault_years=9)
    result = solve(nothing)
    assert result.solution is not None
    assert (result.solution.offers, result.solution.wault_years, result.solution.occupancy) == ([], None, 0)
    assert result.objective == close(-30 * 1000)
    assert KIND.verify(msgspec.convert(nothing, Problem), result.solution) == []
