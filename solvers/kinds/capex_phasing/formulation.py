"""The plan as a model for CP-SAT, in one of two forms that were measured against each other.

`TIME_INDEXED`: all rows over steps, nothing else. `INTERVALS`: optional intervals under cumulative limits, starts in
order of precedence, with steps only where money needs them. The first is the better one at sums of money, the second
at makespans.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from itertools import takewhile
from typing import Any

import numpy as np
from ortools.sat.python import cp_model

from solvers.backends.cpsat import Answer, whole_units
from solvers.backends.model import Row
from solvers.kinds.capex_phasing.instance import LEFT_OUT, Instance, Starts
from solvers.kinds.capex_phasing.problem import Objective
from solvers.kinds.capex_phasing.time_indexed import (
    Amounts,
    Steps,
    capacity_rows,
    cash_rows,
    precedence_rows,
    step_rows,
    whole_amounts,
    whole_values,
)


class Form(StrEnum):
    """How the plan becomes variables."""

    TIME_INDEXED = "time_indexed"
    INTERVALS = "intervals"


def best_form(objective: Objective) -> Form:
    """Return the form that was measured to be the better one for an objective."""
    return Form.INTERVALS if objective is Objective.MAKESPAN else Form.TIME_INDEXED


@dataclass(slots=True, kw_only=True)
class Formulation:
    """A model of CP-SAT, and how its variables become a plan and back.

    steps[c]: the switch of each step's column; none where the model needs no steps. balances: of cash, by month, where
    rows need them. intervals: start month of a place, and whether it is in the plan. makespan: where that is the
    objective. weights[c]: what each step is worth, else. unit: units of the objective to one of money. going_on: see
    `formulate`.
    """

    of: Instance
    form: Form
    model: cp_model.CpModel
    columns: Steps
    steps: list[cp_model.IntVar]
    balances: list[cp_model.IntVar]
    intervals: dict[int, tuple[cp_model.IntVar, cp_model.IntVar]] = field(default_factory=dict)
    makespan: cp_model.IntVar | None = None
    weights: list[int] = field(default_factory=list)
    unit: float = 1.0
    going_on: Callable[[], bool] = lambda: True

    @property
    def variables(self) -> list[cp_model.IntVar]:
        """The variables that say what the plan is."""
        if self.form is Form.TIME_INDEXED:
            return self.steps
        return [variable for pair in self.intervals.values() for variable in pair]

    def plan(self, answer: Answer) -> Starts | None:
        """Return the plan of an answer; None: it has none."""
        values = answer.values
        if values is None:
            return None
        if self.form is Form.TIME_INDEXED:
            return self.columns.starts(values)
        starts = np.full(self.of.size, LEFT_OUT, dtype=np.int64)
        for i, start, present in zip(self.intervals, values[::2], values[1::2], strict=True):
            starts[i] = start if present else LEFT_OUT
        return starts

    def hint(self, starts: Starts) -> None:
        """Let the search begin from a plan."""
        self.model.clear_hints()  # type: ignore[no-untyped-call]
        for step, value in zip(self.steps, self.columns.steps(starts), strict=False):
            self.model.add_hint(step, value)
        for i, (place, present) in self.intervals.items():
            self.model.add_hint(present, int(starts[i] >= 0))
            self.model.add_hint(place, int(starts[i]) if starts[i] >= 0 else self.of.latest[i])
        if self.makespan is not None:
            self.model.add_hint(self.makespan, self.of.makespan(starts))

    def spare(self, starts: Starts) -> None:
        """Keep the worth at least that of a plan, and spend as little as possible instead."""
        least = sum(weight for weight, step in zip(self.weights, self.columns.steps(starts), strict=True) if step)
        self.model.add(cp_model.LinearExpr.weighted_sum(self.steps, self.weights) >= least)
        costs = [sum(amounts, Fraction(0)) for amounts in self.of.payments]
        units = whole_units([cost for i, cost in enumerate(costs) if self.of.may_start(i)])
        last = [(self.columns.present(i), cost) for i, cost in enumerate(costs)]
        terms = [(self.steps[column], units.of(cost)) for column, cost in last if column is not None]
        self.model.minimize(cp_model.LinearExpr.weighted_sum([s for s, _ in terms], [c for _, c in terms]))


def formulate(of: Instance, form: Form | None = None, *, going_on: Callable[[], bool] = lambda: True) -> Formulation:
    """Return the model of an instance. No needed project of it is without a start.

    going_on: asked now and then; once it says no, the rest of a large model is left out, for nobody will solve it.
    """
    form = form or best_form(of.objective)
    model, columns, amounts = cp_model.CpModel(), Steps(of), whole_amounts(of)
    cash = list(takewhile(lambda _: going_on(), cash_rows(columns, amounts)))
    with_steps = form is Form.TIME_INDEXED or bool(cash) or of.objective is not Objective.MAKESPAN
    built = Formulation(
        of=of,
        form=form,
        model=model,
        columns=columns,
        steps=[model.new_bool_var("") for _ in range(columns.count)] if with_steps else [],
        going_on=going_on,
        balances=[model.new_int_var(0, _most_cash(amounts, of), "") for _ in range(columns.balances)],
    )
    if with_steps:
        _add(built, step_rows(columns))
        _add(built, cash)
        _require(built)
    if form is Form.TIME_INDEXED:
        _add(built, capacity_rows(columns, amounts))
        _add(built, precedence_rows(columns))
    else:
        _add_intervals(built, amounts)
    _set_objective(built)
    return built


def add_row(model: cp_model.CpModel, variables: list[cp_model.IntVar], row: Row) -> cp_model.Constraint:
    """Add a row in whole numbers over variables in the order of its columns."""
    terms = cp_model.LinearExpr.weighted_sum([variables[column] for column in row.columns], list(row.values))
    if row.lower == row.upper:
        return model.add(terms == row.upper)
    return model.add(terms <= row.upper)


def _most_cash(amounts: Amounts, of: Instance) -> int:
    return int(sum(amounts.income) + amounts.room + of.horizon * sum(amounts.uplift))


def _add(built: Formulation, rows: Iterable[Row]) -> None:
    variables = [*built.steps, *built.balances]
    for row in takewhile(lambda _: built.going_on(), rows):
        add_row(built.model, variables, row)


def _require(built: Formulation) -> None:
    for i, must in enumerate(built.of.needed):
        column = built.columns.present(i)
        if must and column is not None:
            built.model.add(built.steps[column] == 1)


def _add_intervals(built: Formulation, amounts: Amounts) -> None:
    of, model = built.of, built.model
    intervals: dict[int, cp_model.IntervalVar] = {}
    for i in filter(of.may_start, range(of.size)):
        place, present = model.new_int_var(of.earliest[i], of.latest[i], ""), model.new_bool_var("")
        if of.needed[i]:
            model.add(present == 1)
        built.intervals[i] = place, present
        intervals[i] = model.new_optional_fixed_size_interval_var(place, of.durations[i], present, "")
        if built.steps:
            _link(built, i, place, present)
    for uses, limit in zip(amounts.uses, amounts.limits, strict=True):
        using = [i for i in intervals if uses[i]]
        if using:
            model.add_cumulative([intervals[i] for i in using], [uses[i] for i in using], limit)
    for i in intervals:
        for j in of.before[i]:
            _order(built, i, j)


def _link(built: Formulation, i: int, place: cp_model.IntVar, present: cp_model.IntVar) -> None:
    """Say that a step is taken by a month if and only if the start is not after it."""
    first, end = built.columns.offsets[i], built.columns.offsets[i + 1]
    for month, step in enumerate(built.steps[first : end - 1], built.of.earliest[i]):
        built.model.add(place <= month).only_enforce_if(step)
        built.model.add(place > month).only_enforce_if(~step)
    built.model.add(built.steps[end - 1] == present)


def _order(built: Formulation, i: int, j: int) -> None:
    """Let i start behind the end of j, which must be in the plan too."""
    (later, is_later), (earlier, is_earlier) = built.intervals[i], built.intervals[j]
    built.model.add(earlier + built.of.durations[j] <= later).only_enforce_if(is_later)
    built.model.add_implication(is_later, is_earlier)


def _set_objective(built: Formulation) -> None:
    of, model = built.of, built.model
    if of.objective is Objective.MAKESPAN:
        built.makespan = model.new_int_var(0, of.horizon, "")
        for i in filter(of.may_start, range(of.size)):
            model.add(built.makespan >= _end(built, i))
        model.minimize(built.makespan)
        return
    values, built.unit = whole_values(of)
    built.weights = [now - later for value in values for now, later in zip(value, [*value[1:], 0], strict=False)]
    model.maximize(cp_model.LinearExpr.weighted_sum(built.steps, built.weights))


def _end(built: Formulation, i: int) -> Any:
    """Return the month behind the last of a needed project, as an expression."""
    if i in built.intervals:
        return built.intervals[i][0] + built.of.durations[i]
    first, end = built.columns.offsets[i], built.columns.offsets[i + 1]
    return built.of.latest[i] + built.of.durations[i] - sum(built.steps[first : end - 1])
