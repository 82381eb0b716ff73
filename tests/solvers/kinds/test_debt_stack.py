"""The debt stack: its worked example, its rules, what it refuses, what its checker catches, and what it shows."""

import random
from importlib import resources
from io import BytesIO
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf import PdfReader

from milpa.jobs import FileFormat, LimitReached
from solvers.explain import DualKind
from solvers.issues import Severity
from solvers.kinds.debt_stack import KIND
from solvers.kinds.debt_stack.problem import EXPECTED, Problem, Solution
from solvers.kinds.debt_stack.terms import service_factor
from solvers.kinds.debt_stack.why_not import Force, check_force, patch_of
from solvers.limits import SolveLimits
from solvers.patches import apply_patch
from solvers.progress import Silent
from solvers.result import SolveResult, SolveStatus
from tests.solvers.kinds.test_debt_stack_oracle import EXACT, a_problem, annuity
from workers.renderers import render

SEEDS = st.integers(0, 10**6)


def solve(data: dict[str, Any] | Problem) -> SolveResult[Solution]:
    problem = data if isinstance(data, Problem) else msgspec.convert(data, Problem)
    result: SolveResult[Solution] = KIND.solve(problem, EXACT, Silent())
    return result


def worked_example(**changes: Any) -> dict[str, Any]:
    text = resources.files(KIND.package).joinpath("cases/worked_example.json").read_bytes()
    problem: dict[str, Any] = msgspec.json.decode(text)["problem"]
    return problem | changes


def with_tranche(problem: Problem, **changes: Any) -> Problem:
    first = msgspec.structs.replace(problem.tranches[0], **changes)
    return msgspec.structs.replace(problem, tranches=[first, *problem.tranches[1:]])


def floating(**changes: Any) -> dict[str, Any]:
    """A floating loan under a hedge, with a fixed one beside it."""
    return worked_example(
        tranches=[
            {
                "id": "bank", "seniority": 1, "rate_type": "floating", "spread": 0.02,
                "max_amount": 600_000, "term_years": 5, "amortization_years": 25,
            },
            {"id": "mezzanine", "seniority": 2, "rate_type": "fixed", "rate": 0.09, "max_amount": 3e5, "term_years": 5},
        ],
        scenarios=[
            {"name": "low", "weight": 1, "index_rate": 0.02},
            {"name": "high", "weight": 3, "index_rate": 0.06, "noi_factor": 0.9},
        ],
        hedge={"strike_rate": 0.03, "premium_rate": 0.02, "max_share": 0.8},
    ) | changes  # fmt: skip


# The worked example


def test_the_worked_example_is_answered_as_in_its_description() -> None:
    result = solve(worked_example())
    solution, prices = result.solution, {c.name: c for c in result.explanation.constraints}
    assert solution is not None
    assert [(source.id, source.amount) for source in solution.sources] == [("senior", 600_000), ("mezzanine", 150_000)]
    assert solution.equity == 276_000
    assert solution.uses.fees == 6_000
    assert solution.uses.total == 1_026_000
    assert result.objective == solution.annual_cost == pytest.approx(77_820, abs=1e-6)
    assert solution.weighted_cost_of_capital == pytest.approx(0.075848, abs=5e-7)
    assert solution.dscr == {"base": pytest.approx(1.6092, abs=5e-5), "expected": pytest.approx(1.6092, abs=5e-5)}
    assert (solution.ltv, solution.debt_yield) == (0.75, pytest.approx(70 / 750))
    assert result.explanation.dual_kind is DualKind.LP
    assert prices["ltv"].shadow_price == pytest.approx(-30_000)
    assert (prices["ltv"].valid_from, prices["ltv"].valid_to) == (pytest.approx(0.6), pytest.approx(8 / 9))
    assert prices["max_amount:senior"].shadow_price == pytest.approx(-0.0368)
    assert (result.status, result.bound, result.gap) == (SolveStatus.OPTIMAL, result.objective, 0)


def test_the_shares_and_the_ranks_of_the_worked_example_are_shown_per_source() -> None:
    solution = solve(worked_example()).solution
    assert solution is not None
    senior, mezzanine = solution.sources
    assert (senior.share, mezzanine.share) == (pytest.approx(600 / 1026), pytest.approx(150 / 1026))
    assert (senior.cumulative_ltv, mezzanine.cumulative_ltv) == (0.6, 0.75)
    assert (senior.rate_expected, mezzanine.rate_expected, senior.hedged) == (0.05, 0.09, 0.0)


# What a funding is


def test_without_any_tranche_equity_pays_for_everything() -> None:
    result = solve(worked_example(tranches=[]))
    solution = result.solution
    assert solution is not None
    assert (solution.sources, solution.equity, solution.ltv, solution.debt_yield) == ([], 1_020_000, 0, None)
    assert solution.dscr == {"base": None, "expected": None}
    assert result.objective == pytest.approx(0.12 * 1_020_000)


def test_equity_cheaper_than_debt_is_used_first() -> None:
    solution = solve(worked_example(equity={"cost_rate": 0.01, "available": 700_000})).solution
    assert solution is not None
    assert solution.equity == pytest.approx(700_000)
    assert [source.id for source in solution.sources] == ["senior"]


def test_a_hedge_pays_for_itself_where_the_index_rises_above_its_strike() -> None:
    hedged, bare = solve(floating()), solve(floating(hedge=None))
    assert hedged.solution is not None
    bank = hedged.solution.sources[0]
    assert bank.hedged == pytest.approx(0.8 * bank.amount)
    assert bank.rate_expected == pytest.approx(0.2 * (0.25 * 0.04 + 0.75 * 0.08) + 0.8 * (0.25 * 0.04 + 0.75 * 0.05))
    assert hedged.solution.uses.hedge_premium == pytest.approx(0.02 * bank.hedged)
    assert hedged.objective < bare.objective
    prices = {c.name: c for c in hedged.explanation.constraints}
    assert prices["hedge:bank"].shadow_price < 0
    assert (prices["hedge:bank"].valid_from, prices["hedge:bank"].valid_to) == (None, None)


def test_a_hedge_is_bought_for_cover_alone_when_it_costs_more_than_it_saves() -> None:
    hedge = {"strike_rate": 0.03, "premium_rate": 0.075}
    tight = floating(min_dscr=1.3, hedge=hedge, tranches=floating()["tranches"][:1])
    solution = solve(tight).solution
    assert solution is not None
    assert solution.dscr["high"] == pytest.approx(1.3)
    assert 0 < solution.sources[0].hedged < solution.sources[0].amount


def test_expected_cover_allows_what_cover_in_every_scenario_forbids() -> None:
    every, expected = (solve(floating(min_dscr=1.5, dscr_scope=s)) for s in ("every_scenario", "expected"))
    assert every.solution is not None
    assert expected.solution is not None
    assert expected.objective < every.objective
    assert expected.solution.dscr["high"] < 1.5
    assert {c.name for c in expected.explanation.constraints if c.name.startswith("dscr")} == {"dscr:expected"}
    assert {c.name for c in every.explanation.constraints if c.name.startswith("dscr")} == {"dscr:low", "dscr:high"}


def test_a_tranche_is_drawn_at_its_minimum_or_not_at_all() -> None:
    problem = worked_example()
    problem["tranches"][1]["min_amount"] = 200_000
    result = solve(problem)
    assert result.solution is not None
    amounts = {source.id: source.amount for source in result.solution.sources}
    assert amounts == {"senior": pytest.approx(550_000), "mezzanine": pytest.approx(200_000)}
    assert result.explanation.dual_kind is DualKind.FIXED_INTEGER
    prices = {c.name: c.shadow_price for c in result.explanation.constraints}
    assert prices["min_amount:mezzanine"] == pytest.approx(0.0368)


def test_a_minimum_that_the_linear_program_meets_anyway_needs_no_switch() -> None:
    problem = worked_example()
    problem["tranches"][1]["min_amount"] = 100_000
    result = solve(problem)
    assert result.explanation.dual_kind is DualKind.LP
    assert result.objective == pytest.approx(77_820)


def test_the_limit_of_a_tranche_binds_nothing_while_it_is_not_drawn() -> None:
    problem = worked_example()
    problem["tranches"][1] |= {"max_ltv": 0.5, "rate": 0.11}
    solution = solve(problem).solution
    assert solution is not None
    assert [(source.id, source.amount) for source in solution.sources] == [("senior", 600_000)]


def test_tranches_of_one_rank_count_together_under_the_limit_of_either() -> None:
    problem = worked_example()
    problem["tranches"][0]["max_amount"] = 500_000
    problem["tranches"][1] |= {"seniority": 1, "max_ltv": 0.55}
    solution = solve(problem).solution
    assert solution is not None
    assert [source.amount for source in solution.sources] == [500_000, pytest.approx(50_000)]
    assert [source.cumulative_ltv for source in solution.sources] == [pytest.approx(0.55)] * 2


def test_weights_are_relative() -> None:
    doubled = floating()
    for scenario in doubled["scenarios"]:
        scenario["weight"] *= 7
    assert solve(doubled).objective == pytest.approx(solve(floating()).objective, rel=1e-12)


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_every_funding_passes_its_own_checker(seed: int) -> None:
    problem = a_problem(random.Random(seed), conditions=True)
    result = solve(problem)
    if result.solution is not None:
        assert KIND.verify(problem, result.solution) == []


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_the_same_problem_has_the_same_answer_to_the_last_bit(seed: int) -> None:
    problem = a_problem(random.Random(seed), conditions=True)
    first, second = solve(problem), solve(problem)
    assert msgspec.json.encode(first.solution) == msgspec.json.encode(second.solution)
    assert msgspec.json.encode(first.explanation) == msgspec.json.encode(second.explanation)


# Monotonicity


def costs_no_more(looser: Problem, tighter: Problem) -> None:
    """A funding of the tighter problem is one of the looser, so that the looser never costs more."""
    tight, loose = solve(tighter), solve(looser)
    if tight.solution is not None:
        assert loose.objective is not None
        assert loose.objective <= tight.objective * (1 + 1e-9) + 1e-6


@given(SEEDS, st.floats(0, 0.3))
@settings(max_examples=25, deadline=None)
def test_a_tighter_covenant_never_helps(seed: int, by: float) -> None:
    problem = a_problem(random.Random(seed), conditions=True)
    replace = msgspec.structs.replace
    costs_no_more(problem, replace(problem, min_dscr=problem.min_dscr + by))
    costs_no_more(problem, replace(problem, max_ltv=max(0.0, problem.max_ltv - by)))
    costs_no_more(problem, replace(problem, equity=replace(problem.equity, min_share=problem.equity.min_share + by)))
    less = by * (problem.cost if problem.equity.available is None else problem.equity.available)
    costs_no_more(problem, replace(problem, equity=replace(problem.equity, available=less)))


@given(SEEDS, st.floats(1, 3))
@settings(max_examples=25, deadline=None)
def test_more_of_a_tranche_or_easier_terms_never_hurt(seed: int, factor: float) -> None:
    problem = a_problem(random.Random(seed), conditions=True)
    if problem.tranches:
        first = problem.tranches[0]
        costs_no_more(with_tranche(problem, max_amount=first.max_amount * factor), problem)
        costs_no_more(with_tranche(problem, min_amount=first.min_amount / factor), problem)
        costs_no_more(with_tranche(problem, max_ltv=None), problem)
        costs_no_more(with_tranche(problem, fee_rate=first.fee_rate / factor), problem)
        if not first.required:
            costs_no_more(problem, msgspec.structs.replace(problem, tranches=problem.tranches[1:]))


@pytest.mark.parametrize("tiny", [1e-9, 1e-38, 5e-324])
def test_figures_next_to_nothing_are_no_trouble(tiny: float) -> None:
    data = worked_example(min_dscr=tiny, equity={"cost_rate": 0.12, "min_share": tiny})
    data["tranches"][0] |= {"fee_rate": tiny, "rate": tiny, "min_amount": tiny, "amortization_years": 30}
    result = solve(data)
    assert result.solution is not None
    assert KIND.verify(msgspec.convert(data, Problem), result.solution) == []
    alone = solve(data | {"tranches": data["tranches"][:1], "max_ltv": 0.5})
    assert alone.solution is not None
    assert alone.solution.ltv == pytest.approx(0.5)


# Repayment


@given(st.floats(-0.1, 1.5), st.integers(1, 480))
@settings(max_examples=200, deadline=None)
def test_level_service_is_what_discounting_its_months_gives_back(rate: float, months: int) -> None:
    assert service_factor(rate, months / 12) == pytest.approx(annuity(rate, months / 12), rel=1e-9)


def test_debt_service_of_an_interest_free_loan_is_an_even_repayment() -> None:
    assert service_factor(0.0, 25) == pytest.approx(1 / 25)
    assert service_factor(1e-12, 25) == pytest.approx(1 / 25)
    assert service_factor(0.04, None) == 0.04


@given(SEEDS, st.sampled_from([0.5, 1.25, 5.0, 30.0]))
@settings(max_examples=30, deadline=None)
def test_a_repayment_adds_up_to_the_loan_with_its_balloon(seed: int, years: float) -> None:
    problem = msgspec.structs.replace(a_problem(random.Random(seed), conditions=False), analysis_years=years)
    solution = solve(problem).solution
    if solution is None:
        return
    terms = {tranche.id: tranche for tranche in problem.tranches}
    for source, plan in zip(solution.sources, solution.amortization, strict=True):
        tranche = terms[source.id]
        assert len(plan.months) == round(12 * min(years, tranche.term_years))
        level = source.amount * annuity(source.rate_expected, tranche.amortization_years) / 12
        for before, month in zip([None, *plan.months], plan.months, strict=False):
            assert month.opening == (source.amount if before is None else before.closing)
            assert month.closing == pytest.approx(month.opening - month.principal)
            assert month.interest + month.principal == pytest.approx(level, abs=1e-6 * source.amount)
        if years >= tranche.term_years:
            assert sum(month.principal for month in plan.months) + plan.balloon == pytest.approx(source.amount)


def test_a_loan_that_is_repaid_before_its_term_has_no_balloon() -> None:
    problem = worked_example(analysis_years=5)
    problem["tranches"][0]["amortization_years"] = 3
    problem["min_dscr"] = 0
    solution = solve(problem).solution
    assert solution is not None
    senior = solution.amortization[0]
    assert senior.balloon == 0
    assert senior.months[35].closing == 0
    assert senior.months[36].opening == senior.months[59].interest == 0
    assert KIND.verify(msgspec.convert(problem, Problem), solution) == []


# The checker


def broken(problem: dict[str, Any], **changes: Any) -> set[str]:
    """What the checker says of the best funding once some of it is changed, the sources by id."""
    typed = msgspec.convert(problem, Problem)
    solution = solve(typed).solution
    assert solution is not None
    assert KIND.verify(typed, solution) == []
    sources = [msgspec.structs.replace(source, **changes.get(source.id, {})) for source in solution.sources]
    rest = {name: value for name, value in changes.items() if name in Solution.__struct_fields__}
    spoiled = msgspec.structs.replace(solution, **({"sources": sources} | rest))
    return {violation.constraint for violation in KIND.verify(typed, spoiled)}


def drawn(problem: dict[str, Any], **amounts: float) -> set[str]:
    """What the checker says when other amounts are drawn, equity closing the sum."""
    typed = msgspec.convert(problem, Problem)
    solution = solve(typed).solution
    assert solution is not None
    sources = [msgspec.structs.replace(s, amount=amounts.get(s.id, s.amount)) for s in solution.sources]
    equity = solution.equity - sum(amounts.get(s.id, s.amount) - s.amount for s in solution.sources)
    spoiled = msgspec.structs.replace(solution, sources=sources, equity=equity)
    return {violation.constraint for violation in KIND.verify(typed, spoiled)}


@pytest.mark.parametrize(
    ("constraint", "problem", "amounts"),
    [
        ("max_amount:senior", worked_example(), {"senior": 600_001}),
        ("ltv", worked_example(), {"mezzanine": 150_002}),
        ("dscr:base", worked_example(min_dscr=1.609), {"mezzanine": 150_500}),
        ("dscr:expected", worked_example(min_dscr=1.609, dscr_scope="expected"), {"mezzanine": 150_500}),
        ("equity_available", worked_example(equity={"cost_rate": 0.12, "available": 276_000}), {"mezzanine": 149_999}),
        ("equity_min_share", worked_example(equity={"cost_rate": 0.12, "min_share": 0.269}), {"mezzanine": 150_100}),
        ("equity", worked_example(max_ltv=1.5), {"senior": 1_300_000}),
        ("amount:mezzanine", worked_example(), {"mezzanine": -1}),
        (
            "min_amount:mezzanine",
            worked_example(tranches=[worked_example()["tranches"][0], worked_example()["tranches"][1] | {"min_amount": 140_000}]),
            {"mezzanine": 139_999},
        ),
        (
            "ltv:mezzanine",
            worked_example(tranches=[worked_example()["tranches"][0], worked_example()["tranches"][1] | {"max_ltv": 0.7}]),
            {"mezzanine": 100_002},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_the_checker_finds_a_planted_violation(
    constraint: str, problem: dict[str, Any], amounts: dict[str, float]
) -> None:
    assert constraint in drawn(problem, **amounts)


def test_the_checker_finds_too_much_hedging() -> None:
    assert "hedge:bank" in broken(floating(), bank={"hedged": 500_000.0})
    assert "hedge:bank" in broken(floating(), bank={"hedged": -1.0})
    assert "hedge:mezzanine" in broken(floating(), mezzanine={"hedged": 1.0})


def test_the_checker_finds_sources_that_do_not_meet_uses() -> None:
    assert "sources_uses" in broken(worked_example(), equity=275_990.0)


@pytest.mark.parametrize("field", ["annual_cost", "weighted_cost_of_capital", "ltv", "debt_yield"])
def test_the_checker_finds_a_wrong_figure(field: str) -> None:
    solution = solve(worked_example()).solution
    for wrong in (getattr(solution, field) * 1.001 + 1e-3, float("nan"), None):
        assert field in broken(worked_example(), **{field: wrong})


@pytest.mark.parametrize("field", ["share", "rate_expected", "cumulative_ltv"])
def test_the_checker_finds_a_wrong_figure_of_a_source(field: str) -> None:
    assert f"{field}:senior" in broken(worked_example(), senior={field: 0.7})


def test_the_checker_finds_wrong_uses_ratios_and_repayments() -> None:
    problem = floating()
    solution = solve(problem).solution
    assert solution is not None
    for field in solution.uses.__struct_fields__:
        uses = msgspec.structs.replace(solution.uses, **{field: getattr(solution.uses, field) + 10})
        assert f"uses:{field}" in broken(problem, uses=uses)
    assert broken(problem, dscr=solution.dscr | {"low": 9.0}) == {"dscr:low"}
    assert broken(problem, dscr=solution.dscr | {"else": 9.0}) == {"dscr:else"}
    first, *others = solution.amortization
    replace = msgspec.structs.replace
    assert "amortization" in broken(problem, amortization=others)
    assert "amortization:bank" in broken(problem, amortization=[replace(first, months=first.months[1:]), *others])
    assert "amortization:bank:balloon" in broken(problem, amortization=[replace(first, balloon=0.0), *others])
    for field in ("opening", "interest", "principal", "closing"):
        spoiled = replace(first.months[1], **{field: getattr(first.months[1], field) + 1e4})
        months = [first.months[0], spoiled, *first.months[2:]]
        assert broken(problem, amortization=[replace(first, months=months), *others]) == {"amortization:bank:2"}


def test_the_checker_finds_sources_that_make_no_sense() -> None:
    assert "sources" in broken(worked_example(), equity=float("inf"))
    assert "sources:other" in broken(worked_example(), senior={"id": "other"})
    assert "sources:mezzanine" in broken(worked_example(), senior={"id": "mezzanine"})


# What is refused


def issues_of(data: dict[str, Any]) -> dict[str, str]:
    return {
        issue.pointer: issue.code
        for issue in KIND.check(msgspec.convert(data, Problem))
        if issue.severity is Severity.ERROR
    }


def test_all_that_makes_no_sense_is_said_at_once() -> None:
    data = floating(scenarios=[])
    data["tranches"] += [
        {"id": "bank", "seniority": 1, "rate_type": "fixed", "max_amount": 1, "min_amount": 2, "term_years": 5},
        {"id": "x", "seniority": 1, "rate_type": "floating", "max_amount": 1, "term_years": 5},
    ]
    assert issues_of(data) == {
        "/scenarios": "missing_scenarios",
        "/tranches/2/id": "duplicate_id",
        "/tranches/2/rate": "missing_field",
        "/tranches/2/min_amount": "impossible_minimum",
        "/tranches/3/spread": "missing_field",
    }


def test_scenarios_need_names_of_their_own() -> None:
    data = floating()
    data["scenarios"] += [
        {"name": "low", "weight": 1, "index_rate": 0},
        {"name": EXPECTED, "weight": 1, "index_rate": 0},
    ]
    assert issues_of(data) == {"/scenarios/2/name": "duplicate_id", "/scenarios/3/name": "reserved_name"}


def test_numbers_must_be_finite_wherever_they_come_from() -> None:
    problem = msgspec.convert(floating(), Problem)
    problem = with_tranche(msgspec.structs.replace(problem, noi_annual=float("inf")), spread=float("nan"))
    assert {issue.pointer: issue.code for issue in KIND.check(problem)} == {
        "/noi_annual": "not_finite",
        "/tranches/0/spread": "not_finite",
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"purchase_price": 0},
        {"property_value": 0},
        {"noi_annual": 0},
        {"closing_costs": -1},
        {"max_ltv": 1.6},
        {"min_dscr": -0.1},
        {"analysis_years": 0},
        {"equity": {"cost_rate": 1.1}},
        {"equity": {"cost_rate": 0.1, "min_share": 1.1}},
        {"hedge": {"strike_rate": 0.03, "premium_rate": -0.01}},
        {"scenarios": [{"name": "a", "weight": 0, "index_rate": 0}]},
        {"scenarios": [{"name": "a", "weight": 1, "index_rate": -0.06}]},
        {"tranches": [worked_example()["tranches"][0] | {"seniority": 0}]},
        {"tranches": [worked_example()["tranches"][0] | {"seniority": 1.5}]},
        {"tranches": [worked_example()["tranches"][0] | {"rate": 1.01}]},
        {"tranches": [worked_example()["tranches"][0] | {"term_years": 0}]},
        {"tranches": [worked_example()["tranches"][0] | {"rate_type": "capped"}]},
        {"tranches": [worked_example()["tranches"][0] | {"colour": "red"}]},
    ],
    ids=str,
)
def test_values_outside_their_range_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(worked_example(**changes), Problem)


def test_what_has_no_effect_is_warned_of_and_solved_all_the_same() -> None:
    data = worked_example(hedge={"strike_rate": 0.03, "premium_rate": 0.01})
    data["tranches"][0]["spread"] = 0.01
    data["tranches"][1] |= {"min_amount": 250_000, "max_ltv": 0.2}
    warnings = {issue.pointer: issue.code for issue in KIND.check(msgspec.convert(data, Problem))}
    assert warnings == {
        "/hedge": "unused_hedge",
        "/tranches/0/spread": "ignored_field",
        "/tranches/1/min_amount": "never_drawn",
    }
    assert issues_of(data) == {}
    result = solve(data)
    assert result.solution is not None
    assert [source.id for source in result.solution.sources] == ["senior"]


# Infeasible, stopped, changed


def test_too_little_equity_names_what_conflicts_and_what_would_work() -> None:
    result = solve(worked_example(equity={"cost_rate": 0.12, "available": 200_000}))
    assert (result.status, result.solution, result.objective) == (SolveStatus.INFEASIBLE, None, None)
    assert result.explanation.conflicts == ["ltv", "equity_available"]
    repairs = {next(iter(repair.patch)): repair for repair in result.explanation.repairs}
    # The mezzanine bears no fee: all 300,000 of it, and what is left from the senior loan at 1 %.
    assert repairs["max_ltv"].patch["max_ltv"] == pytest.approx((300_000 + 520_000 / 0.99) / 1e6, abs=1e-6)
    assert repairs["max_ltv"].cost == pytest.approx(repairs["max_ltv"].patch["max_ltv"] - 0.75)
    assert repairs["equity"].patch == {"equity": {"available": 274_500}}
    assert repairs["purchase_price"].patch["purchase_price"] == pytest.approx(183_000 / 0.2575, abs=0.1)
    assert "Loan to value and Equity available" in result.explanation.sentences[0]


def test_every_patch_offered_can_be_posted_as_it_is() -> None:
    for changes in ({}, {"equity": {"cost_rate": 0.12, "available": 200_000}}):
        data = worked_example(**changes)
        explanation = solve(data).explanation
        offers = [*explanation.what_if, *explanation.repairs]
        assert offers
        for offer in offers:
            patched = apply_patch(data, offer.patch)
            assert patched.issues == []
            assert issues_of(patched.value) == {}
            assert solve(patched.value).status is SolveStatus.OPTIMAL


class Stopped(Silent):
    def stop_requested(self) -> bool:
        return True


@pytest.mark.parametrize("rate", [-0.05, 0.0, 1e-12, 0.95])
def test_a_loan_of_any_rate_and_many_years_is_repaid_as_its_checker_walks_it(rate: float) -> None:
    loan = {"id": "loan", "seniority": 1, "rate_type": "fixed", "rate": rate, "max_amount": 1000.0}
    loan |= {"amortization_years": 62.5, "term_years": 100.0}
    data = worked_example(
        tranches=[loan], min_dscr=0.0, analysis_years=100.0, equity={"cost_rate": 1.0}, scenarios=[], hedge=None
    )
    result = solve(data)
    (plan,) = result.solution.amortization
    assert plan.balloon == pytest.approx(0.0, abs=1e-6)
    assert sum(month.principal for month in plan.months) == pytest.approx(1000.0)
    assert KIND.verify(msgspec.convert(data, KIND.problem), result.solution) == []


def test_a_solve_that_is_stopped_says_so() -> None:
    problem = a_large_problem(conditions=True)
    result = KIND.solve(problem, SolveLimits(), Stopped())
    assert result.limit is LimitReached.STOPPED
    assert result.status in {SolveStatus.NO_SOLUTION, SolveStatus.FEASIBLE}
    assert (result.solution is None) == (result.status is SolveStatus.NO_SOLUTION)


def test_a_warm_start_does_not_change_the_answer() -> None:
    rng = random.Random(11)
    for _ in range(10):
        problem = a_problem(rng, conditions=True)
        first = solve(problem)
        if first.solution is not None:
            changed = msgspec.structs.replace(problem, max_ltv=problem.max_ltv * 0.95)
            warm = KIND.solve(changed, EXACT, Silent(), first.solution)
            assert warm.objective == (
                None if (cold := solve(changed)).objective is None else pytest.approx(cold.objective)
            )


def a_large_problem(*, conditions: bool) -> Problem:
    rng = random.Random(5)
    tranches: list[dict[str, Any]] = [
        {
            "id": f"t{k}",
            "seniority": rng.randint(1, 10),
            "rate_type": "floating" if k % 2 else "fixed",
            "spread" if k % 2 else "rate": round(rng.uniform(0.01, 0.08), 4),
            "max_amount": rng.randint(1, 40) * 1e6,
            "term_years": rng.choice([3, 5, 10]),
            "fee_rate": rng.choice([0, 0.01]),
            "amortization_years": rng.choice([None, 25]),
        }
        for k in range(60)
    ]
    if conditions:
        for tranche in tranches:
            tranche |= {"min_amount": 0.9 * tranche["max_amount"], "max_ltv": 0.2 + 0.05 * tranche["seniority"]}
    scenarios = [
        {"name": f"s{s}", "weight": 1, "index_rate": round(0.01 + 0.001 * s, 4), "noi_factor": 1 - 0.005 * s}
        for s in range(50)
    ]
    data = {
        "purchase_price": 2e8, "noi_annual": 1.3e7, "max_ltv": 0.75, "min_dscr": 1.3,
        "equity": {"cost_rate": 0.11, "min_share": 0.2}, "tranches": tranches, "scenarios": scenarios,
        "hedge": {"strike_rate": 0.025, "premium_rate": 0.01},
    }  # fmt: skip
    return msgspec.convert(data, Problem)


@pytest.mark.parametrize("conditions", [False, True])
def test_sixty_tranches_in_fifty_scenarios_are_solved_to_proof(conditions: bool) -> None:
    problem = a_large_problem(conditions=conditions)
    result = KIND.solve(problem, SolveLimits(), Silent())
    assert result.status is SolveStatus.OPTIMAL
    assert result.gap <= 1e-4
    assert KIND.verify(problem, result.solution) == []


# Why not


def test_forcing_a_tranche_shows_what_it_costs() -> None:
    data = worked_example()
    for amount, cost in ((600_000, None), (500_000, 77_820 + 0.0368 * 100_000), (0, None)):
        force = Force(tranche_id="senior", amount=amount)
        assert check_force(msgspec.convert(data, Problem), force) == []
        patched = apply_patch(data, patch_of(force))
        assert issues_of(patched.value) == {}
        result = solve(patched.value)
        assert result.solution is not None
        assert {s.id: s.amount for s in result.solution.sources}.get("senior", 0) == amount
        if cost is not None:
            assert result.objective == pytest.approx(cost)


def test_forcing_what_can_not_be_names_what_breaks() -> None:
    patched = apply_patch(worked_example(), patch_of(Force(tranche_id="senior", amount=800_000)))
    result = solve(patched.value)
    assert result.status is SolveStatus.INFEASIBLE
    assert result.explanation.conflicts == ["ltv", "min_amount:senior"]


def test_forcing_an_unknown_tranche_is_refused() -> None:
    problem = msgspec.convert(worked_example(), Problem)
    (issue,) = check_force(problem, Force(tranche_id="other", amount=1))
    assert (issue.code, issue.pointer) == ("unknown_id", "/tranche_id")


# What is shown


@given(SEEDS)
@settings(max_examples=15, deadline=None)
def test_every_answer_can_be_shown(seed: int) -> None:
    problem = a_problem(random.Random(seed), conditions=True)
    result = solve(problem)
    report = KIND.describe(problem, result)
    for table in report.tables:
        assert all(len(row) == len(table.columns) for row in table.rows)
    columns = {table.name: {column.name for column in table.columns} for table in report.tables}
    for chart in report.charts:
        assert {chart.x, *chart.y} <= columns[chart.table]
    assert {*report.front, *report.hidden_tables} <= columns.keys()
    assert report.sentences == result.explanation.sentences != []


def test_the_term_sheet_shows_what_a_signatory_looks_for() -> None:
    problem = msgspec.convert(floating(), Problem)
    report = KIND.describe(problem, solve(problem))
    assert report.front == ["terms", "uses", "dscr", "signatures"]
    terms = report.table("terms")
    bank = dict(zip([column.name for column in terms.columns], terms.rows[0], strict=True))
    assert (bank["source"], bank["pricing"], bank["repayment"]) == (
        "bank",
        "index + 2.00%, 80% capped",
        "level over 25 years",
    )
    amounts = [row[2] for row in terms.rows]
    uses = [row[1] for row in report.table("uses").rows]
    assert sum(amounts) == pytest.approx(sum(uses))
    assert [row[0] for row in report.table("signatures").rows] == ["Borrower", "Lender: bank", "Lender: mezzanine"]
    covers = {row[0]: (row[5], row[6]) for row in report.table("dscr").rows}
    assert covers.keys() == {"low", "high", "expected"}
    assert all(ratio >= covenant == 1.25 for ratio, covenant in covers.values())


@pytest.mark.parametrize("size", [1, 12])
def test_the_term_sheet_is_one_page_and_what_explains_it_follows(size: int) -> None:
    offers = [
        {"id": f"loan {k}", "seniority": 1, "rate_type": "fixed", "rate": 0.05, "max_amount": 5e4, "term_years": 5}
        for k in range(size)
    ]
    problem = msgspec.convert(worked_example(tranches=offers), Problem)
    (pdf,) = render(KIND.describe(problem, solve(problem)), FileFormat.PDF, stem="term sheet")
    first, second, *_ = (page.extract_text() for page in PdfReader(BytesIO(pdf.data)).pages)
    assert all(title in first for title in ("Sources and terms", "Uses", "Debt service cover", "Signatures"))
    assert f"Lender: loan {size - 1}" in first
    assert "In plain words" in second


def test_sentences_say_figures_with_their_units() -> None:
    sentences = solve(worked_example()).explanation.sentences
    assert (
        sentences[0]
        == "Funded by senior 600,000 EUR, mezzanine 150,000 EUR, equity 276,000 EUR: 77,820 EUR a year, 7.58 % of all uses."
    )
    assert (
        "Loan to value binds at 75 %: each percentage point more saves 300.00 EUR a year, up to 88.89 %." in sentences
    )
    assert (
        "Maximum of senior binds at 600,000 EUR: each 1,000 EUR more saves 36.80 EUR a year, up to 750,000 EUR."
        in sentences
    )


def test_the_example_is_worth_showing() -> None:
    problem = msgspec.convert(KIND.example["problem"], Problem)
    assert KIND.check(problem) == []
    result = solve(problem)
    assert result.solution is not None
    assert len(result.solution.sources) == 3
    assert any(source.hedged > 0 for source in result.solution.sources)
    assert any(c.binding for c in result.explanation.constraints if c.name.startswith("dscr:"))
