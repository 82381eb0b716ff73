"""What a problem is refused for, all at once, and what is only odd about it."""

from typing import Any

import msgspec
import pytest

from solvers.decode import decode
from solvers.issues import Severity
from solvers.kinds.leasing_mix import KIND
from solvers.kinds.leasing_mix.problem import Problem
from solvers.kinds.leasing_mix.questions import Force, forced
from solvers.patches import apply_patch
from solvers.result import SolveStatus
from tests.solvers.kinds.leasing_mix.problems import solve, with_package, worked_example


def issues(data: dict[str, Any], severity: Severity = Severity.ERROR) -> list[tuple[str, str]]:
    found = KIND.check(msgspec.convert(data, Problem))
    return [(issue.code, issue.pointer) for issue in found if issue.severity is severity]


def test_the_examples_have_no_issues() -> None:
    assert KIND.check(msgspec.convert(worked_example(), Problem)) == []
    assert KIND.check(msgspec.convert(KIND.example["problem"], Problem)) == []


def test_everything_wrong_is_said_at_once() -> None:
    packages = worked_example()["packages"]
    data = worked_example(
        min_occupancy=0.9,
        max_occupancy=0.1,
        existing=[*worked_example()["existing"] * 2],
        packages=[packages[0] | {"min_leases": 6}, packages[1] | {"id": "L"}],
    )
    assert sorted(issues(data)) == [
        ("duplicate_id", "/existing/1/id"),
        ("duplicate_id", "/packages/1/id"),
        ("existing_too_large", "/existing"),
        ("impossible_minimum", "/min_occupancy"),
        ("impossible_minimum", "/packages/0/min_leases"),
    ]


def test_a_building_without_packages_is_refused() -> None:
    assert issues(worked_example(packages=[])) == [("too_few", "/packages")]


def test_existing_leases_may_fill_the_building_to_the_last_sqm() -> None:
    tenths = [{"id": f"e{index}", "area": 100.1, "rent_per_sqm_year": 100, "remaining_years": 9} for index in range(10)]
    full = worked_example(total_area=1001, existing=tenths)
    assert issues(full) == []
    result = solve(full)
    assert result.solution is not None
    assert result.solution.offers == []
    assert issues(full | {"total_area": 1000.9}) == [("existing_too_large", "/existing")]


def test_what_is_odd_is_a_warning() -> None:
    data = with_package(worked_example(use_caps={"office": 0.5}), "L", area_per_lease=1001, rent_free_months=61)
    assert issues(data) == []
    assert sorted(issues(data, Severity.WARNING)) == [
        ("never_pays", "/packages/0/rent_free_months"),
        ("too_large", "/packages/0/area_per_lease"),
        ("unused_cap", "/use_caps/office"),
    ]


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"total_area": 0}, "/total_area"),
        ({"min_wault_years": -1}, "/min_wault_years"),
        ({"max_occupancy": 1.1}, "/max_occupancy"),
        ({"incentive_budget": -1}, "/incentive_budget"),
        ({"mode": "halves"}, "/mode"),
        ({"use_caps": {"office": 2}}, "/use_caps/office"),
        ({"colour": "red"}, "/colour"),
    ],
)
def test_what_is_out_of_its_range_is_refused_where_it_stands(changes: dict[str, Any], where: str) -> None:
    decoded = decode(msgspec.json.encode(worked_example(**changes)), Problem)
    assert decoded.value is None
    assert [issue.pointer for issue in decoded.issues] == [where]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_leases", 2.5),
        ("min_leases", -1),
        ("start_month", 13),
        ("start_month", 0.5),
        ("rent_free_months", 1.5),
        ("commission_rate", 1.2),
        ("term_years", 0),
        ("area_per_lease", 0),
        ("fitout_per_sqm", -1),
    ],
)
def test_a_package_out_of_range_is_refused_where_it_stands(field: str, value: float) -> None:
    decoded = decode(msgspec.json.encode(with_package(worked_example(), "S", **{field: value})), Problem)
    assert [issue.pointer for issue in decoded.issues] == [f"/packages/1/{field}"]


def test_a_number_that_is_not_finite_is_refused_even_where_types_let_it_pass() -> None:
    problem = msgspec.convert(worked_example(use_caps={"": 0.5}), Problem)
    broken = msgspec.structs.replace(problem, incentive_budget=float("inf"), use_caps={"": float("nan")})
    assert [(issue.code, issue.pointer) for issue in KIND.check(broken)] == [
        ("not_finite", "/incentive_budget"),
        ("not_finite", "/use_caps/"),
    ]


def test_forcing_a_number_of_leases_is_a_patch_like_any_other() -> None:
    data = worked_example()
    asked = forced(msgspec.convert(data, Problem), Force(package_id="S", leases=1))
    assert (asked.issues, asked.lifted) == ([], [])
    result = solve(apply_patch(data, asked.patch).value)
    assert result.solution is not None
    assert {offer.package_id: offer.leases for offer in result.solution.offers}["S"] == 1
    assert result.status is SolveStatus.OPTIMAL
    assert result.objective == pytest.approx(71_000)


def test_forcing_too_many_leases_lifts_their_own_limit_and_names_what_breaks() -> None:
    data = worked_example()
    asked = forced(msgspec.convert(data, Problem), Force(package_id="L", leases=9))
    assert asked.lifted == ["max_leases:L"]
    result = solve(apply_patch(data, asked.patch).value)
    assert result.status is SolveStatus.INFEASIBLE
    assert "min_leases:L" in result.explanation.conflicts
    assert result.explanation.repairs
    fewest = with_package(data, "L", min_leases=2)
    assert forced(msgspec.convert(fewest, Problem), Force(package_id="L", leases=0)).lifted == ["min_leases:L"]


def test_forcing_what_is_not_on_offer_is_refused() -> None:
    asked = forced(msgspec.convert(worked_example(), Problem), Force(package_id="Z", leases=1))
    assert [(issue.code, issue.pointer) for issue in asked.issues] == [("unknown_id", "/package_id")]


def test_a_frontier_sweeps_the_target_between_all_terms_and_the_budget_up_to_what_space_could_take() -> None:
    problem = msgspec.convert(worked_example(), Problem)
    spans = {field.name: field.span(problem, None) for field in KIND.frontier}
    assert spans == {"min_wault_years": (2, 5), "incentive_budget": (0, pytest.approx(88_000))}
