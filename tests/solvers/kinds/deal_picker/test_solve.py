"""How a solve behaves: limits, stops, seeds, warm starts, size, and what it tells on the way."""

import msgspec
import numpy as np
import pytest

from milpa.jobs import LimitReached
from solvers.kinds.deal_picker import KIND, explanation
from solvers.kinds.deal_picker.problem import Deal, Problem, Solution
from solvers.limits import SolveLimits
from solvers.progress import Silent
from solvers.result import SolveResult, SolveStatus
from tests.solvers.backends.support import Watcher
from tests.solvers.kinds.deal_picker.problems import case, problem_of, solved


def portfolio(n: int, seed: int = 0, **changes: object) -> Problem:
    generator = np.random.default_rng(seed)
    prices = np.round(generator.lognormal(14, 0.8, n), -3) + 1000
    deals = [
        Deal(
            id=f"D{i}",
            price=float(prices[i]),
            yield_=float(np.round(np.clip(generator.normal(0.065, 0.012), 0.02, 0.15), 4)),
            risk=float(np.round(generator.uniform(0, 0.1), 3)),
            sector=f"S{generator.integers(10)}",
            city=f"C{generator.integers(50)}",
        )
        for i in range(n)
    ]
    share = 0.05 if n > 1000 else 0.3
    body = {
        "budget": float(prices.sum() * share),
        "yield_basis": "rate",
        "risk_penalty": 0.2,
        "sector_caps": {f"S{i}": float(np.floor(n * share / 10 * (0.5 if i < 3 else 1.1))) for i in range(10)},
        "city_caps": {f"C{i}": float(np.floor(n * share / 50 * (0.6 if i % 4 == 0 else 1.1))) for i in range(50)},
    }
    return Problem(deals=deals, **(body | changes))


def hard(seed: int = 0) -> Problem:
    """Whole deals of which all are worth about their price: proof takes minutes."""
    generator = np.random.default_rng(seed)
    prices = generator.integers(1000, 9999, 400)
    deals = [
        Deal(
            id=f"D{i}",
            price=float(price),
            yield_=float(price + generator.integers(0, 60)),
            risk=float(generator.integers(1000, 9999)),
        )
        for i, price in enumerate(prices)
    ]
    return Problem(budget=float(prices.sum() // 2), max_risk=float(prices.sum() // 2), deals=deals, mode="whole")


def ended(problem: Problem, limits: SolveLimits, watcher: Watcher) -> SolveResult[Solution]:
    result = KIND.solve(problem, limits, watcher)
    assert result.solution is None or KIND.verify(problem, result.solution) == []
    return result


def test_phases_and_incumbents_are_told() -> None:
    watcher = Watcher()
    result = ended(portfolio(400, mode="whole"), SolveLimits(), watcher)
    assert watcher.phases == ["build", "solve", "explain"]
    assert watcher.incumbents[-1][0] == pytest.approx(result.objective, rel=1e-6)


def test_a_stop_keeps_the_incumbent() -> None:
    result = ended(hard(), SolveLimits(seconds=120, relative_gap=0.0), Watcher(stop_after=1))
    assert (result.status, result.limit) == (SolveStatus.FEASIBLE, LimitReached.STOPPED)
    assert result.solution is not None
    assert result.objective <= result.bound
    assert result.gap == pytest.approx((result.bound - result.objective) / result.objective)


def test_a_stop_before_anything_was_found_is_no_solution() -> None:
    result = ended(hard(), SolveLimits(seconds=120, relative_gap=0.0), Watcher(stop_after=0))
    assert result.limit is LimitReached.STOPPED
    assert (result.status is SolveStatus.NO_SOLUTION) == (result.solution is None)


def test_the_time_limit_keeps_the_incumbent() -> None:
    result = ended(hard(), SolveLimits(seconds=1.0, relative_gap=0.0), Watcher())
    assert (result.status, result.limit) == (SolveStatus.FEASIBLE, LimitReached.TIME)
    assert result.explanation.what_if == []


def test_a_linear_program_that_is_stopped_keeps_a_plan_that_holds() -> None:
    result = ended(portfolio(20_000), SolveLimits(), Watcher(stop_after=0))
    assert (result.status, result.limit) == (SolveStatus.FEASIBLE, LimitReached.STOPPED)
    assert {report.shadow_price for report in result.explanation.constraints} == {None}


@pytest.mark.parametrize("changes", [{}, {"mode": "whole"}, {"max_deals": 20}])
def test_same_seed_same_answer(changes: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explanation, "_RESOLVE_SECONDS", 60.0)  # what a busy machine has no time for is left out
    problem = portfolio(300, **changes)
    first, second = (KIND.solve(problem, SolveLimits(seed=5), Silent()) for _ in range(2))
    assert first.solution == second.solution
    assert first.explanation == second.explanation


def test_an_optimal_gap_is_within_the_one_asked_for_and_is_no_limit() -> None:
    for gap in (0.0, 1e-4, 0.02):
        result = ended(portfolio(200, mode="whole"), SolveLimits(seconds=120, relative_gap=gap), Watcher())
        assert (result.status, result.limit) == (SolveStatus.OPTIMAL, None)
        assert result.gap <= gap + 1e-9


@pytest.mark.parametrize("changes", [{}, {"mode": "whole"}, {"max_deals": 5}])
def test_a_warm_start_of_a_similar_problem_leads_to_the_same_optimum(changes: dict[str, object]) -> None:
    before = portfolio(60, **changes)
    after = msgspec.structs.replace(before, budget=before.budget * 0.9, deals=before.deals[5:])
    start = solved(before).solution
    warm = KIND.solve(after, SolveLimits(relative_gap=0.0), Silent(), start)
    assert warm.objective == pytest.approx(solved(after).objective, rel=1e-9)
    assert KIND.verify(after, warm.solution) == []


@pytest.mark.parametrize("mode", ["fractional", "whole"])
def test_a_hundred_thousand_deals_are_solved_and_certified(mode: str) -> None:
    problem = portfolio(100_000, mode=mode)
    assert KIND.check(problem) == []
    result = ended(problem, SolveLimits(seconds=60), Watcher())
    assert result.status is SolveStatus.OPTIMAL
    assert result.gap <= (1e-9 if mode == "fractional" else 1e-4)
    assert result.bound >= result.objective * (1 - 1e-12)


def test_many_deals_with_a_limit_on_their_number_are_certified_within_the_gap() -> None:
    problem = portfolio(3000, max_deals=100)
    result = ended(problem, SolveLimits(seconds=60, relative_gap=0.01), Watcher())
    assert result.status is SolveStatus.OPTIMAL
    assert result.solution.deal_count <= 100
    assert result.gap <= 0.01


def test_small_shares_of_large_deals_hold_exactly() -> None:
    deals = [Deal(id=f"D{i}", price=1e9 + i * 1e7, yield_=6e7 + i * 1e5, min_allocation=0.001) for i in range(30)]
    problem = Problem(budget=1.234567e10, deals=deals, max_deals=13, sector_caps={"": 12.5})
    result = ended(problem, SolveLimits(relative_gap=0.0), Watcher())
    assert result.status is SolveStatus.OPTIMAL


def test_money_may_be_cents_or_billions() -> None:
    body = case("worked_example")
    for factor in (1e-5, 1e6):
        deals = [deal | {"price": deal["price"] * factor, "yield": deal["yield"] * factor} for deal in body["deals"]]
        result = solved(problem_of(body, budget=body["budget"] * factor, deals=deals))
        assert result.objective == pytest.approx(9400 * factor)
        assert result.explanation.constraints[0].shadow_price == pytest.approx(0.08)
        assert result.explanation.constraints[0].valid_to == pytest.approx(130_000 * factor)


def test_the_statistics_say_what_was_solved() -> None:
    stats = solved(problem_of(case("worked_example"))).stats
    assert (stats["backend"], stats["rows"], stats["columns"]) == ("highs", 2, 4)
    assert {"build_seconds", "solve_seconds", "explain_seconds", "iterations", "nodes", "frontier"} <= set(stats)


def test_everything_in_a_result_is_plain_json() -> None:
    for name in ("worked_example", "example", "sacramento"):
        result = solved(problem_of(case(name)), SolveLimits())
        assert msgspec.json.decode(msgspec.json.encode(result))["objective"] == result.objective


def test_deals_worth_nothing_are_left_alone() -> None:
    deals = [{"id": "A", "price": 10.0, "yield": 0.0, "risk": 1.0}, {"id": "B", "price": 10.0, "yield": -0.05}]
    result = solved(problem_of({"budget": 100.0, "risk_penalty": 1.0, "yield_basis": "rate", "deals": deals}))
    assert (result.status, result.objective) == (SolveStatus.OPTIMAL, 0.0)
    assert result.solution.allocations == []
    assert result.solution.unspent == 100.0
    assert KIND.describe(problem_of({"budget": 100.0, "deals": deals[:1]}), result).tables
