"""The checker finds every limit that is missed and every figure that is wrong, without the solver."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from solvers.kinds.leasing_mix import KIND
from solvers.kinds.leasing_mix.problem import Mode, Problem, Solution
from tests.solvers.kinds.leasing_mix.problems import solve, with_package, worked_example


def broken(problem: Problem, solution: Solution) -> set[str]:
    return {violation.constraint for violation in KIND.verify(problem, solution)}


def solved(**changes: Any) -> tuple[Problem, Solution]:
    data = worked_example(**changes)
    solution = solve(data).solution
    assert solution is not None
    return msgspec.convert(data, Problem), solution


def tightened(problem: Problem, package: str, **changes: Any) -> Problem:
    packages = [replace(p, **changes) if p.id == package else p for p in problem.packages]
    return replace(problem, packages=packages)


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"max_occupancy": 0.79}, "area_max"),
        ({"min_occupancy": 0.81}, "occupancy_min"),
        ({"incentive_budget": 81_999.0}, "incentive_budget"),
        ({"min_wault_years": 4.06}, "wault"),
        ({"use_caps": {"": 0.59}}, "use:"),
    ],
)
def test_a_plan_that_misses_a_limit_is_found_out(changes: dict[str, Any], constraint: str) -> None:
    problem, solution = solved(mode="whole")
    assert broken(problem, solution) == set()
    assert broken(replace(problem, **changes), solution) == {constraint}


def test_a_plan_with_too_many_or_too_few_leases_is_found_out() -> None:
    problem, solution = solved(mode="whole")
    assert broken(tightened(problem, "L", max_leases=4), solution) == {"max_leases:L"}
    assert broken(tightened(problem, "S", min_leases=2), solution) == {"min_leases:S"}
    none = solve(with_package(worked_example(mode="whole"), "S", max_leases=0)).solution
    assert none is not None
    assert "min_leases:S" in broken(tightened(problem, "S", min_leases=1), none)


def test_a_part_of_a_lease_is_found_out_where_leases_are_whole() -> None:
    problem, solution = solved()
    assert broken(problem, solution) == set()
    assert broken(replace(problem, mode=Mode.WHOLE), solution) == {"whole:S"}


def test_a_limit_may_be_missed_by_rounding_only() -> None:
    problem, solution = solved(mode="whole")
    assert broken(replace(problem, incentive_budget=82_000 * (1 - 0.9e-6)), solution) == set()
    assert broken(replace(problem, incentive_budget=82_000 * (1 - 1.1e-6)), solution) == {"incentive_budget"}


@pytest.mark.parametrize("figure", ["wault_years", "occupancy", "ncf_12m", "incentives_spent"])
def test_a_wrong_figure_is_found_out(figure: str) -> None:
    problem, solution = solved(mode="whole")
    assert broken(problem, replace(solution, **{figure: getattr(solution, figure) * 1.01})) == {figure}


def test_a_mean_where_there_is_none_is_found_out() -> None:
    problem, solution = solved(existing=[], min_wault_years=9)
    assert solution.wault_years is None
    assert broken(problem, replace(solution, wault_years=9.0)) == {"wault_years"}


@pytest.mark.parametrize("figure", ["area", "annual_rent", "incentives", "ncf_12m"])
def test_a_wrong_figure_of_an_offer_is_found_out(figure: str) -> None:
    problem, solution = solved(mode="whole")
    first, *rest = solution.offers
    wrong = replace(solution, offers=[replace(first, **{figure: getattr(first, figure) + 1}), *rest])
    assert broken(problem, wrong) == {f"{figure}:L"}


@pytest.mark.parametrize("flow", ["rent", "fitout", "commission", "opex", "void", "net"])
def test_a_wrong_month_is_found_out(flow: str) -> None:
    problem, solution = solved(mode="whole")
    months = list(solution.monthly)
    months[7] = replace(months[7], **{flow: getattr(months[7], flow) + 1})
    assert broken(problem, replace(solution, monthly=months)) == {f"monthly:7:{flow}"}
    assert broken(problem, replace(solution, monthly=months[:11])) == {"monthly"}


@pytest.mark.parametrize("field", ["area", "annual_rent", "start_month", "end_month"])
def test_a_wrong_rent_roll_is_found_out(field: str) -> None:
    problem, solution = solved(mode="whole")
    first, *rest = solution.rent_roll
    wrong = [replace(first, **{field: getattr(first, field) + 1}), *rest]
    assert broken(problem, replace(solution, rent_roll=wrong)) == {f"rent_roll:E:{field}"}
    assert broken(problem, replace(solution, rent_roll=rest)) == {"rent_roll"}


def test_what_cannot_be_read_is_found_out_first() -> None:
    problem, solution = solved(mode="whole")
    first, second = solution.offers
    assert broken(problem, replace(solution, offers=[first, replace(second, package_id="Z")])) == {"offers:Z"}
    assert broken(problem, replace(solution, offers=[first, first])) == {"offers:L"}
    assert broken(problem, replace(solution, offers=[replace(first, leases=float("nan")), second])) == {"offers"}
