"""What each limit of a plan is worth: the derivative of its cash by the problem field behind it."""

from dataclasses import replace

from solvers.backends.highs import Solver
from solvers.backends.linear import Price, Pricer
from solvers.backends.model import Floats, Shift
from solvers.kinds.leasing_mix.fields import Field
from solvers.kinds.leasing_mix.formulation import Building, by_weight, row_names


def prices_of(parts: Building, solver: Solver, x: Floats, fields: list[Field]) -> dict[str, Price]:
    """Return the price of each constraint by its name, in money per unit of the field.

    solver: has solved the linear program of `parts` to optimality, at x. A field is worth what the side brings that
    allows more.
    """
    rows = {name: row for row, name in enumerate(row_names(parts))}
    pricer = Pricer(solver)
    prices = {}
    for field in fields:
        shift = _shift(parts, x, field, rows)
        price = pricer.price(shift, scale=field.size, relax=field.priced_side)
        prices[field.name] = _with_void(parts, price) if field.name == "total_area" else price
    return prices


def _with_void(parts: Building, price: Price) -> Price:
    """Return the price of area, of which each sqm costs what a vacant one does until it is let."""
    return replace(price, slope=price.slope - parts.problem.void_cost_per_sqm_year)


def _shift(parts: Building, x: Floats, field: Field, rows: dict[str, int]) -> Shift:
    """Return how the limits of the rows move per unit of the field."""
    problem = parts.problem
    if field.sort == "total_area":
        caps = {rows[f"use:{use}"]: cap for use, cap in problem.use_caps.items()}
        return Shift(
            row_lower={rows["occupancy_min"]: problem.min_occupancy},
            row_upper={rows["area_max"]: problem.max_occupancy, **caps},
        )
    row = rows[field.name]
    match field.sort:
        case "max_occupancy" | "use_caps":
            return Shift(row_upper={row: problem.total_area})
        case "min_occupancy":
            return Shift(row_lower={row: problem.total_area})
        case "min_wault_years":
            return Shift(row_lower={row: _weight(parts, x, most=field.priced_side < 0)})
        case "min_leases":
            return Shift(row_lower={row: 1.0})
        case _:
            return Shift(row_upper={row: 1.0})


def _weight(parts: Building, x: Floats, *, most: bool) -> float:
    """Return what all leases count by in the mean term: how fast the target moves its row.

    Among equally good plans the one counts that gains most when the target falls, or loses least when it rises.
    """
    other = Solver(by_weight(parts, x, most=most)).solve()
    return parts.weight(x if other.x is None else other.x)
