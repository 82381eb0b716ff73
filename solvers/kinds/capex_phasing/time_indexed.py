"""The plan as a program over steps: y[i, t] = 1 once project i has started by month t.

Steps never come back down: x[i, t] = y[i, t] − y[i, t−1] says that i starts in t, y[i, t] − y[i, t−d] that it runs, and
y[i, t−d] that it is finished. Every limit becomes a sparse row of a month, and precedence one inequality of two steps a
month: the tightest linear relaxation that such problems are usually given. The same rows serve HiGHS (as a linear
program, for the bound) and CP-SAT (in whole numbers).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from solvers.backends.cpsat import Units, whole_units
from solvers.backends.model import INFINITY, Floats, Model, Row, model_from_rows
from solvers.kinds.capex_phasing.instance import LEFT_OUT, Instance, Starts
from solvers.kinds.capex_phasing.problem import Objective
from solvers.kinds.capex_phasing.terms import exact, monthly_cash

_WHOLE_COST = 2**34


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """The numbers of the rows: as posted, or whole for CP-SAT.

    payments[i][k]: paid in the k-th month of project i. uplift[i]: a month. income[t]: cash of a month. room: added to
    a limit of cash so that rounding refuses nothing. uses[k][i], limits[k]: of each capacity, its own room included.
    """

    payments: list[list[Any]]
    uplift: list[Any]
    income: list[Any]
    room: int
    uses: list[list[Any]]
    limits: list[Any]


def real_amounts(of: Instance) -> Amounts:
    """Return the numbers as posted."""
    return Amounts(
        payments=[[float(amount) for amount in amounts] for amounts in of.payments],
        uplift=of.uplift,
        income=of.income.tolist(),
        room=0,
        uses=[shared.uses for shared in of.capacities],
        limits=[shared.limit for shared in of.capacities],
    )


def whole_amounts(of: Instance) -> Amounts:
    """Return the numbers in units of which each is a whole multiple, or nearly: then no plan that holds is refused.

    Cash of a month beyond what all projects cost is left out: it pays for no more, and would make the units coarse.
    """
    able = [place for place in range(of.size) if of.may_start(place)]
    enough = sum((sum(of.payments[place], Fraction(0)) for place in able), Fraction(0))
    income = [min(exact(amount), enough) for amount in monthly_cash(of.problem)]
    uplift = [min(exact(amount), enough) if of.problem.reinvest_uplift else Fraction(0) for amount in of.uplift]
    known = [amount for place in able for amount in (*of.payments[place], uplift[place])]
    cash = sum(income, Fraction(0)) + of.horizon * sum(uplift, Fraction(0)) + enough
    units = whole_units([*income, sum(income), *known], total=cash * (1 + 2 * Steps(of).balances))
    uses, limits = [], []
    for shared in of.capacities:
        taken = [exact(float(amount)) if of.may_start(i) else Fraction(0) for i, amount in enumerate(shared.uses)]
        own = whole_units([exact(float(shared.limit)), *taken])
        uses.append([own.of(amount) for amount in taken])
        limits.append(own.of(exact(float(shared.limit))) + own.room(len(able)))
    return Amounts(
        payments=[_in_steps(units, of.payments[place]) if of.may_start(place) else [] for place in range(of.size)],
        uplift=[units.of(amount) for amount in uplift],
        income=_in_steps(units, income),
        room=units.room(len(able) * (1 + of.horizon if of.problem.reinvest_uplift else 1)),
        uses=uses,
        limits=limits,
    )


def _in_steps(units: Units, amounts: list[Fraction]) -> list[int]:
    """Return amounts whose sums, not only themselves, are rounded to nearest: errors don't add up over months."""
    sums = [units.of(sum(amounts[: count + 1], Fraction(0))) for count in range(len(amounts))]
    return [after - before for before, after in zip([0, *sums], sums, strict=False)]


class Steps:
    """Which column is which step; balances of cash come behind them where they are needed."""

    def __init__(self, of: Instance) -> None:
        self.of = of
        lengths = [max(0, of.latest[i] - of.earliest[i] + 1) for i in range(of.size)]
        self.offsets = [0, *np.cumsum(lengths).tolist()]
        self.count: int = self.offsets[-1]
        self.balances = of.horizon if of.problem.carry_over and of.problem.reinvest_uplift else 0

    def column(self, place: int, month: int) -> int | None:
        """Return the step of a project by a month; None: it can't have started by then."""
        if month < self.of.earliest[place] or not self.of.may_start(place):
            return None
        return int(self.offsets[place] + min(month, self.of.latest[place]) - self.of.earliest[place])

    def present(self, place: int) -> int | None:
        """Return the step that says whether a project is in the plan."""
        return self.column(place, self.of.horizon)

    def steps(self, starts: Starts) -> list[int]:
        """Return the values of all steps of a plan."""
        return [
            int(0 <= starts[i] <= month)
            for i in range(self.of.size)
            for month in range(self.of.earliest[i], self.of.latest[i] + 1)
        ]

    def starts(self, values: Sequence[float]) -> Starts:
        """Return the plan of the values of all steps."""
        starts = np.full(self.of.size, LEFT_OUT, dtype=np.int64)
        for i in range(self.of.size):
            steps = np.asarray(values[self.offsets[i] : self.offsets[i + 1]]) > 0.5  # noqa: PLR2004  0 or 1
            if steps.any():
                starts[i] = self.of.earliest[i] + int(np.argmax(steps))
        return starts

    def mean_starts(self, values: Floats) -> Floats:
        """Return about when each project starts in fractional steps; the horizon for what is left out."""
        means = np.full(self.of.size, float(self.of.horizon))
        for i in range(self.of.size):
            steps = values[self.offsets[i] : self.offsets[i + 1]]
            if len(steps) and steps[-1] > 1e-6:  # noqa: PLR2004  else dust
                means[i] = self.of.earliest[i] + float((1.0 - steps / steps[-1]).sum())
        return means


def rows_of(steps: Steps, amounts: Amounts) -> Iterator[Row]:
    """Yield all rows that every plan meets, each by the name of its constraint."""
    yield from step_rows(steps)
    yield from capacity_rows(steps, amounts)
    yield from cash_rows(steps, amounts)
    yield from precedence_rows(steps)


def step_rows(steps: Steps) -> Iterator[Row]:
    """Yield that who has started by a month has by the next: y[i, t] ≤ y[i, t+1]."""
    for place, (first, end) in enumerate(zip(steps.offsets, steps.offsets[1:], strict=False)):
        for column in range(first, end - 1):
            yield Row(f"step:{place}", [column, column + 1], [1, -1], upper=0)


def capacity_rows(steps: Steps, amounts: Amounts) -> Iterator[Row]:
    """Yield that what runs in a month fits: Σ uses · (y[i, t] − y[i, t−d]) ≤ limit."""
    of = steps.of
    for shared, uses, limit in zip(of.capacities, amounts.uses, amounts.limits, strict=True):
        for month in range(of.horizon):
            terms = _Terms()
            for i, used in enumerate(uses):
                if used:
                    terms.add(steps.column(i, month), used)
                    terms.add(steps.column(i, month - of.durations[i]), -used)
            if terms.most() > limit:
                yield terms.row(f"{shared.name}:{month}", limit)


def cash_rows(steps: Steps, amounts: Amounts) -> Iterator[Row]:
    """Yield that spending up to each month (or in it) is covered by cash; reinvested uplift flows through balances."""
    of = steps.of
    carried = 0
    for month in range(of.horizon):
        name, carried = f"cash:{month}", carried + amounts.income[month]
        if steps.balances:
            yield from _balance(steps, amounts, month)
        elif of.problem.carry_over:
            terms = _Terms()
            for i in range(of.size):
                for k, amount in enumerate(amounts.payments[i]):
                    terms.add(steps.column(i, month - k), amount)
            if terms.most() > carried + amounts.room:
                yield terms.row(name, carried + amounts.room)
        else:
            terms = _flow(steps, amounts, month)
            if terms.most() > amounts.income[month] + amounts.room:
                yield terms.row(name, amounts.income[month] + amounts.room)


def precedence_rows(steps: Steps, pairs: Iterable[tuple[int, int]] | None = None) -> Iterator[Row]:
    """Yield that who has started by t waited for those finished before: y[i, t] ≤ y[j, t−d_j]."""
    of = steps.of
    chosen = pairs if pairs is not None else [(i, j) for i in range(of.size) for j in of.before[i]]
    for i, j in chosen:
        name = f"after:{of.problem.projects[i].id}:{of.problem.projects[j].id}"
        for month in range(of.earliest[i], of.latest[i] + 1):
            terms = _Terms()
            terms.add(steps.column(i, month), 1)
            terms.add(steps.column(j, month - of.durations[j]), -1)
            yield terms.row(name, 0)


def linear_program(steps: Steps, rows: Iterable[Row], income: Floats, costs: Floats) -> Model:
    """Return the relaxed program for HiGHS: maximize costs·y under the rows. income: cash of each month, for scale."""
    balances = steps.balances
    count = steps.count + balances
    lower = np.zeros(count)
    for place, must in enumerate(steps.of.needed):
        if must and (column := steps.present(place)) is not None:
            lower[column] = 1.0
    sizes = np.ones(count)
    sizes[steps.count :] = max(1.0, float(income.sum()))
    return model_from_rows(
        costs=np.concatenate([costs, np.zeros(balances)]),
        lower=lower,
        upper=np.concatenate([np.ones(steps.count), np.full(balances, INFINITY)]),
        rows=list(rows),
        maximize=True,
        sizes=sizes if balances else None,
    )


def step_costs(values: list[Floats]) -> Floats:
    """Return what each step is worth, when a start in month t is worth values[i][t − earliest]: v[t] − v[t+1]."""
    parts = [value - np.append(value[1:], 0.0) for value in values if len(value)]
    return np.concatenate(parts) if parts else np.empty(0)


def whole_values(of: Instance) -> tuple[list[list[int]], float]:
    """Return what each start is worth in whole units, and how many units there are to one of money."""
    if of.objective is Objective.UPLIFT:
        units = whole_units([exact(of.uplift[i]) for i in range(of.size) if of.may_start(i)], most=_WHOLE_COST)
        months = [of.horizon - of.durations[i] - np.arange(of.earliest[i], of.latest[i] + 1) for i in range(of.size)]
        return [
            [units.of(exact(of.uplift[i])) * int(count) for count in months[i]] if len(months[i]) else []
            for i in range(of.size)
        ], float(units.factor)
    largest = max((float(np.abs(value).max()) for value in of.values if len(value)), default=0.0)
    factor = _WHOLE_COST / largest if largest > 0 else 1.0
    return [[round(worth * factor) for worth in value] for value in of.values], factor


def _flow(steps: Steps, amounts: Amounts, month: int) -> "_Terms":
    """Return what a month's spending exceeds its reinvested uplift by."""
    of, terms = steps.of, _Terms()
    for i in range(of.size):
        for k, amount in enumerate(amounts.payments[i]):
            terms.add(steps.column(i, month - k), amount)
            terms.add(steps.column(i, month - k - 1), -amount)
        if of.problem.reinvest_uplift and amounts.uplift[i]:
            terms.add(steps.column(i, month - of.durations[i]), -amounts.uplift[i])
    return terms


def _balance(steps: Steps, amounts: Amounts, month: int) -> Iterator[Row]:
    """Carry cash over: balance[t] = balance[t−1] + income − spending + uplift, which is never less than nothing."""
    terms = _flow(steps, amounts, month)
    terms.add(steps.count + month, 1)
    if month:
        terms.add(steps.count + month - 1, -1)
    income = amounts.income[month] + (amounts.room if month == 0 else 0)
    yield terms.row(f"balance:{month}", income, income)


class _Terms:
    """Coefficients by column; those of one column add up."""

    def __init__(self) -> None:
        self._of: defaultdict[int, Any] = defaultdict(int)

    def add(self, column: int | None, coefficient: Any) -> None:
        """Add a coefficient; None: a step that can't be."""
        if column is not None and coefficient:
            self._of[column] += coefficient

    def most(self) -> Any:
        """Return what the terms can't exceed."""
        return sum(coefficient for coefficient in self._of.values() if coefficient > 0)

    def row(self, name: str, upper: Any, lower: Any = -INFINITY) -> Row:
        """Return the row of that name."""
        kept = {column: coefficient for column, coefficient in self._of.items() if coefficient}
        return Row(name, list(kept), list(kept.values()), lower, upper)
