"""Find the best plan: a bound by the linear program, a good plan in a second, then CP-SAT until proof or time is up."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, TypeAlias

import msgspec
import numpy as np

from milpa.errors import FatalError
from milpa.jobs import LimitReached
from solvers.backends.cpsat import (
    BOUND_MAKESPAN,
    IMPROVE,
    PROVE_BY_CLAUSES,
    PROVE_BY_RELAXATION,
    Answer,
    Race,
)
from solvers.backends.highs import Solver
from solvers.backends.model import Floats
from solvers.kinds.capex_phasing.formulation import Form, Formulation, best_form, formulate
from solvers.kinds.capex_phasing.greedy import filled, greedy
from solvers.kinds.capex_phasing.instance import Instance, Starts
from solvers.kinds.capex_phasing.problem import Objective
from solvers.kinds.capex_phasing.time_indexed import Steps, linear_program, real_amounts, rows_of, step_costs
from solvers.limits import SolveLimits
from solvers.progress import Progress, Silent
from solvers.result import SolveStatus, relative_gap

Lanes: TypeAlias = tuple[Mapping[str, Any], ...]

_GREEDY_SECONDS = 1.0
_GREEDY_SHARE, _LINEAR_SHARE, _FIRST_SHARE = 0.1, 0.2, 0.7
_ROUNDING = 1e-9
_MONEY: Lanes = (PROVE_BY_RELAXATION, IMPROVE)
_LANES: dict[Objective, Lanes] = {
    Objective.NPV: _MONEY,
    Objective.UPLIFT: _MONEY,
    Objective.MAKESPAN: (PROVE_BY_CLAUSES, BOUND_MAKESPAN),
}


@dataclass(slots=True, kw_only=True)
class Found:
    """How a search ended.

    starts: None when there is no plan, or none was found. objective, bound: money, or months. linear_bound,
    cpsat_bound: what each solver proved. cheapest: whether, among plans of that uplift, none is cheaper. seconds: wall
    time. stats: figures of the search.
    """

    status: SolveStatus
    limit: LimitReached | None = None
    starts: Starts | None = None
    objective: float | None = None
    bound: float | None = None
    linear_bound: float | None = None
    cpsat_bound: float | None = None
    cheapest: bool = True
    seconds: float = 0.0
    stats: dict[str, float | int | str] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Search:
    """One search.

    start: a plan of a similar problem. quick: only look around the start, for as long as there is. form: None for the
    one that was measured to be better. prices: after the run, what the linear program says of its rows, by name.
    """

    of: Instance
    limits: SolveLimits
    progress: Progress = field(default_factory=Silent)
    start: Starts | None = None
    quick: bool = False
    form: Form | None = None
    prices: dict[str, float] = field(default_factory=dict)
    _linear_bound: float | None = None
    _began: float = field(default_factory=time.perf_counter)

    def run(self) -> Found:
        """Search within the limits. A stop, also one asked for before, ends it with the best plan found so far."""
        if self.of.impossible:
            return Found(status=SolveStatus.INFEASIBLE)
        guides = self._guides()
        plan = greedy(
            self.of,
            seed=self.limits.seed,
            seconds=0.0 if self.quick else min(_GREEDY_SECONDS, _GREEDY_SHARE * self.limits.seconds),
            stop=self.progress.stop_requested,
            guides=guides,
            start=self.start,
        )
        if plan is not None:
            self.progress.incumbent(self.of.worth(plan), self._linear_bound)
        found = self._raced(plan)
        found.seconds = time.perf_counter() - self._began
        found.stats["form"] = (self.form or best_form(self.of.objective)).value
        return found

    @property
    def _goes_on(self) -> bool:
        return self._left > 0 and not self.progress.stop_requested()

    @property
    def _left(self) -> float:
        return self.limits.seconds - (time.perf_counter() - self._began)

    def _guides(self) -> list[Floats]:
        """Solve the linear program: its bound is kept, its mean starts guide the greedy. None of it for makespan."""
        if self.of.objective is Objective.MAKESPAN or self.quick:
            return []
        steps = Steps(self.of)
        rows = takewhile(lambda _: self._goes_on, rows_of(steps, real_amounts(self.of)))
        model = linear_program(steps, rows, self.of.income, step_costs(self.of.values))
        if not self._goes_on:
            return []
        solver = Solver(model, self.limits, _Unwatched(self.progress.stop_requested))
        try:
            answer = solver.solve(_LINEAR_SHARE * self.limits.seconds)
        except FatalError:  # uplift that pays for uplift grows over 240 months beyond what HiGHS copes with
            return []
        if answer.status is not SolveStatus.OPTIMAL or answer.objective is None:
            return []
        self._linear_bound = answer.objective + _ROUNDING * abs(answer.objective)
        if answer.prices is not None:
            for name, price in zip(model.row_names, answer.prices, strict=True):
                self.prices[name] = self.prices.get(name, 0.0) + float(price)
        return [steps.mean_starts(answer.point)]

    def _raced(self, plan: Starts | None) -> Found:
        built = formulate(self.of, self.form, going_on=lambda: self._goes_on)
        if not self._goes_on:
            return self._found(self._no_answer(), [plan])
        if plan is not None:
            built.hint(plan)
        lexicographic = self.of.objective is Objective.UPLIFT
        answer = self._race(built, self._left * (_FIRST_SHARE if lexicographic else 1.0))
        found = self._found(answer, [built.plan(answer), plan], built.unit)
        if lexicographic and found.starts is not None:
            found.cheapest = self._goes_on and self._spared(built, found)
        return found

    def _race(self, built: Formulation, seconds: float) -> Answer:
        known = None if self._linear_bound is None else self._linear_bound * built.unit

        def tell(objective: float | None, bound: float | None) -> None:
            told = None if objective is None else objective / built.unit
            self.progress.incumbent(told, None if bound is None else bound / built.unit)

        race = Race(
            model=built.model,
            variables=built.variables,
            limits=msgspec.structs.replace(self.limits, seconds=seconds),
            progress=self.progress,
            lanes=self._lanes(),
            bound=known,
            tell=tell,
        )
        return race.run()

    def _lanes(self) -> Lanes:
        lanes = _LANES[self.of.objective]
        return lanes[-1:] if self.quick and self.of.objective is not Objective.MAKESPAN else lanes

    def _no_answer(self) -> Answer:
        """Say that CP-SAT was not asked: there was no time for it."""
        limit = LimitReached.STOPPED if self.progress.stop_requested() else LimitReached.TIME
        return Answer(status=SolveStatus.NO_SOLUTION, limit=limit)

    def _found(self, answer: Answer, plans: list[Starts | None], unit: float = 1.0) -> Found:
        """Take the best plan, with what still fits, and its distance to the bound; unit: of the answer's objective."""
        stats: dict[str, float | int | str] = {
            "effort": answer.effort,
            "search_seconds": answer.seconds,
            "conflicts": answer.conflicts,
            "branches": answer.branches,
        }
        if answer.status is SolveStatus.INFEASIBLE:
            return Found(status=SolveStatus.INFEASIBLE, stats=stats)
        whole = [filled(self.of, plan) for plan in plans if plan is not None]
        best = max(whole, key=self.of.rank, default=None)
        cpsat = None if answer.bound is None else answer.bound / unit
        found = Found(
            status=answer.status, limit=answer.limit, linear_bound=self._linear_bound, cpsat_bound=cpsat, stats=stats
        )
        if best is None:
            found.bound = self._tightest(found)
            return found
        found.starts, found.objective = best, self.of.worth(best)
        if found.status is SolveStatus.NO_SOLUTION:
            found.status = SolveStatus.FEASIBLE
        found.bound = self._bound(found)
        if found.bound is not None and relative_gap(found.objective, found.bound) <= self.limits.relative_gap:
            found.status, found.limit = SolveStatus.OPTIMAL, None
        return found

    def _bound(self, found: Found) -> float | None:
        """Return the tighter of both bounds; what is proven and within rounding of the objective is the objective."""
        tightest = self._tightest(found)
        if found.objective is None or tightest is None:
            return None
        if self.of.objective is Objective.MAKESPAN:
            return min(found.objective, tightest)
        bound = max(found.objective, tightest)
        size = max((float(np.abs(value).max()) for value in self.of.values if len(value)), default=0.0)
        exact = found.status is SolveStatus.OPTIMAL and bound - found.objective <= _ROUNDING * self.of.size * size
        return found.objective if exact else bound

    def _tightest(self, found: Found) -> float | None:
        bounds = [bound for bound in (found.linear_bound, found.cpsat_bound) if bound is not None]
        tightest = max if self.of.objective is Objective.MAKESPAN else min
        return tightest(bounds, default=None)

    def _spared(self, built: Formulation, found: Found) -> bool:
        """Among the plans of the same uplift take the cheapest; return whether it is proven to be."""
        if found.starts is None:
            return False
        built.spare(found.starts)
        built.hint(found.starts)
        race = Race(
            model=built.model,
            variables=built.variables,
            limits=msgspec.structs.replace(self.limits, seconds=self._left, relative_gap=0.0),
            progress=_Unwatched(self.progress.stop_requested),
        )
        answer = race.run()
        cheaper = built.plan(answer)
        if cheaper is not None and self.of.rank(cheaper) > self.of.rank(found.starts):
            found.starts, found.objective = cheaper, self.of.worth(cheaper)
        return answer.status is SolveStatus.OPTIMAL


class _Unwatched(Silent):
    """A Progress of a part of the search: it can be stopped, and its figures are nobody's business."""

    def __init__(self, stop: Callable[[], bool]) -> None:
        self._stop = stop

    def stop_requested(self) -> bool:
        """Tell whether the search is to end."""
        return self._stop()
