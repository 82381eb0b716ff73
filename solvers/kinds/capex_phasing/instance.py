"""A problem as numbers for solvers: windows of starts, payments, capacities, and what each start is worth."""

from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

import numpy as np

from solvers.backends.model import Floats, Whole
from solvers.kinds.capex_phasing.problem import Objective, Problem
from solvers.kinds.capex_phasing.terms import (
    discount_factors,
    exact,
    followers,
    monthly_cash,
    needed,
    payments,
    predecessors,
    work_order,
)

Starts: TypeAlias = Whole
"""The start month of each project, shape (n,); LEFT_OUT for those that are not in the plan."""

LEFT_OUT = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What running projects share in each month.

    name: `parallel` or `resource:<id>`. limit: how much there is. uses: what each project takes, length n.
    """

    name: str
    limit: float
    uses: list[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A problem whose n projects are known by their place.

    before, behind: places that a project waits for, and that wait for it. order: all places, each behind those it waits
    for. needed: in every plan. earliest, latest: first and last month in which a project may start, by what holds in
    every plan; latest < earliest: it can't. payments: paid in each month that it runs, exactly. spent: the same added
    up, shape (duration,). uplift: money a month once finished. income: cash of each month, shape (horizon,). values:
    what a start in each month of its window adds to the objective (makespan: nothing). npvs: what it adds to net
    present value.
    """

    problem: Problem
    durations: list[int]
    before: list[list[int]]
    behind: list[list[int]]
    order: list[int]
    needed: list[bool]
    earliest: list[int]
    latest: list[int]
    payments: list[list[Fraction]]
    spent: list[Floats]
    uplift: list[float]
    income: Floats
    capacities: list[Capacity]
    values: list[Floats]
    npvs: list[Floats]

    @property
    def size(self) -> int:
        """How many projects there are."""
        return len(self.durations)

    @property
    def horizon(self) -> int:
        """How many months there are."""
        return self.problem.horizon_months

    @property
    def objective(self) -> Objective:
        """What makes one plan better than another."""
        return self.problem.objective

    def may_start(self, place: int) -> bool:
        """Tell whether a project has any month to start in."""
        return self.latest[place] >= self.earliest[place]

    @property
    def impossible(self) -> bool:
        """Whether a needed project has no month to start in: then there is no plan."""
        return any(must and not self.may_start(place) for place, must in enumerate(self.needed))

    def makespan(self, starts: Starts) -> int:
        """Return the months until the last project of a plan is finished."""
        return max((int(starts[i]) + self.durations[i] for i in range(self.size) if starts[i] >= 0), default=0)

    def worth(self, starts: Starts) -> float:
        """Return the objective of a plan in its own unit: money, or months."""
        if self.objective is Objective.MAKESPAN:
            return float(self.makespan(starts))
        return float(sum(self.values[i][starts[i] - self.earliest[i]] for i in range(self.size) if starts[i] >= 0))

    def cost(self, starts: Starts) -> float:
        """Return what a plan spends, in money."""
        return float(sum(self.spent[i][-1] for i in range(self.size) if starts[i] >= 0))

    def rank(self, starts: Starts) -> tuple[float, float]:
        """Return by what plans are compared, the greater the better: the objective, then what it spares."""
        if self.objective is Objective.MAKESPAN:
            return -self.worth(starts), 0.0
        return self.worth(starts), -self.cost(starts) if self.objective is Objective.UPLIFT else 0.0


def instance_of(problem: Problem, *, hopeful: bool = False) -> Instance:
    """Return a problem as numbers. The problem has no issues.

    hopeful: give windows also to projects that are too large for any plan, as if there were cash and capacity.
    """
    before = predecessors(problem)
    durations = [project.duration_months for project in problem.projects]
    paid = [payments(project) for project in problem.projects]
    never = [False] * len(before) if hopeful else _never(problem, paid)
    earliest, latest = _windows(problem, before, never)
    npvs = [
        _npvs(problem, paid[place], project.monthly_uplift, earliest[place], latest[place])
        for place, project in enumerate(problem.projects)
    ]
    return Instance(
        problem=problem,
        durations=durations,
        before=before,
        behind=followers(before),
        order=work_order(before),
        needed=needed(problem),
        earliest=earliest,
        latest=latest,
        payments=paid,
        spent=[np.cumsum([float(amount) for amount in amounts]) for amounts in paid],
        uplift=[project.monthly_uplift for project in problem.projects],
        income=np.array(monthly_cash(problem), dtype=np.float64),
        capacities=capacities_of(problem),
        values=_values(problem, durations, earliest, latest, npvs),
        npvs=npvs,
    )


def capacities_of(problem: Problem) -> list[Capacity]:
    """Return what running projects share: how many may run at once, and each resource."""
    found = []
    if problem.max_parallel is not None:
        found.append(Capacity(name="parallel", limit=problem.max_parallel, uses=[1.0] * len(problem.projects)))
    for resource in problem.resources:
        uses = [project.uses.get(resource.id, 0.0) for project in problem.projects]
        found.append(Capacity(name=f"resource:{resource.id}", limit=resource.capacity, uses=uses))
    return found


def _windows(problem: Problem, before: list[list[int]], never: list[bool]) -> tuple[list[int], list[int]]:
    """Return first and last start of each project; (0, −1) for one that can't be in any plan."""
    must, order = needed(problem), work_order(before)
    earliest, latest = [0] * len(before), [-1] * len(before)
    for i in order:
        project = problem.projects[i]
        if never[i] or any(latest[j] < earliest[j] for j in before[i]):
            continue
        earliest[i] = max(
            [project.earliest_start, *(earliest[j] + problem.projects[j].duration_months for j in before[i])]
        )
        last = problem.horizon_months - 1
        finish = last if project.latest_finish is None else min(project.latest_finish, last)
        latest[i] = finish - project.duration_months + 1
    for i in reversed(order):
        if must[i]:
            for j in before[i]:
                latest[j] = min(latest[j], latest[i] - problem.projects[j].duration_months)
    for i in order:
        if latest[i] < earliest[i]:
            earliest[i], latest[i] = 0, -1
    return earliest, latest


def _never(problem: Problem, paid: list[list[Fraction]]) -> list[bool]:
    """Tell which projects can't be in any plan: too large for a capacity or for all cash, or not asked for."""
    must = needed(problem)
    cash = sum(map(exact, monthly_cash(problem)), Fraction(0))
    if problem.reinvest_uplift:
        cash += problem.horizon_months * sum((exact(one.monthly_uplift) for one in problem.projects), Fraction(0))
    return [
        sum(paid[place]) > cash
        or (problem.objective is Objective.MAKESPAN and not must[place])
        or any(capacity.uses[place] > capacity.limit for capacity in capacities_of(problem))
        for place in range(len(paid))
    ]


def _npvs(problem: Problem, paid: list[Fraction], uplift: float, earliest: int, latest: int) -> Floats:
    """Return the net present value of a project for each start in its window."""
    factors = np.array(discount_factors(problem))
    starts = np.arange(earliest, latest + 1)
    later = np.append(np.cumsum(factors[::-1])[::-1], 0.0)
    value = uplift * later[np.minimum(starts + len(paid), problem.horizon_months)]
    for month, amount in enumerate(paid):
        if len(starts):
            value -= float(amount) * factors[starts + month]
    return np.asarray(value, dtype=np.float64)


def _values(
    problem: Problem, durations: list[int], earliest: list[int], latest: list[int], npvs: list[Floats]
) -> list[Floats]:
    if problem.objective is Objective.NPV:
        return npvs
    if problem.objective is Objective.MAKESPAN:
        return [np.zeros(len(npv)) for npv in npvs]
    return [
        project.monthly_uplift * (problem.horizon_months - durations[i] - np.arange(earliest[i], latest[i] + 1.0))
        for i, project in enumerate(problem.projects)
    ]
