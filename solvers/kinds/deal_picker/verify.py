"""Recompute every constraint and the objective from the numbers as posted, without the solver or its arrays."""

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from solvers.kinds.deal_picker.problem import Problem, Slice, Solution
from solvers.result import Violation

TOLERANCE = 1e-6
"""Of a constraint, relative to max(1, |limit|); of a reported figure, relative to max(1, |figure|)."""

_ON = 1e-9


def verify(problem: Problem, solution: Solution) -> list[Violation]:
    """Return what the solution breaks, and every figure in it that does not come out of the numbers as posted."""
    bought = _Bought(problem, solution)
    if bought.unknown:
        return [_violation("allocations", 1.0, f"{ids} is not on offer, or listed twice.") for ids in bought.unknown]
    return [
        *_check_bounds(problem, bought),
        *_check_limits(problem, bought),
        *_check_caps(problem, bought),
        *_check_choices(problem, bought),
        *_check_figures(problem, solution, bought),
    ]


class _Bought:
    """The bought deals in columns, read from the problem by id; shape (k,) each."""

    def __init__(self, problem: Problem, solution: Solution) -> None:
        offers = {deal.id: deal for deal in problem.deals}
        ids = [allocation.deal_id for allocation in solution.allocations]
        counts = Counter(ids)
        self.unknown = sorted({deal_id for deal_id in ids if deal_id not in offers or counts[deal_id] > 1})
        self.deals = [] if self.unknown else [offers[deal_id] for deal_id in ids]
        self.by_id = {allocation.deal_id: allocation.allocation for allocation in solution.allocations}
        self.x = np.array([allocation.allocation for allocation in solution.allocations])
        self.prices = self.column([deal.price for deal in self.deals])
        weights = self.prices if problem.yield_basis == "rate" else np.ones(len(self.deals))
        self.yields = weights * self.column([deal.yield_ for deal in self.deals])
        self.risks = weights * self.column([deal.risk for deal in self.deals])

    @staticmethod
    def column(values: list[float]) -> NDArray[np.float64]:
        """Return figures of the bought deals as an array."""
        return np.array(values, dtype=np.float64)


def _check_bounds(problem: Problem, bought: _Bought) -> Iterator[Violation]:
    """Bought is x = 0, or min_allocation ≤ x ≤ max_allocation; whole deals whole, excluded ones not at all."""
    excluded = set(problem.exclude)
    most = bought.column([0.0 if deal.id in excluded else deal.max_allocation for deal in bought.deals])
    least = bought.column([deal.min_allocation for deal in bought.deals])
    for at in np.flatnonzero(bought.x > most + TOLERANCE):
        yield _violation(f"max_allocation:{bought.deals[at].id}", bought.x[at] - most[at], "More than can be bought.")
    for at in np.flatnonzero((bought.x > _ON) & (bought.x < least - TOLERANCE)):
        yield _violation(f"min_allocation:{bought.deals[at].id}", least[at] - bought.x[at], "Less than can be bought.")
    for at in np.flatnonzero(bought.x < -TOLERANCE):
        yield _violation(f"min_allocation:{bought.deals[at].id}", -bought.x[at], "A negative share.")
    if problem.mode == "whole":
        for at in np.flatnonzero(np.abs(bought.x - np.round(bought.x)) > TOLERANCE):
            yield _violation(f"whole:{bought.deals[at].id}", abs(bought.x[at] - round(bought.x[at])), "Not whole.")


def _check_limits(problem: Problem, bought: _Bought) -> Iterator[Violation]:
    yield from _over("budget", float(bought.prices @ bought.x), problem.budget)
    if problem.max_risk is not None:
        yield from _over("max_risk", float(bought.risks @ bought.x), problem.max_risk)
    if problem.max_deals is not None:
        yield from _over("max_deals", float(np.count_nonzero(bought.x > _ON)), problem.max_deals)


def _check_caps(problem: Problem, bought: _Bought) -> Iterator[Violation]:
    measure = np.ones(len(bought.x)) if problem.cap_basis == "allocations" else bought.prices
    unit = problem.budget if problem.cap_basis == "share_of_budget" else 1.0
    for kind, caps, names in (
        ("sector", problem.sector_caps, [deal.sector for deal in bought.deals]),
        ("city", problem.city_caps, [deal.city for deal in bought.deals]),
    ):
        used: dict[str, float] = {}
        for name, part in zip(names, (measure * bought.x / unit).tolist(), strict=True):
            used[name] = used.get(name, 0.0) + part
        for name, cap in caps.items():
            yield from _over(f"{kind}:{name}", used.get(name, 0.0), cap)


def _check_choices(problem: Problem, bought: _Bought) -> Iterator[Violation]:
    """Deals that must be in are; of each exclusive group one at most is."""
    required = set(problem.must_include)
    for deal in problem.deals:
        if deal.id in required:
            least = deal.min_allocation if deal.min_allocation > 0 else deal.max_allocation
            missing = least - bought.by_id.get(deal.id, 0.0)
            if missing > TOLERANCE:
                yield _violation(f"must_include:{deal.id}", missing, "Less than must be bought.")
    for number, group in enumerate(problem.exclusive_groups):
        yield from _over(f"group:{number}", float(sum(bought.by_id.get(deal_id, 0.0) > _ON for deal_id in group)), 1.0)


def _check_figures(problem: Problem, solution: Solution, bought: _Bought) -> Iterator[Violation]:
    """Every sum in the solution is recomputed."""
    x = bought.x
    allocated = float(bought.prices @ x)
    for name, told, real in (
        ("total_allocated", solution.total_allocated, allocated),
        ("unspent", solution.unspent, problem.budget - allocated),
        ("total_yield", solution.total_yield, float(bought.yields @ x)),
        ("total_risk", solution.total_risk, float(bought.risks @ x)),
        ("objective", solution.objective_value, float((bought.yields - problem.risk_penalty * bought.risks) @ x)),
        ("deal_count", solution.deal_count, float(len(x))),
    ):
        yield from _differs(name, told, real)
    for name, parts, per_deal in (
        ("amount", [allocation.amount for allocation in solution.allocations], bought.prices),
        ("yield", [allocation.yield_ for allocation in solution.allocations], bought.yields),
        ("risk", [allocation.risk for allocation in solution.allocations], bought.risks),
    ):
        real, each = per_deal * x, bought.column(parts)
        for at in np.flatnonzero(~(np.abs(each - real) <= TOLERANCE * np.maximum(1.0, np.abs(real)))):
            yield from _differs(f"{name}:{bought.deals[at].id}", each[at], real[at])
    yield from _check_slices("by_sector", solution.by_sector, [deal.sector for deal in bought.deals], bought, allocated)
    yield from _check_slices("by_city", solution.by_city, [deal.city for deal in bought.deals], bought, allocated)


def _check_slices(
    field: str, slices: dict[str, Slice], names: Iterable[str], bought: _Bought, allocated: float
) -> Iterator[Violation]:
    sums: dict[str, tuple[float, float]] = dict.fromkeys(slices, (0.0, 0.0))
    for name, price, x in zip(names, bought.prices.tolist(), bought.x.tolist(), strict=True):
        amount, shares = sums.get(name, (0.0, 0.0))
        sums[name] = amount + price * x, shares + x
    for name, (amount, shares) in sums.items():
        told = slices.get(name, Slice(amount=0.0, share=0.0, allocations=0.0))
        yield from _differs(f"{field}:{name}", told.amount, amount)
        yield from _differs(f"{field}:{name}", told.allocations, shares)
        yield from _differs(f"{field}:{name}", told.share, amount / allocated if allocated else 0.0)


def _over(constraint: str, used: float, limit: float) -> Iterator[Violation]:
    if not used - limit <= TOLERANCE * max(1.0, abs(limit)):
        yield _violation(constraint, used - limit, f"{used:,.6g} is more than {limit:,.6g}.")


def _differs(figure: str, told: float, real: float) -> Iterator[Violation]:
    if not abs(told - real) <= TOLERANCE * max(1.0, abs(real)):
        yield _violation(figure, abs(told - real), f"{told:,.6g} is told, {real:,.6g} comes out.")


def _violation(constraint: str, amount: float, message: str) -> Violation:
    return Violation(constraint=constraint, amount=float(amount), message=message)
