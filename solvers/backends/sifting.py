"""Large packing programs by sifting: exact, with a dual certificate, over a few hundred of a million columns at a time.

A packing program maximizes costs·x under rows Σ a·x ≤ limit with every a ≥ 0, and finite bounds on x. For prices y ≥ 0
of the rows each column has a reduced cost r = c - aᵀy, and where r is far from zero the column's value is no question:
the bound that the sign of r says. So

1. guess y from an eighth of the columns (limits scaled down, recursively);
2. keep the columns with the smallest |r| / |c|, hold every other at its bound, and solve the small program for a new y;
3. let in the held columns whose reduced cost has the wrong sign, and solve again, until there is none.

Then y proves that the plan is optimal for all columns (weak duality). Held columns may overrun a row for a while: each
row has an elastic column, priced above anything that the row can earn, so that the small program always has a solution.
Guesses are made with slightly perturbed costs, or many columns of one rate would all go to the same bound.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np
from scipy import sparse

from milpa.errors import FatalError
from solvers.backends.highs import Answer, Solver
from solvers.backends.linear import Pricer
from solvers.backends.model import INFINITY, Floats, Model, Shift, Whole
from solvers.backends.scaling import largest_terms, reach
from solvers.limits import SolveLimits
from solvers.progress import Progress, Silent
from solvers.result import SolveStatus

WORKING_SET = 600
"""Columns to begin with; a problem that has no more is solved as it is."""

_SAMPLE = 8
_PERTURBATION = 1e-6
_WRONG = 1e-9
_OVERRUN = 1e-9
_ELASTIC_PRICE = 10.0
_GROWTH_ROUNDS = 4


class Sifter:
    """One packing program: solved, and kept for prices and what-ifs.

    ValueError: the model is no packing program. FatalError(`solver_failed`): HiGHS gave up.
    """

    def __init__(self, model: Model, limits: SolveLimits | None = None, progress: Progress | None = None) -> None:
        _require_packing(model)
        self.model = model
        self._limits = limits or SolveLimits()
        self._progress = progress or Silent()
        self._best: Floats = model.lower
        self._bound = INFINITY
        self._working: _WorkingSet | None = None

    def solve(self) -> Answer:
        """Solve to proven optimality, or as far as the limits let; arrays are over all columns of the model."""
        model, started = self.model, time.perf_counter()
        if not _holds(model, model.lower):
            return Answer(status=SolveStatus.INFEASIBLE, seconds=time.perf_counter() - started)
        working = _WorkingSet(model, self._limits, self._progress, np.random.default_rng(self._limits.seed))
        answer = working.sift(self._limits.seconds - (time.perf_counter() - started), self._on_round)
        self._working = working
        working.hush()
        whole = working.full(answer) if answer.status is SolveStatus.OPTIMAL else self._so_far(answer)
        return replace(whole, seconds=time.perf_counter() - started)

    def pricer(self, *, extensions: int = 20) -> Pricer:
        """Return a pricer of the solved program, for shifts that were `located`."""
        return Pricer(self._solved, extensions=extensions)

    def plans_along(self, shift: Shift, changes: Iterable[float]) -> Iterator[Floats | None]:
        """Return the best plan with a field changed to each of these in turn, None where nothing fits.

        The shift's columns are those of the model, and so are the plan's.
        """
        for answer in self.pricer().solve_along(self.located(shift), changes):
            yield None if answer.x is None else self._solved.plan(answer)

    def located(self, shift: Shift) -> Shift:
        """Return a shift of the model's columns as one of the working set's, which they enter if need be."""
        if not (shift.column_lower or shift.column_upper):
            return shift
        at = self._solved.locate
        lower = {at(column): rate for column, rate in shift.column_lower.items()}
        upper = {at(column): rate for column, rate in shift.column_upper.items()}
        return replace(shift, column_lower=lower, column_upper=upper)

    @property
    def working_columns(self) -> int:
        """Return how many columns the working set has."""
        return len(self._solved.members)

    @property
    def _solved(self) -> "_WorkingSet":
        if self._working is None:
            raise FatalError("solver_failed", "nothing was solved yet")
        return self._working

    def _on_round(self, plan: Floats | None, bound: float) -> None:
        self._bound = min(self._bound, bound)
        if plan is not None:
            self._best = plan
        objective = None if plan is None else float(self.model.costs @ plan) + self.model.offset
        self._progress.incumbent(objective, self._bound)

    def _so_far(self, answer: Answer) -> Answer:
        """Return the best plan of the rounds before a limit struck; the lower bounds are always one."""
        model, x = self.model, self._best
        return replace(
            answer,
            status=SolveStatus.FEASIBLE,
            objective=float(model.costs @ x) + model.offset,
            bound=self._bound if np.isfinite(self._bound) else None,
            x=x,
            activity=model.matrix @ x,
            prices=None,
            reduced_costs=None,
        )


class _WorkingSet(Solver):
    """The small program: some columns of the model, each counted from its anchor, the bound that it was held at.

    members: full index of each of its columns, -1 for an elastic one.
    """

    def __init__(self, model: Model, limits: SolveLimits, progress: Progress, generator: np.random.Generator) -> None:
        self._model = model
        self._transposed = model.matrix.T
        self._size = np.abs(model.costs) + 1e-12 * np.abs(model.costs).max(initial=0.0)
        columns, self._anchor = _first_choice(model, generator)
        self._held = np.ones(len(model.costs), dtype=bool)
        self._held[columns] = False
        elastic = len(model.row_upper) if self._held.any() else 0
        self.members: Whole = np.concatenate([columns, np.full(elastic, -1)])
        self._sizes = reach(model)
        super().__init__(_restricted(model, columns, self._anchor, self._sizes), limits, progress)

    def solve(self, seconds: float | None = None) -> Answer:
        """Solve over all columns of the model; the answer's arrays are over the working set."""
        return self.sift(self.limits.seconds if seconds is None else seconds)

    def sift(self, seconds: float, on_round: Callable[[Floats | None, float], None] | None = None) -> Answer:
        """Solve, let in what the prices call for, and solve again; `on_round` hears of plans (or None) and bounds."""
        if not self._held.any() and on_round is None:
            return super().solve(seconds)
        deadline = time.perf_counter() + seconds
        iterations = rounds = 0
        while True:
            answer = super().solve(deadline - time.perf_counter())
            iterations += answer.iterations
            if answer.status is not SolveStatus.OPTIMAL:
                break
            rounds += 1
            reduced = self._reduced_costs(answer)
            if on_round:
                plan = None if self._overruns(answer) else self.plan(answer)
                on_round(plan, _dual_bound(self._model, _prices(answer), reduced))
            wrong = self._wrong_signed(reduced)
            if len(wrong) == 0:
                if self._overruns(answer):
                    answer = Answer(status=SolveStatus.INFEASIBLE)
                break
            self._let_in(wrong[: WORKING_SET * 2 ** (rounds // _GROWTH_ROUNDS)])
        return replace(answer, iterations=iterations)

    def full(self, answer: Answer) -> Answer:
        """Return an optimal answer over all columns of the model, with the bound that its prices prove."""
        model, x = self._model, self.plan(answer)
        reduced = self._reduced_costs(answer)
        return replace(
            answer,
            objective=float(model.costs @ x) + model.offset,
            bound=_dual_bound(model, _prices(answer), reduced),
            x=x,
            activity=model.matrix @ x,
            reduced_costs=reduced,
        )

    def locate(self, column: int) -> int:
        """Return the position of a column of the model, letting it in at its anchor if it was held."""
        if self._held[column]:
            self._let_in(np.array([column]))
        return int(np.flatnonzero(self.members == column)[0])

    def plan(self, answer: Answer) -> Floats:
        """Return an answer's values over all columns of the model."""
        x = self._anchor.copy()
        known = self.members >= 0
        x[self.members[known]] += answer.point[known]
        return x

    def _reduced_costs(self, answer: Answer) -> Floats:
        return np.asarray(self._model.costs - self._transposed @ _prices(answer), dtype=np.float64)

    def _wrong_signed(self, reduced: Floats) -> Whole:
        """Return the held columns that would rather be at their other bound, those that want it most first."""
        gain = np.where(self._anchor == self._model.upper, -reduced, reduced)
        gain[~self._held | (self._model.upper == self._model.lower)] = 0.0
        wrong = np.flatnonzero(gain > _WRONG * self._size)
        return wrong[np.argsort(-gain[wrong] / self._size[wrong], kind="stable")]

    def _let_in(self, columns: Whole) -> None:
        model, anchor = self._model, self._anchor[columns]
        lower, upper = model.lower[columns] - anchor, model.upper[columns] - anchor
        self.add_columns(model.matrix[:, columns], model.costs[columns], lower, upper, self._sizes[columns])
        self._held[columns] = False
        self.members = np.concatenate([self.members, columns])

    def _overruns(self, answer: Answer) -> bool:
        over = answer.point[self.members < 0]
        return bool(np.any(over > _OVERRUN * np.maximum(1.0, np.abs(self._model.row_upper[: len(over)]))))


def _first_choice(model: Model, generator: np.random.Generator) -> tuple[Whole, Floats]:
    """Return the columns to begin with, and for every column the bound at which it is held until it is let in."""
    count = len(model.costs)
    if count <= WORKING_SET:
        return np.arange(count), model.lower
    costs = model.costs * (1.0 + _PERTURBATION * generator.random(count))
    reduced = costs - model.matrix.T @ _guessed_prices(replace(model, costs=costs), generator)
    doubt = np.abs(reduced) / np.maximum(np.abs(costs), np.abs(costs).max() * 1e-12)
    columns = np.sort(np.argpartition(doubt, WORKING_SET)[:WORKING_SET])
    return columns, np.where(reduced > 0, model.upper, model.lower)


def _guessed_prices(model: Model, generator: np.random.Generator) -> Floats:
    """Return the row prices of a random eighth of the columns under an eighth of the limits."""
    count = len(model.costs)
    size = max(WORKING_SET, count // _SAMPLE)
    chosen = np.sort(generator.choice(count, size, replace=False))
    free = (model.row_upper - model.matrix @ model.lower) * (size / count)
    sample = replace(
        model,
        costs=model.costs[chosen],
        lower=np.zeros(size),
        upper=(model.upper - model.lower)[chosen],
        matrix=model.matrix[:, chosen],
        row_upper=free,
        sizes=None,
    )
    working = _WorkingSet(sample, SolveLimits(), Silent(), generator)
    return _prices(working.solve())


def _restricted(model: Model, columns: Whole, anchor: Floats, sizes: Floats) -> Model:
    """Return the small program: its columns counted from their anchors; elastic ones behind them if any are held.

    sizes: about how large each column of the model can be.
    """
    all_of_them = len(columns) == len(model.costs)
    matrix, costs = model.matrix if all_of_them else model.matrix[:, columns], model.costs[columns]
    lower, upper, sizes = (model.lower - anchor)[columns], (model.upper - anchor)[columns], sizes[columns]
    if not all_of_them:
        rows = len(model.row_upper)
        matrix = sparse.hstack([matrix, -sparse.eye_array(rows)], format="csc")
        costs = np.concatenate([costs, -_ELASTIC_PRICE * _most_per_unit(model)])
        lower, upper = np.append(lower, np.zeros(rows)), np.append(upper, np.full(rows, INFINITY))
        sizes = np.append(sizes, largest_terms(model.matrix[:, columns], sizes))
    return replace(
        model,
        costs=costs,
        lower=lower,
        upper=upper,
        matrix=matrix,
        row_upper=model.row_upper - model.matrix @ anchor,
        offset=model.offset + float(model.costs @ anchor),
        sizes=sizes,
    )


def _most_per_unit(model: Model) -> Floats:
    """Return for each row the most that a unit of it can earn: no optimal price of a packing program is higher."""
    matrix = model.matrix
    worth = np.repeat(np.maximum(model.costs, 0.0), np.diff(matrix.indptr))
    most = np.zeros(len(model.row_upper))
    counts = matrix.data > 0
    np.maximum.at(most, matrix.indices[counts], worth[counts] / matrix.data[counts])
    return np.asarray(np.maximum(most, most.max(initial=0.0) * 1e-9 + 1e-9), dtype=np.float64)


def _dual_bound(model: Model, prices: Floats, reduced: Floats) -> float:
    """Return the bound on the objective that prices ≥ 0 prove by weak duality, whatever the plan."""
    limited = (prices > 0) & np.isfinite(model.row_upper)
    rows = float(prices[limited] @ model.row_upper[limited])
    columns = float(np.maximum(reduced * model.lower, reduced * model.upper).sum())
    return rows + columns + model.offset


def _prices(answer: Answer) -> Floats:
    if answer.prices is None:
        raise FatalError("solver_failed", "an optimal linear program came without prices")
    return np.asarray(np.maximum(answer.prices, 0.0), dtype=np.float64)


def _holds(model: Model, x: Floats) -> bool:
    room = _OVERRUN * np.maximum(1.0, np.abs(model.row_upper))
    return bool(np.all(model.matrix @ x <= model.row_upper + room))


def _require_packing(model: Model) -> None:
    bounded = np.all(np.isfinite(model.lower)) and np.all(np.isfinite(model.upper))
    one_sided = np.all(np.isneginf(model.row_lower)) and np.all(model.matrix.data >= 0)
    if not (model.maximize and model.is_linear and bounded and one_sided):
        raise ValueError(
            "sifting takes packing programs: maximize, rows of one side, no negative weight, finite bounds"
        )
