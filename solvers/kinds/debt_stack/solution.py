"""From the values of the variables to a funding that people can read."""

from solvers.backends.model import Floats
from solvers.kinds.debt_stack.formulation import Funding
from solvers.kinds.debt_stack.problem import EXPECTED, Solution, Source, Uses
from solvers.kinds.debt_stack.terms import amortize

DUST = 1e-9
"""Of the purchase's cost, or of the most on offer if that is less: an amount below is a solver's rounding, no loan."""


def solution_from(parts: Funding, x: Floats) -> Solution:
    """Return the funding that the variables' values x, shape (columns,), describe; equity closes the sum exactly."""
    problem = parts.problem
    order = sorted(range(parts.size), key=lambda k: (problem.tranches[k].seniority, k))
    drawn = [k for k in order if x[k] > DUST * parts.full(k)]
    amounts = {k: float(x[k]) for k in drawn}
    hedged = {k: _hedged(parts, x, k) for k in drawn}
    uses = _uses(parts, amounts, hedged)
    debt = sum(amounts.values())
    equity = max(0.0, uses.total - debt)
    cost = problem.equity.cost_rate * equity
    cost += sum(float(parts.cost[k] * amounts[k] + parts.hedge_cost[k] * hedged[k]) for k in drawn)
    sources = [_source(parts, k, amounts, hedged[k], uses.total) for k in drawn]
    offers = {tranche.id: tranche for tranche in problem.tranches}
    return Solution(
        sources=sources,
        equity=equity,
        uses=uses,
        annual_cost=cost,
        weighted_cost_of_capital=cost / uses.total,
        ltv=debt / problem.value,
        dscr=covers_of(parts, amounts, hedged),
        debt_yield=problem.noi_annual / debt if debt else None,
        amortization=[
            amortize(offers[source.id], source.amount, source.rate_expected, problem.analysis_years)
            for source in sources
        ],
    )


def covers_of(parts: Funding, amounts: dict[int, float], hedged: dict[int, float]) -> dict[str, float | None]:
    """Return income ÷ debt service by scenario, and of the means; null where no service is due."""
    services = [
        sum(float(parts.service[s, k] * amounts[k] + parts.hedge_service[s, k] * hedged[k]) for k in amounts)
        for s in range(len(parts.names))
    ]
    ratios: dict[str, float | None] = {
        name: float(income) / service if service > 0 else None
        for name, income, service in zip(parts.names, parts.incomes, services, strict=True)
    }
    mean = float(parts.weights @ services)
    ratios[EXPECTED] = float(parts.weights @ parts.incomes) / mean if mean > 0 else None
    return ratios


def _hedged(parts: Funding, x: Floats, k: int) -> float:
    if k not in parts.hedge_column:
        return 0.0
    hedged = min(float(x[parts.hedge_column[k]]), float(x[k]))
    return hedged if hedged > DUST * parts.full(k) else 0.0


def _uses(parts: Funding, amounts: dict[int, float], hedged: dict[int, float]) -> Uses:
    problem = parts.problem
    fees = sum(problem.tranches[k].fee_rate * amount for k, amount in amounts.items())
    premium = problem.hedge.premium_rate * sum(hedged.values()) if problem.hedge else 0.0
    return Uses(
        purchase_price=problem.purchase_price,
        closing_costs=problem.closing_costs,
        fees=fees,
        hedge_premium=premium,
        total=problem.cost + fees + premium,
    )


def _source(parts: Funding, k: int, amounts: dict[int, float], hedged: float, total: float) -> Source:
    ahead = sum(amounts.get(j, 0.0) for j in parts.up_to[k])
    interest = float(parts.rate[k] * amounts[k] + parts.hedge_rate[k] * hedged)
    return Source(
        id=parts.problem.tranches[k].id,
        amount=amounts[k],
        share=amounts[k] / total,
        rate_expected=interest / amounts[k],
        cumulative_ltv=ahead / parts.problem.value,
        hedged=hedged,
    )
