"""The debt stack against another formulation in another solver: every set of drawn tranches, each an LP in GLOP."""

import random
from collections.abc import Iterator
from itertools import chain, combinations
from typing import Any

import msgspec
import pytest
from ortools.linear_solver import pywraplp

from solvers.issues import has_errors
from solvers.kinds.debt_stack import KIND
from solvers.kinds.debt_stack.problem import Problem
from solvers.limits import SolveLimits
from solvers.progress import Silent
from solvers.result import SolveStatus

EXACT = SolveLimits(relative_gap=0.0, threads=1)


def annuity(rate: float, years: float | None) -> float:
    """A year's debt service per unit, by summing the discount factors of whole months."""
    if years is None:
        return rate
    factors = [(1 + rate / 12) ** -month for month in range(1, round(12 * years) + 1)]
    return 12 / sum(factors)


def least_cost(problem: Problem) -> float | None:
    """The optimum by trying every set of tranches that may be drawn; None: infeasible."""
    costs = [cost for undrawn in sets_of(problem) if (cost := least_cost_without(problem, undrawn)) is not None]
    return min(costs, default=None)


def can_hold(problem: Problem, names: set[str]) -> bool:
    """Whether there is a funding when only the named constraints have to hold."""
    return any(least_cost_without(problem, undrawn, names) is not None for undrawn in sets_of(problem))


def sets_of(problem: Problem) -> Iterator[set[int]]:
    free = [(k, t) for k, t in enumerate(problem.tranches) if not t.required]
    bound = [k for k, t in free if t.min_amount > 0 or t.max_ltv is not None]
    return map(set, chain.from_iterable(combinations(bound, size) for size in range(len(bound) + 1)))


def least_cost_without(  # noqa: C901 (one program, written down once, from top to bottom)
    problem: Problem, undrawn: set[int], names: set[str] | None = None
) -> float | None:
    """The linear program in which some tranches stay undrawn and all others meet their conditions.

    Money is in units of the purchase's cost. names: the constraints that have to hold; None: all, at the least cost.
    """

    def limit(name: str, amount: float) -> float:
        return amount if names is None or name in names else lp.infinity()

    size = problem.purchase_price + problem.closing_costs
    value = (problem.property_value or problem.purchase_price) / size
    scenarios = [(s.weight, s.index_rate, s.noi_factor, s.name) for s in problem.scenarios] or [(1.0, 0.0, 1.0, "base")]
    total_weight = sum(scenario[0] for scenario in scenarios)
    lp = pywraplp.Solver.CreateSolver("GLOP")
    available = lp.infinity() if problem.equity.available is None else problem.equity.available / size
    equity = lp.NumVar(0, limit("equity_available", available), "")
    plain, capped = [], []
    for k, tranche in enumerate(problem.tranches):
        may_hedge = problem.hedge is not None and tranche.rate_type == "floating"
        plain.append(lp.NumVar(0, lp.infinity(), ""))
        capped.append(lp.NumVar(0, lp.infinity() if may_hedge else 0, ""))
        most = limit(f"max_amount:{tranche.id}", tranche.max_amount / size)
        lp.Add(plain[k] + capped[k] <= (0 if k in undrawn else most))
        if k not in undrawn:
            lp.Add(plain[k] + capped[k] >= -limit(f"min_amount:{tranche.id}", -tranche.min_amount / size))
        if may_hedge and limit(f"hedge:{tranche.id}", 0) == 0:
            lp.Add(capped[k] <= problem.hedge.max_share * (plain[k] + capped[k]))
    debt = [a + b for a, b in zip(plain, capped, strict=True)]
    premium = problem.hedge.premium_rate * sum(capped) if problem.hedge and problem.tranches else 0
    fees = sum((t.fee_rate * d for t, d in zip(problem.tranches, debt, strict=True)), start=0)
    lp.Add(sum(debt, start=equity) == 1 + fees + premium)
    lp.Add(problem.equity.min_share * sum(debt, start=equity) - equity <= limit("equity_min_share", 0))
    lp.Add(sum(debt, start=0 * equity) <= limit("ltv", problem.max_ltv * value))
    for k, tranche in enumerate(problem.tranches):
        if tranche.max_ltv is not None and k not in undrawn:
            ahead = [d for d, other in zip(debt, problem.tranches, strict=True) if other.seniority <= tranche.seniority]
            lp.Add(sum(ahead) <= limit(f"ltv:{tranche.id}", tranche.max_ltv * value))
    cost, mean_service, mean_income = problem.equity.cost_rate * equity, 0 * equity, 0.0
    for weight, index, factor, name in scenarios:
        service = 0 * equity
        for k, tranche in enumerate(problem.tranches):
            rate = index + tranche.spread if tranche.rate_type == "floating" else tranche.rate
            strike = problem.hedge.strike_rate if problem.hedge else index
            hedged = min(index, strike) + tranche.spread if tranche.rate_type == "floating" else rate
            service += annuity(rate, tranche.amortization_years) * plain[k]
            service += annuity(hedged, tranche.amortization_years) * capped[k]
            cost += weight / total_weight * (rate * plain[k] + hedged * capped[k])
        if problem.dscr_scope == "every_scenario":
            lp.Add(problem.min_dscr * service <= limit(f"dscr:{name}", problem.noi_annual * factor / size))
        mean_service += weight / total_weight * service
        mean_income += weight / total_weight * problem.noi_annual * factor / size
    if problem.dscr_scope == "expected":
        lp.Add(problem.min_dscr * mean_service <= limit("dscr:expected", mean_income))
    for k, tranche in enumerate(problem.tranches):
        cost += tranche.fee_rate / tranche.term_years * debt[k]
        cost += (problem.hedge.premium_rate if problem.hedge else 0.0) / tranche.term_years * capped[k]
    lp.Minimize(cost if names is None else 0 * equity)
    return lp.Objective().Value() * size if lp.Solve() == pywraplp.Solver.OPTIMAL else None


def a_problem(rng: random.Random, *, conditions: bool) -> Problem:
    """A random funding of up to five tranches; round numbers and ties are common, and so is too little equity."""
    price = rng.choice([1e6, 2.5e7, round(rng.uniform(1e5, 1e9), 2)])
    round_numbers = rng.random() < 0.4

    def amount(low: float, high: float) -> float:
        share = rng.choice([0.1, 0.2, 0.25, 0.5, 0.6]) if round_numbers else rng.uniform(low, high)
        return round(share * price, 2)

    def rate(low: float, high: float) -> float:
        return rng.choice([0.03, 0.05, 0.05, 0.08]) if round_numbers else round(rng.uniform(low, high), 5)

    tranches: list[dict[str, Any]] = []
    for k in range(rng.randint(0, 5)):
        floating = rng.random() < 0.5
        most = amount(0.02, 0.8)
        tranche: dict[str, Any] = {
            "id": f"t{k}",
            "seniority": rng.randint(1, 3),
            "rate_type": "floating" if floating else "fixed",
            "spread" if floating else "rate": rate(0.0, 0.05) if floating else rate(0.01, 0.13),
            "max_amount": most,
            "term_years": rng.choice([3, 5, 7, 10]),
            "fee_rate": rng.choice([0.0, 0.01, 0.02]),
            "amortization_years": rng.choice([None, None, 15, 25, 30]),
        }
        if conditions and rng.random() < 0.6:
            tranche["min_amount"] = round(most * rng.choice([0.25, 0.5, 1.0]), 2)
        if conditions and rng.random() < 0.6:
            tranche["max_ltv"] = rng.choice([0.3, 0.5, 0.6, 0.7])
        if conditions and rng.random() < 0.1:
            tranche["required"] = True
        tranches.append(tranche)
    data: dict[str, Any] = {
        "purchase_price": price,
        "closing_costs": rng.choice([0.0, round(0.03 * price, 2)]),
        "property_value": rng.choice([None, None, round(rng.uniform(0.8, 1.2) * price, 2)]),
        "noi_annual": round(rng.uniform(0.02, 0.1) * price, 2),
        "max_ltv": rng.choice([0.5, 0.6, 0.75, 0.9]),
        "min_dscr": rng.choice([0.0, 1.0, 1.2, 1.25, 1.5]),
        "dscr_scope": rng.choice(["every_scenario", "expected"]),
        "equity": {"cost_rate": rng.choice([0.04, 0.08, 0.12]), "min_share": rng.choice([0, 0, 0.2, 0.35])},
        "tranches": tranches,
        "scenarios": [
            {
                "name": f"s{s}",
                "weight": rng.choice([1, 2, 0.5]),
                "index_rate": rng.choice([-0.01, 0.0, 0.02, 0.03, 0.06]),
                "noi_factor": rng.choice([1.0, 1.0, 0.8, 1.1]),
            }
            for s in range(rng.randint(1, 4))
        ],
    }
    if rng.random() < 0.4:
        data["equity"]["available"] = round(rng.uniform(0.1, 0.8) * price, 2)
    if rng.random() < 0.5:
        strike, premium = rng.choice([0.01, 0.02, 0.03]), rng.choice([0.0, 0.002, 0.01])
        data["hedge"] = {"strike_rate": strike, "premium_rate": premium, "max_share": rng.choice([1.0, 0.5, 0.0])}
    problem = msgspec.convert(data, Problem)
    assert not has_errors(KIND.check(problem))
    return problem


@pytest.mark.parametrize("conditions", [False, True], ids=["linear", "with conditions"])
@pytest.mark.parametrize("seed", range(8))
def test_the_cost_is_that_of_another_formulation_in_another_solver(seed: int, conditions: bool) -> None:
    rng = random.Random(f"{seed} {conditions}")
    for _ in range(25):
        problem = a_problem(rng, conditions=conditions)
        expected, result = least_cost(problem), KIND.solve(problem, EXACT, Silent())
        if expected is None:
            assert result.status is SolveStatus.INFEASIBLE
            assert (result.solution, result.objective, result.bound, result.gap) == (None, None, None, None)
        else:
            assert result.status is SolveStatus.OPTIMAL
            assert result.objective == pytest.approx(expected, rel=1e-7)
            assert result.bound == pytest.approx(expected, rel=1e-7)
            assert KIND.verify(problem, result.solution) == []


def test_an_offer_of_one_size_only_is_weighed_against_not_drawing_it() -> None:
    """HiGHS 1.14.0 presolved this program to a plan without the offer and called it optimal."""
    offers = [
        ("a", 2, 0.04028, 2303818.1, 0.0, None, None, 7),
        ("b", 3, 0.04124, 14257075.99, 14257075.99, 0.6, 30, 5),
        ("c", 2, 0.01466, 628922.72, 0.0, 0.3, 15, 3),
    ]
    names = ("id", "seniority", "spread", "max_amount", "min_amount", "max_ltv", "amortization_years", "term_years")
    data = {
        "purchase_price": 25e6,
        "property_value": 29932491.08,
        "noi_annual": 2410485.36,
        "max_ltv": 0.5,
        "min_dscr": 1.25,
        "equity": {"cost_rate": 0.08, "min_share": 0.2},
        "tranches": [{"rate_type": "floating"} | dict(zip(names, offer, strict=True)) for offer in offers],
        "scenarios": [
            {"name": "low", "weight": 3, "index_rate": -0.01},
            {"name": "high", "weight": 2, "index_rate": 0.06},
        ],
    }
    problem = msgspec.convert(data, Problem)
    result = KIND.solve(problem, EXACT, Silent())
    assert result.objective == pytest.approx(least_cost(problem))
    assert "b" in {source.id for source in result.solution.sources}


def test_the_random_problems_are_of_every_sort() -> None:
    rng = random.Random(1)
    results = [KIND.solve(a_problem(rng, conditions=True), EXACT, Silent()) for _ in range(150)]
    sorts = {(result.status, result.explanation.dual_kind) for result in results}
    assert {(status.value, kind.value) for status, kind in sorts} == {
        ("optimal", "lp"),
        ("optimal", "fixed_integer"),
        ("infeasible", "none"),
    }
