"""What each limit of a funding is worth: the derivative of the cost by the problem field behind it."""

from collections import defaultdict

import numpy as np

from solvers.backends.highs import Solver
from solvers.backends.linear import Price, Pricer
from solvers.backends.model import Shift
from solvers.kinds.debt_stack.fields import Field
from solvers.kinds.debt_stack.formulation import Funding
from solvers.kinds.debt_stack.search import Settled, other_choices, settle
from solvers.report import Unit

_PROBE = 1e-6
"""Of a share or a ratio: how far a field is moved to see which of its constraints carry its price."""
_SAME_SLOPE = 1e-7


def prices_of(parts: Funding, settled: Settled, fields: list[Field]) -> dict[str, Price]:
    """Return the price of each constraint by its name, in money a year per unit of the field.

    Where several constraints share a field, theirs are parts that add up to its price. A constraint that is not in
    force (of a tranche that is not drawn) has none. Where it is open whether a tranche that is not drawn may be, a
    field is worth what the better choice makes of it.
    """
    prices = _prices(parts, settled, fields)
    others = other_choices(parts, settled)
    other = settle(parts, others, settled.solver.limits) if others != settled.choices else None
    if other is not None:
        turned = _prices(parts, other, fields)
        for field in fields:
            if field.name in prices:
                prices[field.name] = _better(field, prices[field.name], turned.get(field.name, Price(0.0, 0.0, 0.0)))
    return prices


def _better(field: Field, one: Price, other: Price) -> Price:
    """Return the price that relaxing the field brings: the lower cost of two choices that are equal at its limit."""
    if abs(one.slope - other.slope) <= _SAME_SLOPE * max(abs(one.slope), abs(other.slope)):
        return one
    better = min(one, other, key=lambda price: field.priced_side * price.slope)
    low, high = (0.0, better.high) if field.priced_side > 0 else (better.low, 0.0)
    return Price(better.slope, low, high)


def _prices(parts: Funding, settled: Settled, fields: list[Field]) -> dict[str, Price]:
    rows = {name: row for row, name in enumerate(settled.model.row_names)}
    shared: dict[tuple[str, ...], list[Field]] = defaultdict(list)
    for field in fields:
        if field.name in rows:
            shared[field.path].append(field)
    pricer = Pricer(settled.solver)
    prices: dict[str, Price] = {}
    for group in shared.values():
        field = group[0]
        shifts = [_shift(parts, settled, one, rows) for one in group]
        whole = Shift(
            row_lower={row: rate for shift in shifts for row, rate in shift.row_lower.items()},
            row_upper={row: rate for shift in shifts for row, rate in shift.row_upper.items()},
        )
        scale = parts.problem.cost if field.unit is Unit.MONEY else 1.0
        price = pricer.price(whole, scale=scale, relax=field.priced_side)
        slopes = _shares(settled.solver, whole, field.priced_side, price.slope) if len(group) > 1 else [price.slope]
        prices |= {one.name: Price(slope, price.low, price.high) for one, slope in zip(group, slopes, strict=True)}
    return prices


def _shift(parts: Funding, settled: Settled, field: Field, rows: dict[str, int]) -> Shift:
    """Return how the limits of the rows move per unit of the field."""
    row = rows[field.name]
    if field.path == ("purchase_price",):
        return Shift(row_lower={row: 1.0}, row_upper={row: 1.0} | _measured_by_price(parts, rows))
    rate = {row: _rate(parts, settled, field, row)}
    return Shift(row_lower=rate) if field.path[-1] in {"min_amount", "min_share"} else Shift(row_upper=rate)


def _rate(parts: Funding, settled: Settled, field: Field, row: int) -> float:
    """Return how fast the limit of the field's row moves; of a coefficient, with the variables at the optimum."""
    x, activity = settled.answer.point, settled.answer.activity
    match field.path[-1]:
        case "max_ltv":
            return parts.problem.value
        case "min_share":
            return float(x[: parts.size].sum() + x[parts.equity_column])
        case "max_share":
            return float(
                sum(x[k] for k, tranche in enumerate(parts.problem.tranches) if field.name == f"hedge:{tranche.id}")
            )
        case "min_dscr":
            return 0.0 if activity is None or field.limit == 0 else -float(activity[row]) / field.limit
        case _:
            return 1.0


def _measured_by_price(parts: Funding, rows: dict[str, int]) -> dict[int, float]:
    """Return the rates of the loan-to-value limits, where the purchase price stands in for the property value."""
    if parts.problem.property_value is not None:
        return {}
    own = {f"ltv:{tranche.id}": tranche.max_ltv for tranche in parts.problem.tranches if tranche.max_ltv is not None}
    return {rows[name]: limit for name, limit in ({"ltv": parts.problem.max_ltv} | own).items() if name in rows}


def _shares(solver: Solver, shift: Shift, side: int, slope: float) -> list[float]:
    """Share a price out among the rows whose upper limits the field moves: by their duals just beyond its limit."""
    rows, rates = np.array(list(shift.row_upper)), np.array(list(shift.row_upper.values()))
    lower, upper = (bound[rows].copy() for bound in solver.row_bounds)
    solver.set_row_bounds(rows, lower, upper + side * _PROBE * rates)
    duals = solver.solve().prices
    solver.set_row_bounds(rows, lower, upper)
    solver.solve()
    carried = np.zeros(len(rows)) if duals is None else duals[rows] * rates
    total = carried.sum()
    return [float(part * slope / total) if total else 0.0 for part in carried]
