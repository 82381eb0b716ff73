"""The example solved by hand, figure by figure, and small buildings whose months can be counted on fingers."""

import msgspec
import pytest

from solvers.explain import DualKind
from solvers.kinds.leasing_mix import KIND
from solvers.kinds.leasing_mix.problem import Problem
from solvers.progress import Silent
from solvers.result import SolveStatus
from tests.solvers.kinds.leasing_mix.problems import EXACT, solve, with_package, worked_example

close = pytest.approx


def test_the_worked_example_is_answered_as_in_its_description() -> None:
    result = solve(worked_example())
    solution, prices = result.solution, {c.name: c for c in result.explanation.constraints}
    assert solution is not None
    assert {offer.package_id: offer.leases for offer in solution.offers} == {"L": 5, "S": close(4 / 3)}
    assert result.objective == solution.ncf_12m == close(79_666.67, abs=0.005)
    assert (result.status, result.bound, result.gap) == (SolveStatus.OPTIMAL, result.objective, 0)
    assert result.explanation.dual_kind is DualKind.LP
    assert prices["wault"].shadow_price == close(-173_333, abs=0.5)
    assert (prices["wault"].valid_from, prices["wault"].valid_to) == (None, None)
    assert (prices["wault"].activity, prices["wault"].limit, prices["wault"].binding) == (close(4), 4, True)
    assert solution.wault_years == close(4)
    assert solution.occupancy == close((200 + 500 + 400 / 3) / 1000)
    assert solution.incentives_spent == close(5 * 16_000 + 4 / 3 * 2_000)


def test_the_worked_example_in_whole_leases() -> None:
    result = solve(worked_example(mode="whole"))
    assert result.solution is not None
    assert [(offer.package_id, offer.leases) for offer in result.solution.offers] == [("L", 5), ("S", 1)]
    assert result.objective == close(71_000)
    assert (result.status, result.bound, result.gap) == (SolveStatus.OPTIMAL, close(71_000), close(0))
    assert result.explanation.dual_kind is DualKind.NONE


def test_every_offer_of_the_worked_example_carries_its_figures() -> None:
    solution = solve(worked_example(mode="whole")).solution
    assert solution is not None
    long, short = solution.offers
    assert (long.area, long.annual_rent, long.incentives) == (500, 120_000, 80_000)
    assert long.ncf_12m == close(5 * (18_000 - 10_000 - 2_400))
    assert (short.area, short.annual_rent, short.incentives, short.ncf_12m) == (100, 30_000, 2_000, close(25_000))


def test_the_months_of_the_worked_example_add_up_to_its_cash() -> None:
    solution = solve(worked_example(mode="whole")).solution
    assert solution is not None
    first, fourth = solution.monthly[0], solution.monthly[3]
    assert len(solution.monthly) == 12
    assert (first.rent, first.fitout, first.commission) == (close((40_000 + 30_000) / 12), 52_000, close(15_000))
    assert (first.opex, first.void) == (close(800 * 20 / 12), close(200 * 30 / 12))
    assert (fourth.rent, fourth.fitout, fourth.commission) == (close((40_000 + 120_000 + 30_000) / 12), 0, 0)
    for month in solution.monthly:
        assert month.net == close(month.rent - month.fitout - month.commission - month.opex - month.void)
    assert sum(month.net for month in solution.monthly) == solution.ncf_12m


def test_the_rent_roll_lists_what_is_there_and_then_what_is_offered() -> None:
    solution = solve(worked_example(mode="whole")).solution
    assert solution is not None
    roll = [(e.id, e.area, e.annual_rent, e.start_month, e.end_month) for e in solution.rent_roll]
    assert roll == [("E", 200, 40_000, 0, 24), ("L", 500, 120_000, 0, 60), ("S", 100, 30_000, 0, 36)]


def test_a_lease_that_starts_after_the_year_pays_its_costs_in_the_last_month_and_is_not_let() -> None:
    late = with_package(worked_example(existing=[], min_wault_years=0), "L", start_month=12, min_leases=1)
    late["packages"] = late["packages"][:1]
    solution = solve(late).solution
    assert solution is not None
    assert solution.offers[0].leases == 1
    last = solution.monthly[-1]
    assert (last.rent, last.fitout, last.commission, last.void) == (0, 10_000, close(2_400), 2_500)
    assert solution.ncf_12m == close(-12_400 - 30_000)
    assert solution.occupancy == close(0.1)
    assert (solution.rent_roll[0].start_month, solution.rent_roll[0].end_month) == (12, 72)


def test_space_is_let_for_parts_of_months_when_terms_are() -> None:
    short = {"id": "X", "area": 120, "rent_per_sqm_year": 100, "remaining_years": 0.125}
    alone = worked_example(existing=[short], min_wault_years=0)
    alone["packages"] = [alone["packages"][0] | {"max_leases": 0}]
    solution = solve(alone).solution
    assert solution is not None
    assert [month.rent for month in solution.monthly[:3]] == [close(1_000), close(500), 0]
    assert [month.void for month in solution.monthly[:3]] == [close(2_200), close(2_350), close(2_500)]
    assert solution.occupancy == close(0.12)


def test_rent_free_months_beyond_the_year_are_incentives_all_the_same() -> None:
    generous = with_package(worked_example(min_wault_years=0), "L", rent_free_months=18, min_leases=1)
    solution = solve(generous).solution
    assert solution is not None
    offer = next(offer for offer in solution.offers if offer.package_id == "L")
    assert offer.incentives == close(36_000 + 10_000)
    assert offer.ncf_12m == close(-12_400)


def test_weights_by_area_count_every_sqm_alike() -> None:
    solution = solve(worked_example(wault_weight="area")).solution
    assert solution is not None
    leases = {offer.package_id: offer.leases for offer in solution.offers}
    assert leases == {"L": 5, "S": close(1)}
    assert solution.wault_years == close(4)


def test_a_gap_counts_against_the_whole_cash_and_not_only_what_is_decided() -> None:
    result = KIND.solve(
        msgspec.convert(worked_example(mode="whole", void_cost_per_sqm_year=120), Problem),
        msgspec.structs.replace(EXACT, relative_gap=1e-3),
        Silent(),
    )
    assert result.status is SolveStatus.OPTIMAL
    assert result.gap is not None
    assert result.gap <= 1e-3


def test_a_plan_of_before_is_taken_as_a_start() -> None:
    before = solve(worked_example(mode="whole")).solution
    problem = msgspec.convert(worked_example(mode="whole", incentive_budget=90_000), Problem)
    assert before is not None
    result = KIND.solve(problem, EXACT, Silent(), before)
    assert result.objective == close(71_000)
    changed = msgspec.convert(with_package(worked_example(mode="whole"), "S", id="T"), Problem)
    assert KIND.solve(changed, EXACT, Silent(), before).objective == close(71_000)
