"""What debt costs: rates paid in a scenario, debt service per unit, and the months of repayment. Arithmetic only."""

from itertools import pairwise
from math import expm1, floor, log1p

from solvers.kinds.debt_stack.problem import Amortization, Payment, Problem, Scenario, Tranche

MONTHS = 12
_NO_INTEREST = 1e-13
"""A year: below that the rates' formulas divide rounding by rounding."""


def scenarios_of(problem: Problem) -> list[Scenario]:
    """Return the scenarios with weights that sum to 1; where none are given, one called "base"."""
    scenarios = problem.scenarios or [Scenario(name="base", weight=1.0, index_rate=0.0)]
    total = sum(scenario.weight for scenario in scenarios)
    return [
        Scenario(name=one.name, weight=one.weight / total, index_rate=one.index_rate, noi_factor=one.noi_factor)
        for one in scenarios
    ]


def open_rate(tranche: Tranche, scenario: Scenario) -> float:
    """Return the interest rate a year on what is not hedged: the fixed rate, or index + spread."""
    return scenario.index_rate + (tranche.spread or 0.0) if tranche.floating else tranche.rate or 0.0


def capped_rate(tranche: Tranche, scenario: Scenario, strike_rate: float) -> float:
    """Return the interest rate a year on hedged notional: min(index, strike) + spread."""
    return min(scenario.index_rate, strike_rate) + (tranche.spread or 0.0)


def service_factor(rate: float, amortization_years: float | None) -> float:
    """Return K(r), a year's debt service per unit of loan.

    Interest only: r. Else 12 × the level monthly payment i ÷ (1 − (1 + i)^−n) with i = r/12 and n = 12 × years; at
    r = 0 that is 1/years.
    """
    if amortization_years is None:
        return rate
    if abs(rate) < _NO_INTEREST:
        return 1.0 / amortization_years
    return rate / -expm1(-MONTHS * amortization_years * log1p(rate / MONTHS))


def balance_after(month: int, rate: float, amortization_years: float | None) -> float:
    """Return what is still owed per unit of loan after so many months of level payments: 1 at first, never below 0.

    B(m) = ((1 + i)^n − (1 + i)^m) ÷ ((1 + i)^n − 1), written so that it neither overflows nor cancels.
    """
    if amortization_years is None:
        return 1.0
    left = MONTHS * amortization_years - month
    if left <= 0:
        return 0.0
    if abs(rate) < _NO_INTEREST:
        return left / (MONTHS * amortization_years)
    growth = log1p(rate / MONTHS)
    return expm1(-left * growth) / expm1(-MONTHS * amortization_years * growth)


def amortize(tranche: Tranche, amount: float, rate: float, analysis_years: float) -> Amortization:
    """Return the months of a tranche drawn at `amount` (money), at one rate a year throughout."""
    last = floor(MONTHS * min(analysis_years, tranche.term_years) + 1e-9)
    balances = [amount * balance_after(month, rate, tranche.amortization_years) for month in range(last + 1)]
    months = [
        Payment(month=month, opening=before, interest=before * rate / MONTHS, principal=before - after, closing=after)
        for month, (before, after) in enumerate(pairwise(balances), start=1)
    ]
    term = floor(MONTHS * tranche.term_years + 1e-9)
    balloon = amount * balance_after(term, rate, tranche.amortization_years)
    return Amortization(tranche_id=tranche.id, rate=rate, months=months, balloon=balloon)
