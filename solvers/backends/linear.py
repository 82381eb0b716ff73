"""What a limit is worth: the exact one-sided derivative of an optimum by a problem field, and how far it holds.

The optimal value of a linear program is a piecewise linear function of a field that moves its bounds. While one basis
stays optimal it is a line: its slope is (prices, reduced costs)·rates, its ends follow from a ratio test on the basic
variables. At a degenerate optimum a basis says nothing about one of the sides; there the field is moved a little, the
program solved again, and the new line traced back to the limit.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from milpa.errors import FatalError
from solvers.backends.highs import Answer, Solver
from solvers.backends.model import INFINITY, Floats, Shift, Whole
from solvers.result import SolveStatus

_SAME_POINT = 1e-7
"""Share of a field's size below which two values of it are one."""
_FIRST_STEP = 1e-3
_LAST_STEP = 1e-6
_SAME_SLOPE = 1e-7
_ROUNDING = 1e-11
_NO_RATE = 1e-9


@dataclass(frozen=True, slots=True)
class Price:
    """What one unit more of a field changes in the objective: exact while the field changes by low … high (±inf: ever).

    Where the two sides differ, slope is that of the side asked for, and the range ends at 0 on the other. Where nothing
    fits on the side asked for, slope is that of the other side.
    """

    slope: float
    low: float
    high: float

    def valid_from(self, limit: float) -> float | None:
        """Return the smallest value of the field for which the price is exact, or None without an end."""
        return limit + self.low if np.isfinite(self.low) else None

    def valid_to(self, limit: float) -> float | None:
        """Return the largest value of the field for which the price is exact, or None without an end."""
        return limit + self.high if np.isfinite(self.high) else None


class _Line(NamedTuple):
    """A piece of the optimal value: its slope, and the changes of the field between which it holds."""

    slope: float
    low: float
    high: float

    def end(self, side: int) -> float:
        """Return how far the piece goes to one side, as a distance from the limit."""
        return self.high if side > 0 else -self.low

    def start(self, side: int) -> float:
        """Return the distance from the limit at which the piece begins, seen from that side."""
        return self.low if side > 0 else -self.high


class Pricer:
    """Prices the fields of one linear program that `solver` has solved to optimality.

    extensions: how many neighbouring lines are looked at for a longer range of the same price; 0 keeps to one basis.
    The solver is left with its limits where they were.
    """

    def __init__(self, solver: Solver, *, extensions: int = 20) -> None:
        self._solver = solver
        self._extensions = extensions
        self._basis = solver.basis()
        self._columns = len(solver.column_bounds[0])
        self._home: Answer | None = None
        self._plain: bool | None = None

    def price(self, shift: Shift, *, scale: float, relax: int = 1) -> Price:
        """Return the price of a field on the side `relax` (+1: as it grows, -1: as it shrinks), with its range.

        scale > 0: a typical size of the field; a change below a millionth of it counts as none.
        """
        field = _Field(self._solver, shift, scale)
        home = self._line_at(field, 0.0)
        relaxed, tightened = self._side(field, relax, home), self._side(field, -relax, home)
        field.move(0.0)
        line = relaxed or tightened
        if line is None:
            return Price(0.0, 0.0, 0.0)
        reach = 0.0 if relaxed is None else relaxed.end(relax)
        back = 0.0 if tightened is None or not field.same(tightened, line) else tightened.end(-relax)
        low, high = (back, reach) if relax > 0 else (reach, back)
        return Price(line.slope, 0.0 - low, 0.0 + high)

    def slope(self, shift: Shift, *, scale: float, side: int = 1) -> float | None:
        """Return the derivative on one side only; None: the program has no solution on that side."""
        field = _Field(self._solver, shift, scale)
        self._go_home(field)
        if self._home is not None and self._is_plain(self._home):
            return field.slope(self._home)
        line = self._line(field, 0.0, side, self._line_at(field, 0.0))
        field.move(0.0)
        return None if line is None else line.slope

    def solve_at(self, shift: Shift, change: float) -> Answer:
        """Solve again with a field changed, and put it back. The answer may be infeasible."""
        (answer,) = self.solve_along(shift, [change])
        return answer

    def solve_along(self, shift: Shift, changes: Iterable[float]) -> Iterator[Answer]:
        """Solve again with a field changed to each of these in turn: first from home, then from where the last is."""
        field = _Field(self._solver, shift, 1.0)
        self._home = None
        self._take_first_basis()
        try:
            for change in changes:
                yield field.solve_at(change)
        finally:
            field.move(0.0)

    def _go_home(self, field: "_Field") -> None:
        """Put the field back; an answer is only sought when something was moved."""
        if self._home is None or len(self._home.point) != len(self._solver.column_bounds[0]):
            self._take_first_basis()
            self._home, self._plain = field.solve_at(0.0), None

    def _take_first_basis(self) -> None:
        """Have the next run begin where the first ended, as long as no column was added.

        From another basis a program on the edge of feasibility may seem beyond it: the first one found it not to be.
        """
        if len(self._solver.column_bounds[0]) == self._columns:
            self._solver.use_basis(self._basis)

    def _is_plain(self, home: Answer) -> bool:
        """Tell whether no basic variable is at a bound: then prices are the same on both sides, and the only ones."""
        if self._plain is None:
            basic, solver = self._solver.basic(), self._solver
            rows, columns = -1 - basic[basic < 0], basic[basic >= 0]
            activity = np.zeros(0) if home.activity is None else home.activity
            self._plain = _clear(solver.row_bounds, rows, activity, solver.row_sizes) and _clear(
                solver.column_bounds, columns, home.point, solver.column_sizes
            )
        return self._plain

    def _side(self, field: "_Field", side: int, home: _Line | None) -> _Line | None:
        self._take_first_basis()
        line = first = self._line(field, 0.0, side, home)
        for _ in range(self._extensions):
            if line is None or first is None or not np.isfinite(line.end(side)):
                break
            further = self._line(field, line.end(side), side)
            if further is None or not field.same(further, first):
                break
            line = further
        return line and first and _Line(first.slope, line.low, line.high)

    def _line(self, field: "_Field", begin: float, side: int, home: _Line | None = None) -> _Line | None:
        """Return the line that begins at a distance from the limit and goes on to `side`; None: infeasible there.

        home: the line at the limit itself, which serves where it goes on.
        """
        near = _SAME_POINT * field.scale
        line = home
        if line is not None and line.end(side) > near:
            return line
        step = _FIRST_STEP * field.scale
        while step >= _LAST_STEP * field.scale:
            line = self._line_at(field, side * (begin + step))
            gap = step if line is None else line.start(side) - begin
            if line is not None and gap <= near:
                break
            step = step / 10 if line is None else gap / 2
        return line

    def _line_at(self, field: "_Field", change: float) -> _Line | None:
        if change == 0.0:
            self._go_home(field)
            return None if self._home is None else field.line(self._home, 0.0)
        self._home = None
        answer = field.solve_at(change)
        return None if answer.status is SolveStatus.INFEASIBLE else field.line(answer, change)


class _Field:
    """A field of a program, to be moved away from its limit and back."""

    def __init__(self, solver: Solver, shift: Shift, scale: float) -> None:
        self.scale = scale
        self._solver = solver
        self._objective = 0.0
        self._rows = _Bounds(*solver.row_bounds, shift.row_lower, shift.row_upper)
        self._columns = _Bounds(*solver.column_bounds, shift.column_lower, shift.column_upper)

    def solve_at(self, change: float) -> Answer:
        """Solve with the field changed by so much. FatalError(`solver_failed`): a limit of the run was in the way."""
        self.move(change)
        answer = self._solver.solve()
        if answer.status not in {SolveStatus.OPTIMAL, SolveStatus.INFEASIBLE}:
            raise FatalError("solver_failed", f"a limit could not be priced: {answer.status}")
        return answer

    def move(self, change: float) -> None:
        """Change the field by so much, and leave it to the next run."""
        if len(self._rows.indices):
            self._solver.set_row_bounds(self._rows.indices, *self._rows.at(change))
        if len(self._columns.indices):
            self._solver.set_column_bounds(self._columns.indices, *self._columns.at(change))

    def same(self, one: _Line, other: _Line) -> bool:
        """Tell whether two lines have one slope, up to rounding in an objective of that size."""
        noise = _ROUNDING * max(self._objective, self._solver.largest_cost) / self.scale
        return abs(one.slope - other.slope) <= max(noise, _SAME_SLOPE * max(abs(one.slope), abs(other.slope)))

    def slope(self, answer: Answer) -> float:
        """Return the derivative that the prices of a basis say; what is basic has a price of 0."""
        return self._slope(answer, *self._rates(answer))

    def _rates(self, answer: Answer) -> tuple[Floats, Floats]:
        """Return how fast the rows and columns of the field move if they stay with the bounds that they are at."""
        if answer.prices is None or answer.reduced_costs is None or answer.activity is None:
            raise FatalError("solver_failed", "an optimal linear program came without duals")
        solver = self._solver
        return (
            self._rows.rates(solver.row_bounds, answer.activity, answer.prices, solver.maximize),
            self._columns.rates(solver.column_bounds, answer.point, answer.reduced_costs, solver.maximize),
        )

    def _slope(self, answer: Answer, row_rates: Floats, column_rates: Floats) -> float:
        prices, reduced_costs = np.asarray(answer.prices), np.asarray(answer.reduced_costs)
        return float(prices[self._rows.indices] @ row_rates + reduced_costs[self._columns.indices] @ column_rates)

    def line(self, answer: Answer, change: float) -> _Line:
        """Return the line of the basis that has just been found with the field changed by so much."""
        self._objective = abs(answer.objective or 0.0)
        solver, rows, columns = self._solver, self._rows, self._columns
        row_rates, column_rates = self._rates(answer)
        basic, activity = solver.basic(), np.asarray(answer.activity)
        basic_row, basic_column = -1 - basic[basic < 0], basic[basic >= 0]
        row_rates[_among(rows.indices, basic_row, len(activity))] = 0.0
        column_rates[_among(columns.indices, basic_column, len(answer.point))] = 0.0
        rates = solver.basic_rates(self._pull(row_rates, column_rates))
        row_room = rows.room(
            solver.row_bounds, basic_row, rates[basic < 0], row_rates, activity, sizes=solver.row_sizes
        )
        column_room = columns.room(
            solver.column_bounds, basic_column, rates[basic >= 0], column_rates, answer.point, sizes=solver.column_sizes
        )
        distance, closing = (np.concatenate(parts) for parts in zip(row_room, column_room, strict=True))
        closing[np.abs(closing) * self.scale <= _NO_RATE * np.maximum(1.0, distance)] = 0.0
        slope = self._slope(answer, row_rates, column_rates)
        return _Line(slope, change - _first(distance, -closing), change + _first(distance, closing))

    def _pull(self, row_rates: Floats, column_rates: Floats) -> Floats:
        """Return how the right-hand sides that the basic variables must meet move, shape (m,)."""
        moved = np.zeros(len(self._solver.row_bounds[0]))
        moved[self._rows.indices] = row_rates
        for column, rate in zip(self._columns.indices, column_rates, strict=True):
            moved -= self._solver.column(int(column)) * rate
        return moved


class _Bounds:
    """Which bounds of the rows, or of the columns, move with a field, and how fast: shape (k,), k rows or columns."""

    def __init__(
        self, lower: Floats, upper: Floats, lower_rate: Mapping[int, float], upper_rate: Mapping[int, float]
    ) -> None:
        self.indices = np.array(sorted({*lower_rate, *upper_rate}), dtype=np.int64)
        self._home = lower[self.indices], upper[self.indices]
        self._lower_rate = np.array([lower_rate.get(int(i), 0.0) for i in self.indices])
        self._upper_rate = np.array([upper_rate.get(int(i), 0.0) for i in self.indices])

    def at(self, change: float) -> tuple[Floats, Floats]:
        """Return lower and upper of the moving ones when the field changes."""
        lower, upper = self._home
        return lower + change * self._lower_rate, upper + change * self._upper_rate

    def rates(self, bounds: tuple[Floats, Floats], values: Floats, duals: Floats, maximize: bool) -> Floats:
        """Return how fast the moving ones move if they stay with the bound that they stand at."""
        if not len(self.indices):
            return self._upper_rate
        lower, upper = (bound[self.indices] for bound in bounds)
        value, dual = values[self.indices], duals[self.indices]
        wants_more = dual > 0 if maximize else dual < 0
        at_upper = np.where(lower == upper, wants_more, np.abs(value - upper) < np.abs(value - lower))
        return np.where(at_upper, self._upper_rate, self._lower_rate)

    def room(
        self,
        bounds: tuple[Floats, Floats],
        basic: Whole,
        rates: Floats,
        own_rates: Floats,
        values: Floats,
        *,
        sizes: Floats,
    ) -> tuple[Floats, Floats]:
        """Return how far the basic and the moving ones are from their bounds, and how fast that closes, per size."""
        free = ~_among(self.indices, basic, len(values))
        indices = np.concatenate([basic, self.indices[free]])
        rate = np.concatenate([rates, own_rates[free]])
        lower_rate, upper_rate = np.zeros((2, len(values)))
        lower_rate[self.indices], upper_rate[self.indices] = self._lower_rate, self._upper_rate
        lower, upper = (bound[indices] for bound in bounds)
        distance = np.maximum(0.0, np.concatenate([upper - values[indices], values[indices] - lower]))
        closing = np.concatenate([rate - upper_rate[indices], lower_rate[indices] - rate])
        size = np.tile(sizes[indices], 2)
        return distance / size, closing / size


def _among(indices: Whole, others: Whole, count: int) -> NDArray[np.bool_]:
    """Tell which indices, all below count, are among others."""
    there = np.zeros(count, dtype=bool)
    there[others] = True
    return there[indices]


def _clear(bounds: tuple[Floats, Floats], indices: Whole, values: Floats, sizes: Floats) -> bool:
    """Tell whether values keep clear of their bounds."""
    lower, upper = (bound[indices] for bound in bounds)
    value = values[indices]
    near = _SAME_POINT * np.maximum(sizes[indices], np.abs(value))
    return bool(np.all(np.minimum(value - lower, upper - value) > near))


def _first(distance: Floats, closing: Floats) -> float:
    """Return after which change of the field the first bound is met."""
    met = closing > 0
    return float((distance[met] / closing[met]).min(initial=INFINITY))
