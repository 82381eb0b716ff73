"""Why there is no plan: constraints that can't hold together, none of which can be spared, and changes that help."""

import math
import time
from collections.abc import Iterator

import msgspec
from ortools.sat.python import cp_model

from solvers.backends.cpsat import core, feasible
from solvers.backends.model import Row
from solvers.explain import Explanation, Repair
from solvers.kinds.capex_phasing.fields import Field, every_month, fields_of
from solvers.kinds.capex_phasing.formulation import add_row, formulate
from solvers.kinds.capex_phasing.instance import instance_of
from solvers.kinds.capex_phasing.problem import Objective, Problem
from solvers.kinds.capex_phasing.terms import needed, predecessors
from solvers.kinds.capex_phasing.time_indexed import (
    Steps,
    capacity_rows,
    cash_rows,
    precedence_rows,
    step_rows,
    whole_amounts,
)
from solvers.kinds.capex_phasing.words import change_in_words, of_conflict
from solvers.limits import SolveLimits

_MOST_REPAIRS = 8
_DIGITS = 6
"""To how many digits of the most that could be needed a repair is found."""


def explain_infeasible(problem: Problem, limits: SolveLimits, until: float) -> Explanation:
    """Return a conflict and repairs that were searched and work, as far as there is time (of `time.perf_counter`)."""
    names, minimal = _Conflict(problem, limits, until).find()
    opposed = [field for field in fields_of(problem) if field.name in names]
    repairs = list(_repairs(problem, opposed, limits, until))
    return Explanation(
        conflicts=[field.name for field in opposed],
        repairs=repairs,
        sentences=of_conflict(opposed, repairs, minimal=minimal),
    )


class _Conflict:
    """All that must be done, over all steps there are, with a switch for each constraint of a name.

    Projects that nothing required needs are left out of it, unless their uplift might pay for others.
    """

    def __init__(self, problem: Problem, limits: SolveLimits, until: float) -> None:
        self._limits, self._until = limits, until
        must = needed(problem)
        everyone = problem.reinvest_uplift and problem.objective is not Objective.MAKESPAN
        kept = [project for project, is_needed in zip(problem.projects, must, strict=True) if is_needed or everyone]
        self._problem = msgspec.structs.replace(problem, projects=kept)
        free = [msgspec.structs.replace(project, after=[], latest_finish=None, required=False) for project in kept]
        # Any objective but makespan: that would leave out what is not required.
        unbound = msgspec.structs.replace(problem, projects=free, objective=Objective.UPLIFT)
        self._columns = Steps(instance_of(unbound, hopeful=True))
        self._model = cp_model.CpModel()
        self._switches: dict[str, cp_model.IntVar] = {}
        self._build()

    def find(self) -> tuple[set[str], bool]:
        """Return names that can't hold together, and whether it is sure that none can be spared."""
        names = list(self._switches)
        found = core(self._model, list(self._switches.values()), self._patience())
        suspects = [names[place] for place in found or range(len(names))]
        if len(suspects) < len(names) and self._holds(suspects) is not False:
            suspects = names
        minimal = True
        for name in list(suspects):
            rest = [other for other in suspects if other != name]
            holds = None if time.perf_counter() > self._until else self._holds(rest)
            minimal = minimal and holds is not None
            if holds is False:
                suspects = rest
        return set(suspects), minimal

    def _patience(self) -> SolveLimits:
        return msgspec.structs.replace(self._limits, seconds=max(0.0, self._until - time.perf_counter()))

    def _holds(self, names: list[str]) -> bool | None:
        """Tell whether some constraints alone can hold together; None: not known in time."""
        model = self._model.clone()
        for name, switch in self._switches.items():
            model.add(model.get_bool_var_from_proto_index(switch.index) == int(name in names))
        return feasible(model, self._patience())

    def _build(self) -> None:
        columns, model = self._columns, self._model
        amounts = whole_amounts(columns.of)
        most = int(sum(amounts.income) + amounts.room + sum(map(sum, amounts.payments)))
        most += columns.of.horizon * int(sum(amounts.uplift))
        variables = [model.new_bool_var("") for _ in range(columns.count)]
        variables += [model.new_int_var(-most, most, "") for _ in range(columns.balances)]
        always = [*step_rows(columns)]
        for row in (*cash_rows(columns, amounts), *capacity_rows(columns, amounts), *self._own_rows()):
            if row.name.startswith("balance:"):
                always.append(row)
            else:
                add_row(model, variables, row).only_enforce_if(self._switch(row.name))
        for row in always:
            add_row(model, variables, row)

    def _switch(self, name: str) -> cp_model.IntVar:
        if name not in self._switches:
            self._switches[name] = self._model.new_bool_var(name)
        return self._switches[name]

    def _own_rows(self) -> Iterator[Row]:
        """Yield what else plans must meet, by name: balances, required projects, latest finishes, precedence."""
        columns, problem = self._columns, self._problem
        for month in range(columns.balances):
            yield Row(f"cash:{month}", [columns.count + month], [-1], upper=0)
        before = predecessors(problem)
        for i, project in enumerate(problem.projects):
            present = columns.present(i)
            if present is not None and project.required:
                yield Row(f"required:{project.id}", [present], [-1], upper=-1)
            if present is not None and project.latest_finish is not None:
                in_time = columns.column(i, project.latest_finish - project.duration_months + 1)
                terms = ([present], [1]) if in_time is None else ([present, in_time], [1, -1])
                if in_time != present:
                    yield Row(f"latest_finish:{project.id}", *terms, upper=0)
            for j in before[i]:
                for row in precedence_rows(columns, [(i, j)]):
                    yield row._replace(name=f"after:{project.id}:{problem.projects[j].id}")


def _repairs(problem: Problem, opposed: list[Field], limits: SolveLimits, until: float) -> Iterator[Repair]:
    """Yield for each opposed field, as long as there is time, the least change of it alone that is enough.

    Where cash is among them and the same in all months, so much in every month comes first.
    """
    distinct = {field.path: field for field in reversed(opposed)}
    level = every_month(problem) if any(field.kind == "cash" for field in opposed) else None
    for field in [*([] if level is None else [level]), *reversed(distinct.values())][:_MOST_REPAIRS]:
        value = _least(problem, field, limits, until)
        if value is not None:
            yield Repair(
                label=change_in_words(problem, field, value),
                patch=field.patch(problem, value),
                cost=1.0 if field.limit is None else value - field.limit,
            )


def _least(problem: Problem, field: Field, limits: SolveLimits, until: float) -> float | None:
    """Return the least value found to work, by halving what is left between one that works and one that does not."""

    def works(value: float) -> bool:
        changed = field.change(problem, value)
        left = msgspec.structs.replace(limits, seconds=until - time.perf_counter())
        return changed is not None and left.seconds > 0 and can_be_done(changed, left)

    if not works(field.most):
        return None
    if field.limit is None:
        return field.most
    grid = 1.0 if field.whole or (field.step == int(field.step) and field.kind == "resource") else _grid(field.most)
    bad, good = math.floor(field.limit / grid), math.ceil(field.most / grid)
    while good - bad > 1 and time.perf_counter() < until:
        middle = (good + bad) // 2
        bad, good = (bad, middle) if works(round(middle * grid, 6)) else (middle, good)
    value = round(good * grid, 6)
    return value if works(value) else field.most


def _grid(most: float) -> float:
    """Return cents, or what six digits of an amount leave."""
    return 10.0 ** max(-2, math.ceil(math.log10(max(most, 1e-9))) - _DIGITS)


def can_be_done(problem: Problem, limits: SolveLimits) -> bool:
    """Tell whether a plan for a problem was found."""
    of = instance_of(problem)
    if of.impossible:
        return False
    built = formulate(of)
    built.model.clear_objective()  # type: ignore[no-untyped-call]
    return feasible(built.model, limits) is True
