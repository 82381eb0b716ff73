"""The problem as arrays: variables, objective and constraints, each a named function that reads like its formula."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from solvers.backends.model import INFINITY, Floats, Model, Row, Whole, model_from_rows
from solvers.kinds.deal_picker.problem import Problem

BUDGET_ROW = 0
RISK_ROW = 1
"""Where there is a limit of risk, its row; caps follow."""

ON = 1e-9
"""Above this share a deal counts as bought."""
_ROUNDING = 1e-6
"""Of a limit: by how much it may be missed."""

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deals:
    """The deals in columns, shape (n,) each, and which of them stand in lists.

    yields, risks: of the whole deal in money, w·yield and w·risk. least, most: allocations between which a deal is
    bought at all. required: the least allocation of a deal that must be included, else 0.
    """

    index: dict[str, int]
    prices: Floats
    yields: Floats
    risks: Floats
    weights: Floats
    sectors: list[str]
    cities: list[str]
    least: Floats
    most: Floats
    must: Flags
    required: Floats

    @property
    def count(self) -> int:
        """Return n."""
        return len(self.prices)

    @property
    def on_offer(self) -> Flags:
        """Return which deals may be bought, or must be, though it may be none of them that must."""
        return (self.most > 0) | self.must


def columns_of(problem: Problem) -> Deals:
    """Turn the deals into arrays."""
    deals = problem.deals
    prices = np.array([deal.price for deal in deals])
    weights = prices if problem.yield_basis == "rate" else np.ones(len(deals))
    index = {deal.id: i for i, deal in enumerate(deals)}
    must, most = np.zeros(len(deals), dtype=bool), np.array([deal.max_allocation for deal in deals])
    must[[index[deal_id] for deal_id in problem.must_include]] = True
    most[[index[deal_id] for deal_id in problem.exclude]] = 0.0
    least = np.array([deal.min_allocation for deal in deals])
    return Deals(
        index=index,
        prices=prices,
        yields=weights * np.array([deal.yield_ for deal in deals]),
        risks=weights * np.array([deal.risk for deal in deals]),
        weights=weights,
        sectors=[deal.sector for deal in deals],
        cities=[deal.city for deal in deals],
        least=least,
        most=most,
        must=must,
        required=np.where(must, np.where(least > 0, least, most), 0.0),
    )


def objective(problem: Problem, deals: Deals) -> Floats:
    """Σ w_i (yield_i - risk_penalty · risk_i) x_i: the coefficients, 0 of deals that are not on offer."""
    return np.where(deals.on_offer, deals.yields - problem.risk_penalty * deals.risks, 0.0)


def budget_row(problem: Problem, deals: Deals) -> Row:
    """Σ price_i x_i ≤ budget."""
    on_offer = np.flatnonzero(deals.on_offer)
    return Row("budget", on_offer, deals.prices[on_offer], upper=problem.budget)


def risk_row(problem: Problem, deals: Deals) -> Row:
    """Σ w_i risk_i x_i ≤ max_risk."""
    carrying = np.flatnonzero(deals.risks * deals.on_offer)
    return Row("max_risk", carrying, deals.risks[carrying], upper=_or_none(problem.max_risk))


def cap_rows(problem: Problem, deals: Deals) -> list[Row]:
    """Σ m_i x_i ≤ cap for each capped sector and city; a share of the budget is held as money."""
    measure = np.ones(deals.count) if problem.cap_basis == "allocations" else deals.prices
    unit = cap_unit(problem)
    rows = []
    for kind, names, caps in (
        ("sector", deals.sectors, problem.sector_caps),
        ("city", deals.cities, problem.city_caps),
    ):
        members = _members(names, list(caps))
        for (name, cap), named in zip(caps.items(), members, strict=True):
            inside = named[deals.on_offer[named]]
            rows.append(Row(f"{kind}:{name}", inside, measure[inside], upper=cap * unit))
    return rows


def cap_unit(problem: Problem) -> float:
    """Return what one unit of a cap is in its row: money per share of the budget, else 1."""
    return problem.budget if problem.cap_basis == "share_of_budget" else 1.0


def limit_rows(problem: Problem, deals: Deals) -> list[Row]:
    """Return the limits that stand in every model: budget, risk, caps."""
    risk = [] if problem.max_risk is None else [risk_row(problem, deals)]
    return [budget_row(problem, deals), *risk, *cap_rows(problem, deals)]


def within_reach(problem: Problem, deals: Deals) -> Deals:
    """Return the deals with nothing on offer of those of which some limit leaves no share that counts.

    In a row with one of 1e15, a solver takes amounts of everyday deals for rounding.
    """
    needed = np.full(deals.count, 1.0 - _ROUNDING) if problem.mode == "whole" else np.maximum(deals.least, ON)
    within = np.ones(deals.count, dtype=bool)
    for row in limit_rows(problem, deals):
        if row.upper > 0:  # at 0, the next bit is worth what it brings in
            within[row.columns] &= np.asarray(row.values) * needed[row.columns] <= row.upper
    return replace(deals, most=np.where(within | deals.must, deals.most, 0.0))


def group_members(problem: Problem, deals: Deals) -> list[Whole]:
    """Return the deals of each exclusive group that could be bought."""
    groups = [np.array([deals.index[deal_id] for deal_id in group], dtype=int) for group in problem.exclusive_groups]
    return [group[deals.most[group] > 0] for group in groups]


def packing_model(problem: Problem, deals: Deals) -> Model:
    """Return the linear program over allocations alone: exact without switches, else a relaxation that bounds the plan.

    A switched deal counts as the share x_i / most_i of a deal; one that must be included counts fully.
    """
    upper = deals.most.copy()
    rows = limit_rows(problem, deals)
    sure = deals.must & (deals.required > 0)
    counted = np.flatnonzero(~sure & (deals.most > 0))
    if problem.max_deals is not None:
        rows.append(Row("max_deals", counted, 1.0 / deals.most[counted], upper=problem.max_deals - int(sure.sum())))
    for number, group in enumerate(group_members(problem, deals)):
        free, chosen = group[~sure[group]], int(sure[group].sum())
        if chosen:
            upper[free] = 0.0
        rows.append(Row(f"group:{number}", free, 1.0 / deals.most[free], upper=1 - chosen))
    return model_from_rows(costs=objective(problem, deals), lower=deals.required, upper=upper, rows=rows, maximize=True)


def switched_deals(problem: Problem, deals: Deals) -> Whole:
    """Return the deals that need a yes or no of their own: those not bought for sure, where a rule asks for it."""
    free = ~deals.must & (deals.most > 0)
    if problem.max_deals is not None and problem.max_deals < int((deals.most > 0).sum()):
        return np.flatnonzero(free)
    asked = deals.least > 0
    for group in group_members(problem, deals):
        asked[group] = True
    return np.flatnonzero(free & asked)


def switched_model(problem: Problem, deals: Deals, switched: Whole) -> tuple[Model, Whole]:
    """Return the MILP with a switch z_i for each switched deal, and for each of its columns the deal it belongs to."""
    n, k = deals.count, len(switched)
    z = n + np.arange(k)
    position = np.full(n, -1)
    position[switched] = z
    rows = [*limit_rows(problem, deals), *_count_rows(problem, deals, position)]
    base = model_from_rows(
        costs=np.concatenate([objective(problem, deals), np.zeros(k)]),
        lower=np.concatenate([deals.required, np.zeros(k)]),
        upper=np.concatenate([deals.most, np.ones(k)]),
        rows=rows,
        integer=np.arange(n + k) >= n,
        maximize=True,
    )
    links, upper_limits = _switch_links(deals, switched)
    model = replace(
        base,
        matrix=sparse.vstack([base.matrix, links], format="csc"),
        row_lower=np.append(base.row_lower, np.full(links.shape[0], -INFINITY)),
        row_upper=np.append(base.row_upper, upper_limits),
        row_names=[*base.row_names, *[""] * links.shape[0]],
    )
    return model, np.concatenate([np.arange(n), switched])


def _count_rows(problem: Problem, deals: Deals, position: Whole) -> list[Row]:
    """Σ z_i ≤ max_deals, and Σ z_i ≤ 1 in each exclusive group; deals bought for sure count as constants."""
    sure = deals.must & (deals.required > 0)
    rows = []
    if problem.max_deals is not None and bool((position >= 0).any()):
        z = position[~sure & (deals.most > 0) & (position >= 0)]
        rows.append(Row("max_deals", z, np.ones(len(z)), upper=problem.max_deals - int(sure.sum())))
    for number, group in enumerate(group_members(problem, deals)):
        z = position[group[~sure[group]]]
        rows.append(Row(f"group:{number}", z, np.ones(len(z)), upper=1 - int(sure[group].sum())))
    return rows


def _switch_links(deals: Deals, switched: Whole) -> tuple[sparse.csr_array, Floats]:
    """x_i ≤ most_i z_i, and least_i z_i ≤ x_i."""
    n, k = deals.count, len(switched)
    floor = np.flatnonzero(deals.least[switched] > 0)
    each = np.arange(k)
    rows = np.concatenate([each, each, k + np.arange(len(floor)), k + np.arange(len(floor))])
    columns = np.concatenate([switched, n + each, switched[floor], n + floor])
    values = np.concatenate([np.ones(k), -deals.most[switched], -np.ones(len(floor)), deals.least[switched[floor]]])
    links = sparse.csr_array((values, (rows, columns)), shape=(k + len(floor), n + k))
    return links, np.zeros(k + len(floor))


def _members(names: list[str], capped: list[str]) -> list[Whole]:
    """Return for each capped name the positions at which it stands."""
    if not capped:
        return []
    codes = {name: code for code, name in enumerate(capped)}
    code = np.array([codes.get(name, -1) for name in names])
    order = np.argsort(code, kind="stable")
    ends = np.searchsorted(code[order], np.arange(len(capped) + 1))
    return [order[start:end] for start, end in pairwise(ends)]


def _or_none(limit: float | None) -> float:
    return INFINITY if limit is None else limit
