"""The funding as a linear or mixed-integer program: variables, objective and rows, each reading like its formula.

Variables: drawn d_k; hedged h_k of floating tranches under a hedge; equity e; and, while it is open whether a tranche
with conditions of its own is drawn, a switch z_k ∈ {0, 1}. Every constraint that people hear of is a row of its name.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from solvers.backends.model import INFINITY, Floats, Model, Row, model_from_rows
from solvers.kinds.debt_stack.problem import EXPECTED, DscrScope, Problem
from solvers.kinds.debt_stack.terms import capped_rate, open_rate, scenarios_of, service_factor

Choices = Mapping[int, bool]
"""Conditional tranche → whether it may be drawn under its conditions (True) or stays at 0 (False)."""


@dataclass(frozen=True, kw_only=True)
class Funding:
    """What the program is made of, computed once from the problem. n tranches, S scenarios; money unless said.

    weights, incomes: shape (S,), incomes a year. rate, hedge_rate: mean interest per unit drawn, and the change of it
    per unit hedged, shape (n,); cost, hedge_cost: the same with fees and premium, the objective. service,
    hedge_service: a year's debt service per unit drawn, and the change of it per unit hedged, (S, n).
    separate: whether each row must be right on its own, so that others may be left out to find which ones conflict.
    """

    problem: Problem
    names: list[str]
    weights: Floats
    incomes: Floats
    rate: Floats
    hedge_rate: Floats
    cost: Floats
    hedge_cost: Floats
    service: Floats
    hedge_service: Floats
    separate: bool = False

    @cached_property
    def size(self) -> int:
        """The number of tranches."""
        return len(self.problem.tranches)

    @cached_property
    def hedge_column(self) -> dict[int, int]:
        """Tranche → column of its hedge variable, for those that have one."""
        floating = [k for k, tranche in enumerate(self.problem.tranches) if tranche.floating and self.problem.hedge]
        return {k: self.size + place for place, k in enumerate(floating)}

    @cached_property
    def equity_column(self) -> int:
        """The column of equity."""
        return self.size + len(self.hedge_column)

    @cached_property
    def up_to(self) -> list[list[int]]:
        """For each tranche the tranches that rank with it or before it, itself included."""
        ranks = [tranche.seniority for tranche in self.problem.tranches]
        return [[j for j in range(self.size) if ranks[j] <= ranks[k]] for k in range(self.size)]

    @property
    def debt_limit(self) -> float:
        """The most debt in all, in money."""
        return self.problem.max_ltv * self.problem.value

    def full(self, k: int) -> float:
        """Return what all of tranche k comes to in this purchase, in money: the most on offer, or the whole cost."""
        return min(self.problem.cost, self.problem.tranches[k].max_amount)

    def own_limit(self, k: int) -> float:
        """Return the most debt up to tranche k if it is drawn, in money; ∞ without a limit of its own."""
        own = self.problem.tranches[k].max_ltv
        return INFINITY if own is None else own * self.problem.value

    def most(self, tranches: list[int]) -> float:
        """Return the most that these tranches can come to, in money; a row on its own only knows a safe bound."""
        if self.separate:
            return 10 * self.problem.cost
        offered = sum(self.problem.tranches[k].max_amount for k in tranches)
        return min(offered, self.debt_limit, self._most_needed(tranches))

    def _most_needed(self, tranches: list[int]) -> float:
        """Return the most of these tranches that the purchase has a use for: what is drawn pays for it, less fees."""
        hedge = self.problem.hedge
        premium = hedge.premium_rate * hedge.max_share if hedge else 0.0
        pays = [1 - tranche.fee_rate - premium for tranche in self.problem.tranches]
        least = min((pays[k] for k in tranches), default=1.0)
        return self.problem.cost / least if least > 0 and min(pays) >= 0 else INFINITY

    def may_exceed(self, k: int) -> bool:
        """Tell whether the debt up to tranche k can reach its own limit while k is not drawn."""
        return self.most([j for j in self.up_to[k] if j != k]) >= self.own_limit(k)

    @cached_property
    def conditional(self) -> list[int]:
        """Tranches with a condition that binds once they are drawn, and would cut off answers if it always did."""
        tranches = self.problem.tranches
        free = [k for k in range(self.size) if not tranches[k].required]
        return [k for k in free if tranches[k].min_amount > 0 or self.may_exceed(k)]

    @cached_property
    def covers(self) -> list[tuple[str, Floats, Floats, float]]:
        """What must be covered: name, service per unit drawn and per unit hedged, shape (n,) each, and income."""
        names, service, hedged, incomes = self.names, self.service, self.hedge_service, self.incomes
        if self.problem.dscr_scope is DscrScope.EXPECTED:
            mean = self.weights
            return [(EXPECTED, mean @ service, mean @ hedged, float(mean @ incomes))]
        return list(zip(names, service, hedged, incomes.tolist(), strict=True))


def funding(problem: Problem) -> Funding:
    """Compute rates, service and cost per unit for every tranche and scenario."""
    scenarios, tranches, strike = (
        scenarios_of(problem),
        problem.tranches,
        problem.hedge.strike_rate if problem.hedge else None,
    )
    rates, capped, service, hedged = (np.zeros((len(scenarios), len(tranches))) for _ in range(4))
    for s, scenario in enumerate(scenarios):
        for k, tranche in enumerate(tranches):
            rates[s, k] = capped[s, k] = open_rate(tranche, scenario)
            if tranche.floating and strike is not None:
                capped[s, k] = capped_rate(tranche, scenario, strike)
            service[s, k] = service_factor(rates[s, k], tranche.amortization_years)
            hedged[s, k] = service_factor(capped[s, k], tranche.amortization_years)
    weights = np.array([scenario.weight for scenario in scenarios])
    terms = np.array([tranche.term_years for tranche in tranches])
    fees = np.array([tranche.fee_rate for tranche in tranches])
    premium = problem.hedge.premium_rate if problem.hedge else 0.0
    return Funding(
        problem=problem,
        names=[scenario.name for scenario in scenarios],
        weights=weights,
        incomes=problem.noi_annual * np.array([scenario.noi_factor for scenario in scenarios]),
        rate=weights @ rates,
        hedge_rate=weights @ (capped - rates),
        cost=weights @ rates + fees / terms,
        hedge_cost=weights @ (capped - rates) + premium / terms,
        service=service,
        hedge_service=hedged - service,
    )


def relaxation(parts: Funding) -> Model:
    """Return the linear program without the conditions of drawn tranches: a lower bound, and often the answer."""
    return _model(parts, dict.fromkeys(parts.conditional))


def program(parts: Funding) -> Model:
    """Return the whole program, with a switch for each tranche whose conditions matter."""
    return _model(parts, {})


def separable(parts: Funding) -> Model:
    """Return the whole program with rows that are right each on its own: weaker, for finding conflicts."""
    return _model(replace(parts, separate=True), {})


def decided(parts: Funding, choices: Choices) -> Model:
    """Return the linear program left when it is decided which conditional tranches may be drawn."""
    return _model(parts, dict(choices))


def _model(parts: Funding, choices: dict[int, bool | None]) -> Model:
    """Choices: True, drawn under its conditions; False, not drawn; None, its conditions left out; absent, a switch."""
    choices |= {k: True for k, tranche in enumerate(parts.problem.tranches) if tranche.required}
    open_choices = [k for k in parts.conditional if k not in choices]
    switches = {k: parts.equity_column + 1 + place for place, k in enumerate(open_choices)}
    columns = parts.equity_column + 1 + len(switches)
    upper = np.full(columns, INFINITY)
    upper[[k for k, choice in choices.items() if choice is False]] = 0.0
    upper[parts.equity_column + 1 :] = 1.0
    integer = np.arange(columns) > parts.equity_column
    return model_from_rows(
        costs=_objective(parts, columns),
        lower=np.zeros(columns),
        upper=upper,
        rows=list(_rows(parts, choices, switches)),
        integer=integer if switches else None,
        sizes=_sizes(parts, columns),
    )


def _sizes(parts: Funding, columns: int) -> Floats:
    """Return about how large each variable can be: as the cost, or as the income covers of a tranche alone."""
    problem = parts.problem
    share = problem.hedge.max_share if problem.hedge else 0.0
    most = np.full(parts.size, problem.cost)
    for _, service, hedged, income in [] if parts.separate else parts.covers:
        needed = problem.min_dscr * (service + share * np.minimum(hedged, 0.0))
        if income > 0 and (needed >= 0).all():
            most = np.minimum(most, income / np.maximum(needed, income / problem.cost))
    sizes = np.full(columns, problem.cost)
    sizes[: parts.size] = most
    sizes[list(parts.hedge_column.values())] = most[list(parts.hedge_column)]
    return sizes


def _objective(parts: Funding, columns: int) -> Floats:
    """Σ cost_k d_k + Σ hedge_cost_k h_k + cost_rate · e: the expected annual cost."""
    costs = np.zeros(columns)
    costs[: parts.size] = parts.cost
    for k, column in parts.hedge_column.items():
        costs[column] = parts.hedge_cost[k]
    costs[parts.equity_column] = parts.problem.equity.cost_rate
    return costs


def _rows(parts: Funding, choices: Mapping[int, bool | None], switches: Mapping[int, int]) -> Iterator[Row]:
    """Yield the rows; in a conflict those are named that come last, so the most particular come first."""
    yield from _hedges(parts)
    yield from _minimums(parts, choices, switches)
    yield from _own_loan_to_value(parts, choices, switches)
    yield from _maximums(parts)
    yield from _equity_min_share(parts)
    yield from _cover(parts)
    yield _loan_to_value(parts)
    yield from _equity_available(parts)
    yield from _switched_draws(parts, switches)
    yield _sources_uses(parts)


def _sources_uses(parts: Funding) -> Row:
    """Σ (1 − fee_k) d_k + e − Σ premium h_k = price + closing costs."""
    problem = parts.problem
    columns = [*range(parts.size), parts.equity_column, *parts.hedge_column.values()]
    premium = problem.hedge.premium_rate if problem.hedge else 0.0
    values = [*(1 - tranche.fee_rate for tranche in problem.tranches), 1.0, *(-premium for _ in parts.hedge_column)]
    return Row("purchase_price", columns, values, problem.cost, problem.cost)


def _loan_to_value(parts: Funding) -> Row:
    """Σ d_k ≤ max_ltv × value."""
    return Row("ltv", range(parts.size), np.ones(parts.size), upper=parts.debt_limit)


def _own_loan_to_value(
    parts: Funding, choices: Mapping[int, bool | None], switches: Mapping[int, int]
) -> Iterator[Row]:
    """Σ d up to k ≤ own limit once k is drawn; while that is open, ≤ own limit + (most − own limit)(1 − z_k)."""
    for k, tranche in enumerate(parts.problem.tranches):
        limit, debt = parts.own_limit(k), parts.up_to[k]
        name, ones = f"ltv:{tranche.id}", [1.0] * len(debt)
        if tranche.max_ltv is None:
            continue
        if not parts.may_exceed(k) or choices.get(k):
            yield Row(name, debt, ones, upper=limit)
        elif k in switches:
            most = parts.most(debt)
            yield Row(name, [*debt, switches[k]], [*ones, most - limit], upper=most)


def _cover(parts: Funding) -> Iterator[Row]:
    """min_dscr × (Σ service_k d_k + Σ hedge_service_k h_k) ≤ income."""
    columns = [*range(parts.size), *parts.hedge_column.values()]
    for name, service, hedged, income in parts.covers:
        values = parts.problem.min_dscr * np.concatenate([service, hedged[list(parts.hedge_column)]])
        yield Row(f"dscr:{name}", columns, values, upper=income)


def _maximums(parts: Funding) -> Iterator[Row]:
    """d_k ≤ max_amount."""
    for k, tranche in enumerate(parts.problem.tranches):
        yield Row(f"max_amount:{tranche.id}", [k], [1.0], upper=tranche.max_amount)


def _minimums(parts: Funding, choices: Mapping[int, bool | None], switches: Mapping[int, int]) -> Iterator[Row]:
    """d_k ≥ min_amount once k is drawn: while that is open, ≥ min_amount z_k."""
    for k, tranche in enumerate(parts.problem.tranches):
        if k in switches and tranche.min_amount > 0:
            yield Row(f"min_amount:{tranche.id}", [k, switches[k]], [1.0, -tranche.min_amount], lower=0.0)
        elif choices.get(k) and tranche.min_amount > 0:
            yield Row(f"min_amount:{tranche.id}", [k], [1.0], lower=tranche.min_amount)


def _switched_draws(parts: Funding, switches: Mapping[int, int]) -> Iterator[Row]:
    """d_k ≤ z_k × the most that k alone can be."""
    for k, column in switches.items():
        most = parts.most([k]) if parts.separate else min(parts.most([k]), parts.own_limit(k))
        yield Row(f"draw:{parts.problem.tranches[k].id}", [k, column], [1.0, -most], upper=0.0)


def _equity_available(parts: Funding) -> Iterator[Row]:
    """Yield e ≤ available, where there is a limit."""
    if parts.problem.equity.available is not None:
        yield Row("equity_available", [parts.equity_column], [1.0], upper=parts.problem.equity.available)


def _equity_min_share(parts: Funding) -> Iterator[Row]:
    """Yield (1 − min_share) e − min_share Σ d ≥ 0, where there is a minimum."""
    share = parts.problem.equity.min_share
    if share > 0:
        columns = [*range(parts.size), parts.equity_column]
        yield Row("equity_min_share", columns, [*np.full(parts.size, -share), 1 - share], lower=0.0)


def _hedges(parts: Funding) -> Iterator[Row]:
    """h_k ≤ max_share × d_k; on its own a row leaves h_k ≤ d_k."""
    share = parts.problem.hedge.max_share if parts.problem.hedge else 0.0
    for k, column in parts.hedge_column.items():
        name = parts.problem.tranches[k].id
        yield Row(f"hedge:{name}", [column, k], [1.0, -share], upper=0.0)
        if parts.separate:
            yield Row(f"notional:{name}", [column, k], [1.0, -1.0], upper=0.0)
