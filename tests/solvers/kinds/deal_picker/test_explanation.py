"""Prices are derivatives by the field, ranges are exact, near misses stay misses, what-ifs were solved."""

from itertools import pairwise

import msgspec
import pytest

from solvers.explain import ConstraintReport, DualKind
from solvers.kinds.deal_picker.problem import Deal, Problem
from solvers.result import SolveStatus
from tests.solvers.kinds.deal_picker.problems import case, problem_of, random_problem, solved, with_patch

LINEAR = [seed for seed in range(80) if solved(random_problem(seed)).status is SolveStatus.OPTIMAL]


def with_limit(problem: Problem, name: str, value: float) -> Problem:
    """The problem with the field that a constraint names really set to another value."""
    kind, _, key = name.partition(":")
    if kind in {"sector", "city"}:
        caps = getattr(problem, f"{kind}_caps")
        return msgspec.structs.replace(problem, **{f"{kind}_caps": {**caps, key: value}})
    if kind == "must_include":
        deals = [_with_share(deal, value) if deal.id == key else deal for deal in problem.deals]
        return msgspec.structs.replace(problem, deals=deals)
    return msgspec.structs.replace(problem, **{name: value})


def _with_share(deal: Deal, value: float) -> Deal:
    name = "min_allocation" if deal.min_allocation > 0 else "max_allocation"
    return msgspec.structs.replace(deal, **{name: value})


def optimum(problem: Problem) -> float | None:
    return solved(problem).objective


def relaxing_side(report: ConstraintReport) -> int:
    return -1 if report.name.startswith("must_include") and report.limit > 0 else 1


@pytest.mark.parametrize("seed", LINEAR)
def test_a_shadow_price_is_the_derivative_by_the_field_on_the_relaxing_side(seed: int) -> None:
    problem = random_problem(seed)
    result = solved(problem)
    for report in result.explanation.constraints:
        step = relaxing_side(report) * 1e-5 * max(1.0, report.limit)
        after = optimum(with_limit(problem, report.name, report.limit + step))
        if after is not None:
            assert report.shadow_price == pytest.approx((after - result.objective) / step, abs=2e-4), report.name


@pytest.mark.parametrize("seed", LINEAR)
def test_a_price_is_exact_between_the_ends_of_its_range(seed: int) -> None:
    problem = random_problem(seed)
    result = solved(problem)
    for report in result.explanation.constraints:
        for end in (report.valid_from, report.valid_to):
            beyond_what_can_be = report.name.startswith("must_include") and end == 0
            if end is None or abs(end - report.limit) < 1e-9 or beyond_what_can_be:
                continue
            for share in (0.5, 0.999):
                limit = report.limit + share * (end - report.limit)
                expected = result.objective + report.shadow_price * (limit - report.limit)
                assert optimum(with_limit(problem, report.name, limit)) == pytest.approx(expected, abs=1e-6), (
                    report.name
                )


@pytest.mark.parametrize("seed", LINEAR)
def test_where_the_sides_differ_the_range_begins_at_the_limit(seed: int) -> None:
    problem = random_problem(seed)
    result = solved(problem)
    for report in result.explanation.constraints:
        side = relaxing_side(report)
        step = side * 1e-5 * max(1.0, report.limit)
        if side > 0 and report.limit - step < 0:
            continue
        tighter = optimum(with_limit(problem, report.name, report.limit - step))
        price = report.shadow_price
        same = tighter is not None and abs((result.objective - tighter) / step - price) < 1e-3
        kept = report.valid_from if side > 0 else report.valid_to
        if not same:
            assert kept == pytest.approx(report.limit, abs=1e-9), report.name


@pytest.mark.parametrize("seed", LINEAR)
def test_below_its_break_even_yield_a_near_miss_changes_nothing_and_above_it_does(seed: int) -> None:
    problem = random_problem(seed)
    result = solved(problem)
    for miss in result.explanation.near_misses:
        enters, now = miss["break_even_yield"], miss["yield"]
        if enters is None:
            continue
        assert enters >= now
        for share in (0.5, 0.99):
            below = now + share * (enters - now)
            assert optimum(_with_yield(problem, miss["deal_id"], below)) == pytest.approx(result.objective, abs=1e-7)
        above = optimum(_with_yield(problem, miss["deal_id"], enters + 0.05))
        assert above > result.objective + 1e-9


def _with_yield(problem: Problem, deal_id: str, value: float) -> Problem:
    return with_patch(problem, {"deals": {deal_id: {"yield": value}}})


@pytest.mark.parametrize("seed", LINEAR[:40])
def test_a_reduced_cost_is_what_a_real_change_costs(seed: int) -> None:
    problem = random_problem(seed)
    result = solved(problem)
    bought = {allocation.deal_id: allocation.allocation for allocation in result.solution.allocations}
    for reduced in result.explanation.reduced_costs:
        if reduced.id in bought:
            changed = with_patch(problem, {"deals": {reduced.id: {"max_allocation": bought[reduced.id] - 1e-5}}})
            after = optimum(changed)
        else:
            forced = {
                "must_include": [*problem.must_include, reduced.id],
                "deals": {reduced.id: {"min_allocation": 1e-5}},
            }
            after = optimum(with_patch(problem, forced))
        assert reduced.value == pytest.approx((after - result.objective) / 1e-5, abs=1e-3)


@pytest.mark.parametrize("mode", ["linear", "switches", "whole"])
@pytest.mark.parametrize("seed", range(40))
def test_a_what_if_changes_the_optimum_by_what_it_says(seed: int, mode: str) -> None:
    problem = random_problem(seed, switches=mode == "switches", mode="whole" if mode == "whole" else "fractional")
    result = solved(problem)
    for what_if in result.explanation.what_if:
        after = optimum(with_patch(problem, what_if.patch))
        assert after - result.objective == pytest.approx(what_if.expected_change, abs=1e-6), what_if.label
        assert what_if.expected_change > 0


@pytest.mark.parametrize("seed", range(60))
def test_with_switches_limits_of_amounts_have_prices_and_counts_and_rejected_deals_have_none(seed: int) -> None:
    explanation = solved(random_problem(seed, switches=True)).explanation
    if explanation.dual_kind is not DualKind.FIXED_INTEGER:
        return
    assert explanation.reduced_costs == []
    assert all(miss["break_even_yield"] is None for miss in explanation.near_misses)
    for report in explanation.constraints:
        if report.name == "max_deals" or report.name.startswith("group:"):
            assert report.shadow_price is None
        elif not report.name.startswith("must_include:"):
            assert report.shadow_price >= -1e-9


def test_prices_with_switches_hold_while_the_chosen_deals_stay() -> None:
    body = case("worked_example") | {"max_deals": 2}
    result = solved(problem_of(body))
    assert result.explanation.dual_kind is DualKind.FIXED_INTEGER
    chosen = {allocation.deal_id for allocation in result.solution.allocations}
    fixed = body | {"max_deals": None, "exclude": [deal["id"] for deal in body["deals"] if deal["id"] not in chosen]}
    theirs = solved(problem_of(fixed)).explanation.constraints
    for ours, report in zip(result.explanation.constraints, theirs, strict=False):
        assert (ours.name, ours.shadow_price) == (report.name, pytest.approx(report.shadow_price))


def test_a_share_of_the_budget_earns_through_the_budget_too() -> None:
    body = case("worked_example") | {"cap_basis": "share_of_budget", "sector_caps": {"office": 0.5}}
    problem = problem_of(body)
    result = solved(problem)
    budget, office = result.explanation.constraints
    assert office.activity == pytest.approx(0.5)
    for report, step in ((budget, 10.0), (office, 1e-4)):
        after = optimum(with_limit(problem, report.name, report.limit + step))
        assert report.shadow_price == pytest.approx((after - result.objective) / step, rel=1e-6)
    assert budget.shadow_price == pytest.approx(0.5 * 0.1 + 0.5 * 0.0625)


def test_a_degenerate_optimum_is_priced_on_the_relaxing_side() -> None:
    body = case("worked_example") | {"budget": 110_000, "sector_caps": {"office": 1}}
    result = solved(problem_of(body))
    budget, office = result.explanation.constraints
    assert result.objective == pytest.approx(10_000)
    assert (budget.shadow_price, budget.valid_from) == (pytest.approx(0.0625), pytest.approx(110_000))
    assert budget.valid_to == pytest.approx(190_000)
    assert (office.shadow_price, office.valid_from) == (pytest.approx(400), pytest.approx(1))


def test_limits_with_room_cost_nothing_down_to_what_is_used() -> None:
    body = case("worked_example") | {"sector_caps": {"office": 1.9, "retail": 0.9}}
    reports = {report.name: report for report in solved(problem_of(body)).explanation.constraints}
    retail = reports["sector:retail"]
    assert (retail.shadow_price, retail.binding, retail.valid_to) == (0.0, False, None)
    assert retail.valid_from == pytest.approx(retail.activity)


def test_every_kind_of_limit_is_reported_under_its_name() -> None:
    body = case("example") | {"max_deals": 7}
    names = [report.name for report in solved(problem_of(body)).explanation.constraints]
    assert names == [
        "budget", "max_risk", "sector:office", "sector:retail", "city:Berlin",
        "max_deals", "group:0", "must_include:D-104",
    ]  # fmt: skip


def test_at_most_twenty_near_misses_and_the_nearest_first() -> None:
    deals = [{"id": f"D{i:02}", "price": 100.0, "yield": 10.0 - i * 0.1, "sector": "a", "city": "b"} for i in range(40)]
    misses = solved(problem_of({"budget": 250.0, "deals": deals})).explanation.near_misses
    assert [miss["deal_id"] for miss in misses] == [f"D{i:02}" for i in range(3, 23)]
    assert all(miss["break_even_yield"] == pytest.approx(9.8) for miss in misses)


def test_nothing_binds_is_said() -> None:
    result = solved(problem_of(case("worked_example") | {"budget": 1e9, "sector_caps": {}}))
    assert result.explanation.sentences == ["No limit binds: more budget or higher caps would change nothing."]
    assert result.explanation.what_if == []


def test_the_frontier_rises_with_risk_and_ends_where_it_no_longer_matters() -> None:
    for mode in ("fractional", "whole"):
        body = {"mode": mode, "exclusive_groups": [], "max_risk": 300_000.0}
        problem = problem_of(
            case("example")
            | body
            | {"deals": [{**d, "min_allocation": 0.0, "max_allocation": 1.0} for d in case("example")["deals"]]}
        )
        points = solved(problem).stats["frontier"]
        levels, values = [p["max_risk"] for p in points], [p["objective"] for p in points]
        assert len(points) == 11
        assert levels == sorted(levels)
        assert all(later >= earlier - 1e-6 for earlier, later in pairwise(values))
        for point in points[3:5]:
            at = msgspec.structs.replace(problem, max_risk=point["max_risk"])
            assert optimum(at) == pytest.approx(point["objective"], rel=1e-9)
        assert optimum(msgspec.structs.replace(problem, max_risk=None)) == pytest.approx(values[-1], rel=1e-9)


def test_without_risk_there_is_no_frontier() -> None:
    assert solved(problem_of(case("worked_example"))).stats["frontier"] == []
