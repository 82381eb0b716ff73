"""A planted violation of every constraint, and of every figure, is found; what holds passes."""

from typing import Any

import msgspec
import pytest

from solvers.kinds.deal_picker import KIND
from solvers.kinds.deal_picker.problem import Problem, Solution
from tests.solvers.kinds.deal_picker.problems import case, problem_of, solved

BODY = case("example")
RESULT = solved(problem_of(BODY)).solution
assert RESULT is not None
SOLUTION: Solution = RESULT


def broken(problem: Problem, solution: Solution = SOLUTION) -> set[str]:
    return {violation.constraint for violation in KIND.verify(problem, solution)}


def test_what_was_solved_holds() -> None:
    assert broken(problem_of(BODY)) == set()


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"max_risk": 500_000}, "max_risk"),
        ({"sector_caps": {"office": 0.39}}, "sector:office"),
        ({"city_caps": {"Hannover": 0.52}}, "city:Hannover"),
        ({"max_deals": 4}, "max_deals"),
        ({"exclusive_groups": [["D-104", "D-108"]]}, "group:0"),
        ({"must_include": ["D-107"]}, "must_include:D-107"),
        ({"exclude": ["D-106"]}, "max_allocation:D-106"),
        ({"mode": "whole"}, "whole:D-103"),
    ],
)
def test_a_limit_that_the_plan_does_not_keep_is_found(changes: dict[str, Any], constraint: str) -> None:
    assert constraint in broken(problem_of(BODY, **changes))


def test_more_than_the_budget_is_found() -> None:
    assert {"budget", "unspent"} <= broken(problem_of(BODY, budget=11_999_000, cap_basis="amount", sector_caps={}))


def test_shares_outside_their_bounds_are_found() -> None:
    def with_deal(deal_id: str, **changes: Any) -> Problem:
        return problem_of(BODY, deals=[{**d, **(changes if d["id"] == deal_id else {})} for d in BODY["deals"]])

    assert "max_allocation:D-101" in broken(with_deal("D-101", max_allocation=0.8))
    assert "min_allocation:D-103" in broken(with_deal("D-103", min_allocation=0.9))
    negative = _with_allocation(0, allocation=-0.1)
    assert f"min_allocation:{SOLUTION.allocations[0].deal_id}" in broken(problem_of(BODY), negative)


def _with_allocation(at: int, **changes: Any) -> Solution:
    allocations = list(SOLUTION.allocations)
    allocations[at] = msgspec.structs.replace(allocations[at], **changes)
    return msgspec.structs.replace(SOLUTION, allocations=allocations)


@pytest.mark.parametrize(
    ("field", "figure"),
    [
        ("total_allocated", "total_allocated"),
        ("total_yield", "total_yield"),
        ("total_risk", "total_risk"),
        ("objective_value", "objective"),
        ("unspent", "unspent"),
        ("deal_count", "deal_count"),
    ],
)
def test_a_wrong_figure_is_found(field: str, figure: str) -> None:
    wrong = msgspec.structs.replace(SOLUTION, **{field: getattr(SOLUTION, field) + 100})
    assert broken(problem_of(BODY), wrong) == {figure}


@pytest.mark.parametrize(("field", "figure"), [("amount", "amount"), ("yield_", "yield"), ("risk", "risk")])
def test_a_wrong_figure_of_a_deal_is_found(field: str, figure: str) -> None:
    bought = SOLUTION.allocations[1]
    wrong = _with_allocation(1, **{field: getattr(bought, field) + 100})
    assert broken(problem_of(BODY), wrong) == {f"{figure}:{bought.deal_id}"}


@pytest.mark.parametrize("field", ["by_sector", "by_city"])
@pytest.mark.parametrize("part", ["amount", "share", "allocations"])
def test_a_wrong_or_missing_slice_is_found(field: str, part: str) -> None:
    slices = getattr(SOLUTION, field)
    name = next(iter(slices))
    off = {**slices, name: msgspec.structs.replace(slices[name], **{part: getattr(slices[name], part) + 100})}
    assert broken(problem_of(BODY), msgspec.structs.replace(SOLUTION, **{field: off})) == {f"{field}:{name}"}
    gone = {key: value for key, value in slices.items() if key != name}
    assert broken(problem_of(BODY), msgspec.structs.replace(SOLUTION, **{field: gone})) == {f"{field}:{name}"}


def test_deals_that_are_not_on_offer_or_come_twice_are_found() -> None:
    assert broken(problem_of(BODY), _with_allocation(0, deal_id="nobody")) == {"allocations"}
    twice = SOLUTION.allocations[1].deal_id
    assert broken(problem_of(BODY), _with_allocation(0, deal_id=twice)) == {"allocations"}


def test_numbers_that_are_none_are_found() -> None:
    assert broken(problem_of(BODY), msgspec.structs.replace(SOLUTION, total_yield=float("nan"))) == {"total_yield"}
    assert "budget" in broken(problem_of(BODY), _with_allocation(0, allocation=float("nan")))


def test_rounding_within_a_millionth_of_the_limit_passes() -> None:
    body = BODY | {"cap_basis": "amount", "sector_caps": {}, "city_caps": {}}
    problem = problem_of(body, budget=SOLUTION.total_allocated * (1 - 5e-7))
    assert "budget" not in broken(problem)
