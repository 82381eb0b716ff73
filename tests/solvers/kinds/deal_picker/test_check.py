"""Everything that is wrong with a problem is told at once, each with a code and a pointer."""

import math
from typing import Any

import pytest

from solvers.issues import Severity
from solvers.kinds.deal_picker import KIND
from solvers.kinds.deal_picker.problem import Deal, Problem
from tests.solvers.kinds.deal_picker.problems import case, problem_of, solved

BODY = case("worked_example")


def issues(**changes: Any) -> set[tuple[str, str]]:
    return {(issue.code, issue.pointer) for issue in KIND.check(problem_of(BODY, **changes))}


def deals(**changes: Any) -> list[dict[str, Any]]:
    """The deals of the example, the second one changed."""
    first, second, *rest = BODY["deals"]
    return [first, second | changes, *rest]


def test_the_examples_are_clean() -> None:
    for name in ("worked_example", "example", "sacramento"):
        assert KIND.check(problem_of(case(name))) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"budget": 0}, ("out_of_range", "/budget")),
        ({"budget": -5}, ("out_of_range", "/budget")),
        ({"risk_penalty": -0.1}, ("out_of_range", "/risk_penalty")),
        ({"max_risk": -1}, ("out_of_range", "/max_risk")),
        ({"max_deals": -1}, ("out_of_range", "/max_deals")),
        ({"sector_caps": {"office": -1}}, ("out_of_range", "/sector_caps/office")),
        ({"city_caps": {"": -1}}, ("out_of_range", "/city_caps/")),
        ({"sector_caps": {"office": 1, "a/b": 1}}, ("unused_cap", "/sector_caps/a~1b")),
        ({"deals": []}, ("too_few", "/deals")),
        ({"deals": deals(price=0)}, ("out_of_range", "/deals/1/price")),
        ({"deals": deals(price=-1)}, ("out_of_range", "/deals/1/price")),
        ({"deals": deals(**{"yield": -1})}, ("out_of_range", "/deals/1/yield")),
        ({"deals": deals(risk=-1)}, ("out_of_range", "/deals/1/risk")),
        ({"deals": deals(min_allocation=-0.1)}, ("out_of_range", "/deals/1/min_allocation")),
        ({"deals": deals(max_allocation=1.1)}, ("out_of_range", "/deals/1/max_allocation")),
        ({"deals": deals(min_allocation=0.6, max_allocation=0.5)}, ("bad_value", "/deals/1/min_allocation")),
        ({"mode": "whole", "deals": deals(min_allocation=0.5)}, ("bad_value", "/deals/1/min_allocation")),
        ({"mode": "whole", "deals": deals(max_allocation=0.5)}, ("bad_value", "/deals/1/max_allocation")),
        ({"deals": deals(id="A")}, ("duplicate_id", "/deals/1/id")),
        ({"deals": deals(id="")}, ("bad_value", "/deals/1/id")),
        ({"must_include": ["A", "Z"]}, ("unknown_id", "/must_include/1")),
        ({"exclude": ["Z"]}, ("unknown_id", "/exclude/0")),
        ({"must_include": ["A"], "exclude": ["A"]}, ("bad_value", "/must_include/0")),
        ({"must_include": ["A", "A"]}, ("duplicate_id", "/must_include/1")),
        ({"exclusive_groups": [["A"], ["B", "Z"]]}, ("unknown_id", "/exclusive_groups/1/1")),
        ({"exclusive_groups": [["A", "A"]]}, ("duplicate_id", "/exclusive_groups/0/1")),
    ],
)
def test_one_wrong_thing_is_one_issue_with_its_pointer(changes: dict[str, Any], expected: tuple[str, str]) -> None:
    assert expected in issues(**changes)
    assert len(issues(**changes)) == 1


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_are_refused_wherever_they_stand(bad: float) -> None:
    found = issues(
        budget=bad, risk_penalty=bad, max_risk=bad, sector_caps={"office": bad},
        deals=deals(**{"price": bad, "yield": bad, "risk": bad, "min_allocation": bad, "max_allocation": bad}),
    )  # fmt: skip
    pointers = {pointer for _, pointer in found}
    assert {"/budget", "/risk_penalty", "/max_risk", "/sector_caps/office"} <= pointers
    for name in ("price", "yield", "risk", "min_allocation", "max_allocation"):
        assert f"/deals/1/{name}" in pointers


@pytest.mark.parametrize("large", [1.1e15, 1e30, 1.7e308])
def test_amounts_that_no_solver_can_tell_apart_are_refused_wherever_they_stand(large: float) -> None:
    alone = [
        ({"budget": large}, "/budget"),
        ({"risk_penalty": large}, "/risk_penalty"),
        ({"max_risk": large}, "/max_risk"),
        ({"sector_caps": {"office": large}}, "/sector_caps/office"),
        ({"city_caps": {"": large}}, "/city_caps/"),
        ({"deals": deals(price=large)}, "/deals/1/price"),
        ({"deals": deals(**{"yield": large})}, "/deals/1/yield"),
        ({"deals": deals(risk=large)}, "/deals/1/risk"),
    ]
    for changes, pointer in alone:
        assert issues(**changes) == {("out_of_range", pointer)}
    by_rate = {"yield_basis": "rate", "deals": [{"id": "A", "price": large, "yield": 0.05, "sector": "office"}]}
    assert issues(**by_rate) == {("out_of_range", "/deals/0/price")}


def test_the_largest_amounts_are_taken_and_answered() -> None:
    most = {"budget": 1e15, "max_risk": 1e15, "sector_caps": {"a": 1e15}, "cap_basis": "amount"}
    rows = [{"id": name, "price": 1e15, "yield": 1e15, "risk": 1e15, "sector": "a"} for name in "AB"]
    problem = problem_of(most | {"deals": rows})
    assert KIND.check(problem) == []
    assert solved(problem).objective == pytest.approx(1e15)


def test_a_risk_is_an_amount_of_the_whole_deal_with_its_penalty() -> None:
    deal = {"id": "A", "price": 1e10, "yield": 0.05, "sector": "office"}
    for risk, penalty, fine in ((1e5, 0.0, True), (1.1e5, 0.0, False), (1e5, 2.0, False), (0.5e5, 2.0, True)):
        found = issues(yield_basis="rate", risk_penalty=penalty, deals=[deal | {"risk": risk}])
        assert found == (set() if fine else {("out_of_range", "/deals/0/risk")})


def test_all_issues_come_at_once() -> None:
    found = issues(
        budget=-1, must_include=["Z"], sector_caps={"office": -1, "nowhere": 2},
        deals=[*deals(price=-1, risk=-1), {"id": "A", "price": 1, "yield": 1}],
    )  # fmt: skip
    assert found == {
        ("out_of_range", "/budget"),
        ("unknown_id", "/must_include/0"),
        ("out_of_range", "/sector_caps/office"),
        ("unused_cap", "/sector_caps/nowhere"),
        ("out_of_range", "/deals/1/price"),
        ("out_of_range", "/deals/1/risk"),
        ("duplicate_id", "/deals/4/id"),
    }


@pytest.mark.parametrize(("value", "fine"), [(-0.05, True), (1.0, True), (-0.06, False), (1.01, False), (6.5, False)])
def test_a_yield_that_is_a_rate_lies_between_minus_5_and_100_per_cent(value: float, fine: bool) -> None:
    found = issues(yield_basis="rate", deals=[{"id": "A", "price": 10, "yield": value, "sector": "office"}])
    assert (found == set()) is fine


def test_a_cap_for_nothing_and_a_share_above_one_are_warnings() -> None:
    changes = {"sector_caps": {"office": 1.2, "nowhere": 0.5}, "cap_basis": "share_of_budget"}
    found = KIND.check(problem_of(BODY, **changes))
    assert {issue.pointer for issue in found} == {"/sector_caps/office", "/sector_caps/nowhere"}
    assert all(issue.severity is Severity.WARNING for issue in found)


def test_an_uncapped_sector_and_a_missing_one_are_fine() -> None:
    assert issues(sector_caps={}, deals=[{"id": "A", "price": 1, "yield": 1}]) == set()
    assert issues(sector_caps={"": 0.5}, deals=[{"id": "A", "price": 1, "yield": 1}]) == set()


def test_a_million_and_one_deals_are_too_many() -> None:
    many = [Deal(id="A", price=1.0, yield_=1.0)] * 1_000_001
    assert [issue.code for issue in KIND.check(Problem(budget=1.0, deals=many))] == ["too_many"]
