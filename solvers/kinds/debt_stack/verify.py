"""Recomputes every constraint, the objective and every figure of a funding from the problem as posted; no solver."""

from collections.abc import Iterator
from math import expm1, isfinite, log1p

import msgspec

from solvers.kinds.debt_stack.problem import (
    EXPECTED,
    Amortization,
    DscrScope,
    Payment,
    Problem,
    Scenario,
    Solution,
    Source,
    Tranche,
)
from solvers.kinds.debt_stack.terms import MONTHS, capped_rate, open_rate, scenarios_of, service_factor
from solvers.result import Violation
from solvers.violations import TOLERANCE, at_least, at_most, broken, reported

_NO_INTEREST = 1e-13
"""A year: below that, months repay alike."""


def verify(problem: Problem, solution: Solution) -> list[Violation]:
    """Return what the solution breaks; an empty list says that it holds."""
    unreadable = list(_readable(problem, solution))
    if unreadable:
        return unreadable
    offers = {tranche.id: tranche for tranche in problem.tranches}
    drawn = [(offers[source.id], source) for source in solution.sources]
    return [
        *_funding(problem, solution, drawn),
        *_equity(problem, solution, drawn),
        *_draws(problem, drawn),
        *_loan_to_value(problem, solution, drawn),
        *_cover(problem, solution, drawn),
        *_cost(problem, solution, drawn),
        *_repayment(problem, solution, drawn),
    ]


Drawn = list[tuple[Tranche, Source]]


def _readable(problem: Problem, solution: Solution) -> Iterator[Violation]:
    known = {tranche.id for tranche in problem.tranches}
    seen: set[str] = set()
    for source in solution.sources:
        if source.id not in known:
            yield Violation(constraint=f"sources:{source.id}", amount=1.0, message="There is no such tranche.")
        if source.id in seen:
            yield Violation(constraint=f"sources:{source.id}", amount=1.0, message="It is listed twice.")
        seen.add(source.id)
    numbers = [solution.equity, *(n for source in solution.sources for n in (source.amount, source.hedged))]
    if not all(isfinite(number) for number in numbers):
        yield Violation(constraint="sources", amount=1.0, message="An amount is not a finite number.")


def _extras(problem: Problem, drawn: Drawn) -> tuple[float, float]:
    """Return fees and hedge premium, in money."""
    fees = sum(tranche.fee_rate * source.amount for tranche, source in drawn)
    premium = problem.hedge.premium_rate * sum(source.hedged for _, source in drawn) if problem.hedge else 0.0
    return fees, premium


def _funding(problem: Problem, solution: Solution, drawn: Drawn) -> Iterator[Violation]:
    """Check that sources equal uses."""
    fees, premium = _extras(problem, drawn)
    total = problem.cost + fees + premium
    sources = sum(source.amount for _, source in drawn) + solution.equity
    yield from reported("sources_uses", sources, total)
    yield from reported("uses:purchase_price", solution.uses.purchase_price, problem.purchase_price)
    yield from reported("uses:closing_costs", solution.uses.closing_costs, problem.closing_costs)
    yield from reported("uses:fees", solution.uses.fees, fees)
    yield from reported("uses:hedge_premium", solution.uses.hedge_premium, premium)
    yield from reported("uses:total", solution.uses.total, total)
    for tranche, source in drawn:
        yield from reported(f"share:{tranche.id}", source.share, source.amount / total)


def _equity(problem: Problem, solution: Solution, drawn: Drawn) -> Iterator[Violation]:
    yield from at_least("equity", solution.equity, 0.0)
    if problem.equity.available is not None:
        yield from at_most("equity_available", solution.equity, problem.equity.available)
    sources = sum(source.amount for _, source in drawn) + solution.equity
    yield from at_least("equity_min_share", solution.equity / sources if sources else 0.0, problem.equity.min_share)


def _draws(problem: Problem, drawn: Drawn) -> Iterator[Violation]:
    """Check each listed tranche as a drawn one: within its amounts, hedged within its share."""
    for tranche, source in drawn:
        yield from at_least(f"amount:{tranche.id}", source.amount, 0.0)
        yield from at_most(f"max_amount:{tranche.id}", source.amount, tranche.max_amount)
        yield from at_least(f"min_amount:{tranche.id}", source.amount, tranche.min_amount)
        share = problem.hedge.max_share if problem.hedge and tranche.floating else 0.0
        yield from at_least(f"hedge:{tranche.id}", source.hedged, 0.0)
        yield from at_most(f"hedge:{tranche.id}", source.hedged / source.amount if source.amount else 0.0, share)


def _loan_to_value(problem: Problem, solution: Solution, drawn: Drawn) -> Iterator[Violation]:
    debt = sum(source.amount for _, source in drawn)
    yield from at_most("ltv", debt / problem.value, problem.max_ltv)
    yield from reported("ltv", solution.ltv, debt / problem.value)
    yield from reported("debt_yield", solution.debt_yield, problem.noi_annual / debt if debt else None)
    for tranche, source in drawn:
        ahead = sum(other.amount for offer, other in drawn if offer.seniority <= tranche.seniority) / problem.value
        yield from reported(f"cumulative_ltv:{tranche.id}", source.cumulative_ltv, ahead)
        if tranche.max_ltv is not None:
            yield from at_most(f"ltv:{tranche.id}", ahead, tranche.max_ltv)


def _service(problem: Problem, scenario: Scenario, drawn: Drawn) -> float:
    """Return a year's debt service in one scenario, in money."""
    service = 0.0
    for tranche, source in drawn:
        years = tranche.amortization_years
        service += (source.amount - source.hedged) * service_factor(open_rate(tranche, scenario), years)
        if problem.hedge:
            service += source.hedged * service_factor(capped_rate(tranche, scenario, problem.hedge.strike_rate), years)
    return service


def _cover(problem: Problem, solution: Solution, drawn: Drawn) -> Iterator[Violation]:
    for name in solution.dscr.keys() - {scenario.name for scenario in scenarios_of(problem)} - {EXPECTED}:
        yield Violation(constraint=f"dscr:{name}", amount=1.0, message="There is no such scenario.")
    incomes, services, weights = [], [], []
    for scenario in scenarios_of(problem):
        incomes.append(problem.noi_annual * scenario.noi_factor)
        services.append(_service(problem, scenario, drawn))
        weights.append(scenario.weight)
        yield from _ratio(problem, solution, scenario.name, incomes[-1], services[-1])
    income = sum(w * x for w, x in zip(weights, incomes, strict=True))
    service = sum(w * x for w, x in zip(weights, services, strict=True))
    yield from _ratio(problem, solution, EXPECTED, income, service)


def _ratio(problem: Problem, solution: Solution, name: str, income: float, service: float) -> Iterator[Violation]:
    ratio = income / service if service > 0 else None
    yield from reported(f"dscr:{name}", solution.dscr.get(name), ratio)
    if ratio is not None and (name == EXPECTED) == (problem.dscr_scope is DscrScope.EXPECTED):
        yield from at_least(f"dscr:{name}", ratio, problem.min_dscr)


def _cost(problem: Problem, solution: Solution, drawn: Drawn) -> Iterator[Violation]:
    """Check the objective, and what each tranche costs in the mean."""
    cost = problem.equity.cost_rate * solution.equity
    for tranche, source in drawn:
        interest = 0.0
        for scenario in scenarios_of(problem):
            interest += scenario.weight * open_rate(tranche, scenario) * (source.amount - source.hedged)
            if problem.hedge:
                capped = capped_rate(tranche, scenario, problem.hedge.strike_rate)
                interest += scenario.weight * capped * source.hedged
        premium = problem.hedge.premium_rate * source.hedged if problem.hedge else 0.0
        cost += interest + (tranche.fee_rate * source.amount + premium) / tranche.term_years
        mean = interest / source.amount if source.amount else 0.0
        yield from reported(f"rate_expected:{tranche.id}", source.rate_expected, mean)
    yield from reported("annual_cost", solution.annual_cost, cost)
    total = problem.cost + sum(_extras(problem, drawn))
    yield from reported("weighted_cost_of_capital", solution.weighted_cost_of_capital, cost / total)


def _repayment(problem: Problem, solution: Solution, drawn: Drawn) -> Iterator[Violation]:
    plans = {plan.tranche_id: plan for plan in solution.amortization}
    if plans.keys() != {tranche.id for tranche, _ in drawn} or len(plans) != len(solution.amortization):
        message = "There must be one amortization for each drawn tranche."
        yield Violation(constraint="amortization", amount=1.0, message=message)
        return
    for tranche, source in drawn:
        yield from _plan(problem, tranche, source, plans[tranche.id])


def _plan(problem: Problem, tranche: Tranche, source: Source, plan: Amortization) -> Iterator[Violation]:
    """Walk the months one by one: interest on what is owed; of a level payment more repays by the interest saved."""
    name = f"amortization:{tranche.id}"
    yield from reported(name, plan.rate, source.rate_expected)
    years = tranche.amortization_years
    growth = 1 + source.rate_expected / MONTHS
    first = source.amount * _first_repayment(source.rate_expected, years)
    term = int(MONTHS * tranche.term_years + TOLERANCE)
    shown = int(MONTHS * min(problem.analysis_years, tranche.term_years) + TOLERANCE)
    if len(plan.months) != shown:
        yield Violation(constraint=name, amount=abs(len(plan.months) - shown), message=f"{shown} months were asked.")
        return
    owed = source.amount
    for month in range(1, term + 1):
        interest = owed * source.rate_expected / MONTHS
        principal = min(owed, first * growth ** (month - 1))
        if month <= shown:
            true = Payment(month=month, opening=owed, interest=interest, principal=principal, closing=owed - principal)
            for field in msgspec.structs.fields(Payment):
                stated, right = getattr(plan.months[month - 1], field.name), getattr(true, field.name)
                yield from broken(f"{name}:{month}", abs(stated - right), source.amount, f"{field.name} is {right}.")
        owed -= principal
    yield from broken(f"{name}:balloon", abs(plan.balloon - owed), source.amount, f"It should be {owed:,.2f}.")


def _first_repayment(rate: float, years: float | None) -> float:
    """Return what the first month repays per unit: the repayments of all months, each (1 + i) of the last, add up to 1.

    Beside an interest of a hundred per cent, nothing would be left of it as the rest of the payment.
    """
    if years is None:
        return 0.0
    months, monthly = MONTHS * years, rate / MONTHS
    return monthly / expm1(months * log1p(monthly)) if abs(rate) > _NO_INTEREST else 1 / months
