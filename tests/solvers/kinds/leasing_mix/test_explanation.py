"""What limits are worth, beside finite differences; conflicts and repairs, beside the other formulation."""

import random
from typing import Any

import msgspec
import pytest

from solvers.explain import DualKind
from solvers.kinds.leasing_mix import KIND
from solvers.kinds.leasing_mix.explanation import most_cash
from solvers.kinds.leasing_mix.fields import Field, fields_of
from solvers.kinds.leasing_mix.problem import Problem, Solution
from solvers.patches import apply_patch
from solvers.progress import Silent
from solvers.report import Unit
from solvers.result import SolveResult, SolveStatus
from tests.solvers.kinds.leasing_mix.problems import (
    EXACT,
    a_problem,
    best_cash,
    limits_of,
    solve,
    with_package,
    worked_example,
)


def patched(problem: Problem, patch: dict[str, Any]) -> Problem:
    result = apply_patch(msgspec.to_builtins(problem), patch)
    assert result.issues == []
    return msgspec.convert(result.value, Problem)


def moved(problem: Problem, field: Field, change: float) -> Problem:
    """The problem with a field a little off; numbers of leases may be fractions here, as derivatives need them."""
    return field.change(problem, field.limit + change)


def slope_by_difference(problem: Problem, field: Field, cash: float) -> float | None:
    """The derivative on the side that is priced, by solving again; None: there is no plan on that side."""
    step = field.priced_side * 1e-6 * field.size
    changed = most_cash(moved(problem, field, step), EXACT)
    return None if changed is None else (changed - cash) / step


def prices_agree(problem: Problem) -> int:
    result = solve(problem)
    if result.objective is None:
        return 0
    assert result.explanation.dual_kind is DualKind.LP
    seen = 0
    for field, constraint in zip(fields_of(problem), result.explanation.constraints, strict=True):
        assert constraint.name == field.name
        expected = slope_by_difference(problem, field, result.objective)
        if expected is not None:
            seen += 1
            noise = 1e-3 * problem.total_area / field.size
            place = (field.name, msgspec.json.encode(problem))
            assert constraint.shadow_price == pytest.approx(expected, rel=1e-3, abs=noise), place
    return seen


@pytest.mark.parametrize("seed", range(6))
def test_a_price_is_the_derivative_of_the_cash_by_its_field(seed: int) -> None:
    rng = random.Random(f"prices {seed}")
    assert sum(prices_agree(a_problem(rng)) for _ in range(14)) > 10


@pytest.mark.parametrize("seed", range(4))
def test_a_price_is_exact_from_end_to_end_of_its_range(seed: int) -> None:
    rng = random.Random(f"ranges {seed}")
    ends_seen = 0
    for _ in range(12):
        problem = a_problem(rng)
        result = solve(problem)
        if result.objective is None:
            continue
        for field, constraint in zip(fields_of(problem), result.explanation.constraints, strict=True):
            for end in (constraint.valid_from, constraint.valid_to):
                if end is None or end <= 0:
                    continue
                inside = (end - field.limit) * (1 - 1e-7)
                there = most_cash(moved(problem, field, inside), EXACT)
                expected = result.objective + (constraint.shadow_price or 0.0) * inside
                place = (field.name, end, msgspec.json.encode(problem))
                assert there == pytest.approx(expected, rel=1e-6, abs=1e-4 * problem.total_area), place
                ends_seen += 1
    assert ends_seen > 10


def test_the_target_counts_as_the_tie_is_broken_that_gains_most() -> None:
    """Two packages bring the same on each unit of the target's slack; a lower target pays by the heavier plan."""
    tie = worked_example()
    tie = tie | {
        "packages": [
            *tie["packages"],
            tie["packages"][1] | {"id": "S2", "area_per_lease": 50, "max_leases": 1, "term_years": 3.5},
        ]
    }
    for target in (3.9, 4.0, 4.1):
        prices_agree(msgspec.convert(tie | {"min_wault_years": target}, Problem))


def test_area_is_worth_what_stands_under_all_its_limits_less_the_cost_of_its_vacancy() -> None:
    capped = worked_example(use_caps={"": 0.4})
    result = solve(capped)
    prices = {c.name: c for c in result.explanation.constraints}
    assert prices["use:"].binding
    assert prices["total_area"].shadow_price == pytest.approx(0.4 * prices["use:"].shadow_price / 1000 - 30)
    assert (prices["total_area"].activity, prices["total_area"].limit) == (pytest.approx(600), 1000)


def test_a_share_that_can_not_grow_is_priced_on_the_other_side() -> None:
    full = with_package(worked_example(min_wault_years=0, incentive_budget=1e6), "L", max_leases=4)
    result = solve(full)
    price = next(c for c in result.explanation.constraints if c.name == "area_max")
    assert (price.activity, price.limit, price.binding) == (pytest.approx(1), 1, True)
    less = solve(full | {"max_occupancy": 0.999})
    assert price.shadow_price == pytest.approx((result.objective - less.objective) / 0.001)
    assert price.shadow_price > 0
    assert price.valid_to == 1.0


def test_whole_leases_have_no_prices_and_still_suggestions() -> None:
    result = solve(worked_example(mode="whole"))
    assert result.explanation.dual_kind is DualKind.NONE
    assert {(c.shadow_price, c.valid_from, c.valid_to) for c in result.explanation.constraints} == {(None, None, None)}
    assert result.explanation.reduced_costs == []
    assert result.explanation.what_if


@pytest.mark.parametrize("mode", ["fractional", "whole"])
def test_suggestions_are_solved_again_and_sorted_by_what_they_bring(mode: str) -> None:
    problem = msgspec.convert(KIND.example["problem"] | {"mode": mode}, Problem)
    result = solve(problem)
    changes = [one.expected_change for one in result.explanation.what_if]
    assert changes == sorted(changes, reverse=True)
    assert len(changes) >= 3
    for one in result.explanation.what_if:
        changed = solve(patched(problem, one.patch))
        assert changed.objective == pytest.approx(result.objective + one.expected_change, rel=1e-9)


def test_a_package_that_is_not_offered_says_what_a_lease_of_it_would_lose() -> None:
    poor = {"id": "P", "area_per_lease": 100, "max_leases": 3, "rent_per_sqm_year": 60, "term_years": 4}
    data = worked_example()
    result = solve(data | {"packages": [*data["packages"], poor | {"fitout_per_sqm": 90}]})
    (cost,) = result.explanation.reduced_costs
    forced = solve(data | {"packages": [*data["packages"], poor | {"fitout_per_sqm": 90, "min_leases": 1}]})
    assert cost.id == "P"
    assert forced.objective - result.objective == pytest.approx(cost.value)


def infeasible(seed: int, count: int) -> list[tuple[Problem, SolveResult[Solution]]]:
    rng = random.Random(f"infeasible {seed}")
    found: list[tuple[Problem, SolveResult[Solution]]] = []
    while len(found) < count:
        problem = a_problem(rng, mode=rng.choice(["fractional", "whole"]))
        result = solve(problem)
        if result.status is SolveStatus.INFEASIBLE:
            found.append((problem, result))
    return found


@pytest.mark.parametrize("seed", range(3))
def test_a_conflict_can_not_hold_together_and_can_without_any_one_of_it(seed: int) -> None:
    for problem, result in infeasible(seed, 15):
        names = set(result.explanation.conflicts)
        assert names <= {name for name, _, _ in limits_of(problem)}
        assert best_cash(problem, names) is None
        assert all(best_cash(problem, names - {name}) is not None for name in names)


@pytest.mark.parametrize("seed", range(3))
def test_there_is_always_a_repair_and_a_repair_works(seed: int) -> None:
    for problem, result in infeasible(seed, 15):
        assert result.explanation.repairs, msgspec.json.encode(problem)
        for repair in result.explanation.repairs:
            mended = patched(problem, repair.patch)
            assert not any(issue.severity == "error" for issue in KIND.check(mended))
            assert solve(mended).status is SolveStatus.OPTIMAL
            assert repair.cost > 0


@pytest.mark.parametrize("seed", range(3))
def test_a_repair_of_one_limit_is_the_least_that_works(seed: int) -> None:
    steps = {Unit.SHARE: 2e-4, Unit.YEARS: 0.02, Unit.WHOLE: 1}
    for problem, result in infeasible(seed, 10):
        for field in fields_of(problem):
            for repair in result.explanation.repairs:
                if repair.patch != field.patch(field.limit + field.relax * repair.cost) or field.unit not in steps:
                    continue
                less = repair.cost - steps[field.unit]
                if less > 0:
                    value = field.tidy(field.limit + field.relax * less)
                    assert best_cash(field.change(problem, value)) is None


def test_two_conflicts_at_once_are_repaired_together() -> None:
    data = worked_example(incentive_budget=10, use_caps={"": 0.05}, min_wault_years=0)
    result = solve(with_package(with_package(data, "L", min_leases=1), "S", min_leases=2))
    assert result.status is SolveStatus.INFEASIBLE
    assert len(result.explanation.conflicts) == 2
    (repair,) = result.explanation.repairs
    assert repair.patch == {"incentive_budget": 20_000, "use_caps": {"": 0.3}}
    assert repair.label in result.explanation.sentences[-1]


class StoppedLater(Silent):
    """Asks to stop as soon as the answer is being explained."""

    explaining = False

    def phase(self, name: str, fraction: float | None = None) -> None:  # noqa: ARG002 (the protocol's)
        self.explaining = name == "explain"

    def stop_requested(self) -> bool:
        return self.explaining


def test_advice_ends_when_somebody_asks_to_stop_and_the_answer_stays() -> None:
    problem = msgspec.convert(worked_example(mode="whole"), Problem)
    result = KIND.solve(problem, EXACT, StoppedLater())
    assert (result.status, result.objective) == (SolveStatus.OPTIMAL, pytest.approx(71_000))
    assert result.explanation.what_if == []
    assert result.explanation.constraints
