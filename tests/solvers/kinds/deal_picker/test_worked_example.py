"""The example that was solved by hand: every figure of it."""

import msgspec
import pytest

from solvers.explain import DualKind
from solvers.kinds.deal_picker import KIND
from solvers.kinds.deal_picker.verify import verify
from solvers.result import SolveStatus
from tests.solvers.kinds.deal_picker.problems import case, problem_of, solved

BODY = case("worked_example")


def test_shares_are_bought_to_9400() -> None:
    result = solved(problem_of(BODY))
    solution = result.solution
    assert result.status is SolveStatus.OPTIMAL
    assert solution is not None
    assert {a.deal_id: pytest.approx(a.allocation) for a in solution.allocations} == {"A": 1.0, "C": 0.5, "B": 0.4}
    assert (result.objective, result.bound, result.gap) == (
        pytest.approx(9400),
        pytest.approx(9400),
        pytest.approx(0, abs=1e-12),
    )
    assert (solution.objective_value, solution.total_yield) == (pytest.approx(9400), pytest.approx(9400))
    assert (solution.total_allocated, solution.unspent) == (pytest.approx(100_000), pytest.approx(0, abs=1e-9))
    assert (solution.deal_count, solution.total_risk) == (3, 0.0)
    assert solution.allocations[0].deal_id == "A"
    assert solution.by_sector["office"].amount == pytest.approx(80_000)
    assert solution.by_sector["office"].share == pytest.approx(0.8)
    assert solution.by_sector["office"].allocations == pytest.approx(1.5)
    assert solution.by_sector["retail"].amount == pytest.approx(20_000)
    assert verify(problem_of(BODY), solution) == []


def test_prices_and_ranges_are_those_worked_out() -> None:
    explanation = solved(problem_of(BODY)).explanation
    budget, office = explanation.constraints
    assert explanation.dual_kind is DualKind.LP
    assert (budget.name, budget.binding, budget.slack) == ("budget", True, pytest.approx(0, abs=1e-9))
    assert budget.shadow_price == pytest.approx(0.08)
    assert (budget.valid_from, budget.valid_to) == (pytest.approx(80_000), pytest.approx(130_000))
    assert (office.name, office.activity, office.limit) == ("sector:office", pytest.approx(1.5), 1.5)
    assert office.shadow_price == pytest.approx(400)
    assert (office.valid_from, office.valid_to) == (pytest.approx(1), pytest.approx(2))


def test_the_rejected_deal_would_enter_at_6400() -> None:
    misses = solved(problem_of(BODY)).explanation.near_misses
    assert misses == [{"deal_id": "D", "yield": 5000.0, "break_even_yield": pytest.approx(6400)}]


def test_it_is_said_in_plain_words() -> None:
    sentences = solved(problem_of(BODY)).explanation.sentences
    assert "One more EUR of budget earns 0.08, exact between 80,000 and 130,000." in sentences
    assert "D would enter the plan at a yield above 6,400 (it has 5,000)." in sentences


def test_whole_deals_are_b_and_c() -> None:
    result = solved(problem_of(BODY, mode="whole"))
    assert result.solution is not None
    assert {a.deal_id for a in result.solution.allocations} == {"B", "C"}
    assert result.objective == pytest.approx(7600)
    assert verify(problem_of(BODY, mode="whole"), result.solution) == []


def test_whole_deals_have_no_prices() -> None:
    explanation = solved(problem_of(BODY, mode="whole")).explanation
    assert explanation.dual_kind is DualKind.NONE
    assert all(report.shadow_price is None for report in explanation.constraints)
    assert all(miss["break_even_yield"] is None for miss in explanation.near_misses)
    assert explanation.reduced_costs == []


def test_the_kind_is_found_by_its_name_and_has_an_example_that_is_clean() -> None:
    problem = msgspec.convert(KIND.example["problem"], KIND.problem)
    assert KIND.check(problem) == []
    assert solved(problem).status is SolveStatus.OPTIMAL
