"""CP-SAT behind a few words: its statuses, callbacks and traps become ours here, once.

A race is one model solved by lanes. The first proves, and is deterministic: one worker, and no clock but the limit's.
Others start only when it needs long, and look for better solutions or bounds. What the first lane proves is its own
answer, so that the same seed gives the same answer, however busy the machine is.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from ortools.sat.python import cp_model

from milpa.errors import FatalError
from milpa.jobs import LimitReached
from solvers.limits import SolveLimits
from solvers.progress import Progress, Silent
from solvers.result import SolveStatus, relative_gap

logger = logging.getLogger(__name__)

WHOLE = 2**40
"""The largest amount in units, where amounts have to be rounded (more than 1e9; sums still fit 64 bits)."""

HEAD_START = 2.0
"""Seconds that the first lane has to itself."""

_EXACT = 2**44
_SUM = 2**60
"""What sums in units may come to, of all variables too: CP-SAT adds them up in 64 bits."""
_SMALL = 2**27
"""What the smallest number is in units beside far larger ones."""
_POLL_SECONDS = 0.05
_LEAST_SECONDS = 0.05
_STATUSES = {
    cp_model.OPTIMAL: SolveStatus.OPTIMAL,
    cp_model.FEASIBLE: SolveStatus.FEASIBLE,
    cp_model.INFEASIBLE: SolveStatus.INFEASIBLE,
    cp_model.UNKNOWN: SolveStatus.NO_SOLUTION,
}

PROVE_BY_RELAXATION: Mapping[str, Any] = {"linearization_level": 2}
"""Sums of money: the linear relaxation, with all rows that CP-SAT can make of the model, says most."""

PROVE_BY_CLAUSES: Mapping[str, Any] = {
    "linearization_level": 0,
    "use_strong_propagation_in_disjunctive": True,
    "use_dynamic_precedence_in_disjunctive": True,
}
"""Makespans: learnt clauses say most, linear relaxations next to nothing."""

IMPROVE: Mapping[str, Any] = {"interleave_search": True, "use_lns_only": True}
"""Search of large neighbourhoods of the best solution, in one thread."""

BOUND_MAKESPAN: Mapping[str, Any] = {"interleave_search": True, "subsolvers": ["reduced_costs"]}
"""The bound of makespans that are not proven, and large neighbourhoods between."""


@dataclass(frozen=True, slots=True)
class Units:
    """How many whole units there are to one of a number's own, and whether the numbers are whole in them."""

    factor: Fraction
    exact: bool

    def of(self, number: Fraction) -> int:
        """Return a number in units, rounded to nearest."""
        return round(number * self.factor)

    def room(self, terms: int) -> int:
        """Return by how much a sum of that many rounded numbers, and its limit, may be off at most, in units."""
        return 0 if self.exact else terms // 2 + 1


def whole_units(numbers: Sequence[Fraction | int], *, most: int = WHOLE, total: Fraction | None = None) -> Units:
    """Return units in which numbers ≥ 0 are whole: exactly where their decimals allow, else the largest is `most`.

    total: what no sum of such numbers exceeds, where that is known: beside far larger numbers the smallest then still
    counts for something, as far as 64 bits allow.
    """
    largest = max(map(Fraction, numbers), default=Fraction(0))
    if largest == 0:
        return Units(Fraction(1), exact=True)
    denominator = 1
    for number in numbers:
        denominator = math.lcm(denominator, number.denominator)
        if denominator * largest > _EXACT:
            smallest = min(Fraction(number) for number in numbers if number > 0)
            finer = Fraction(0) if total is None else min(_SMALL / smallest, _SUM / total)
            return Units(max(most / largest, finer), exact=False)
    divisor = math.gcd(*(int(number * denominator) for number in numbers))
    return Units(Fraction(denominator, divisor), exact=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a race found, in the model's whole numbers.

    objective, bound: of the model (bound: proven by any lane). values: of the variables asked for. proven_by: lane that
    ended with a proof; None: none did. effort: CP-SAT's deterministic time, of all lanes. seconds: wall time.
    """

    status: SolveStatus
    limit: LimitReached | None = None
    objective: float | None = None
    bound: float | None = None
    values: list[int] | None = None
    proven_by: int | None = None
    effort: float = 0.0
    seconds: float = 0.0
    conflicts: int = 0
    branches: int = 0


@dataclass(slots=True)
class _Lane:
    """One run of CP-SAT on the model, with its own settings."""

    solver: cp_model.CpSolver
    status: SolveStatus = SolveStatus.NO_SOLUTION
    found: bool = False
    running: Future[None] = field(default_factory=Future)


@dataclass(slots=True)
class Race:
    """A model to be solved once by lanes. `variables`: those whose values are wanted, in their order.

    bound: one that is known already, in the model's whole numbers. tell: hears of objective and bound, in the same.
    """

    model: cp_model.CpModel
    variables: Sequence[cp_model.IntVar]
    limits: SolveLimits
    progress: Progress = field(default_factory=Silent)
    lanes: Sequence[Mapping[str, Any]] = (PROVE_BY_RELAXATION, IMPROVE)
    bound: float | None = None
    tell: Callable[[float | None, float | None], None] = lambda _objective, _bound: None
    _objective: float | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> Answer:
        """Solve within the limits' seconds. A stop, also one asked for before, ends it with the best found so far.

        FatalError(`solver_failed`): CP-SAT refused the model.
        """
        started = time.perf_counter()
        ends = started + self.limits.seconds
        lanes: list[_Lane] = []
        limit: LimitReached | None = None
        with ThreadPoolExecutor(len(self.lanes)) as pool:
            while limit is None and not self._over(lanes):
                now = time.perf_counter()
                if self.progress.stop_requested():
                    limit = LimitReached.STOPPED
                elif now >= ends:
                    limit = LimitReached.TIME
                elif self._next_may_start(lanes, now - started):
                    lanes.append(self._start(pool, len(lanes), self._until(len(lanes), ends) - now))
                else:
                    _wait_for(lanes)
            self._end(lanes)
        return self._answer(lanes, limit, time.perf_counter() - started)

    def _next_may_start(self, lanes: list[_Lane], elapsed: float) -> bool:
        """Start the first lane at once; others behind its head start, or, with one thread, behind its end."""
        if not lanes or len(lanes) == len(self.lanes):
            return not lanes
        alone = self.limits.threads == 1
        return not _unfinished(lanes) if alone else elapsed > HEAD_START

    def _until(self, number: int, ends: float) -> float:
        """Return when a lane ends: with one thread they share the time."""
        if self.limits.threads == 1 and number + 1 < len(self.lanes):
            return ends - self.limits.seconds / 2
        return ends

    def _over(self, lanes: list[_Lane]) -> bool:
        """Tell whether a lane has a proof, the bounds meet the best solution, or all lanes are at their end."""
        if any(_proven(lane) or _failed(lane) for lane in lanes) or self._closed():
            return True
        return len(lanes) == len(self.lanes) and not _unfinished(lanes)

    def _closed(self) -> bool:
        if self._objective is None or self.bound is None or not self.model.has_objective():
            return False
        return relative_gap(self._objective, self.bound) <= self.limits.relative_gap

    def _start(self, pool: ThreadPoolExecutor, number: int, seconds: float) -> _Lane:
        lane = _Lane(_solver(self.lanes[number], self.limits, max(_LEAST_SECONDS, seconds)))
        lane.solver.best_bound_callback = self._on_bound
        if logger.isEnabledFor(logging.INFO) and not isinstance(self.progress, Silent):
            lane.solver.parameters.log_search_progress = True
            lane.solver.parameters.log_to_stdout = False
            lane.solver.log_callback = lambda line: logger.info("lane %d: %s", number, line)
        lane.running = pool.submit(self._solve, lane)
        return lane

    def _solve(self, lane: _Lane) -> None:
        status = lane.solver.solve(self.model, _Listener(self, lane))
        if status not in _STATUSES:
            raise FatalError("solver_failed", f"CP-SAT refused the model: {self.model.validate()[:200]}")
        lane.status = _STATUSES[status]
        lane.found = lane.status in {SolveStatus.OPTIMAL, SolveStatus.FEASIBLE}

    def _end(self, lanes: list[_Lane]) -> None:
        """Stop all lanes. A lane that has not begun yet ignores a stop, so that it is said until it is heard."""
        while running := _unfinished(lanes):
            for lane in running:
                lane.solver.stop_search()
            _wait_for(running)
        for lane in lanes:
            lane.running.result()

    def _on_solution(self, objective: float) -> None:
        with self._lock:
            if self._objective is None or self._better(objective, self._objective):
                self._objective = objective
        self.tell(self._objective, self.bound)

    def _on_bound(self, bound: float) -> None:
        with self._lock:
            if self.bound is None or self._better(self.bound, bound):
                self.bound = bound
        self.tell(self._objective, self.bound)

    def _better(self, one: float, other: float) -> bool:
        return one > other if self._maximizes else one < other

    @property
    def _maximizes(self) -> bool:
        return bool(self.model.proto.objective.scaling_factor < 0)

    def _answer(self, lanes: list[_Lane], limit: LimitReached | None, seconds: float) -> Answer:
        proven = next((number for number, lane in enumerate(lanes) if _proven(lane)), None)
        figures: dict[str, Any] = {
            "proven_by": proven,
            "effort": sum(lane.solver.deterministic_time for lane in lanes),
            "seconds": seconds,
            "conflicts": sum(lane.solver.num_conflicts for lane in lanes),
            "branches": sum(lane.solver.num_branches for lane in lanes),
        }
        if proven is not None and lanes[proven].status is SolveStatus.INFEASIBLE:
            return Answer(status=SolveStatus.INFEASIBLE, **figures)
        best = lanes[proven] if proven is not None else self._best([lane for lane in lanes if lane.found])
        closed = self._closed()
        early = None if proven is not None or closed else limit or LimitReached.TIME
        if best is None:
            return Answer(status=SolveStatus.NO_SOLUTION, limit=early, bound=self.bound, **figures)
        return Answer(
            status=SolveStatus.FEASIBLE if early else SolveStatus.OPTIMAL,
            limit=early,
            objective=best.solver.objective_value,
            bound=self._tightest(best.solver.best_objective_bound),
            values=[best.solver.value(variable) for variable in self.variables],
            **figures,
        )

    def _best(self, lanes: list[_Lane]) -> _Lane | None:
        """Return the lane with the best solution, the first of equals."""
        sign = 1 if self._maximizes else -1
        return max(lanes, key=lambda lane: sign * lane.solver.objective_value, default=None)

    def _tightest(self, bound: float) -> float:
        return bound if self.bound is None or self._better(self.bound, bound) else self.bound


class _Listener(cp_model.CpSolverSolutionCallback):
    """Hears of each better solution of a lane."""

    def __init__(self, race: Race, lane: _Lane) -> None:
        super().__init__()
        self._race = race
        self._lane = lane

    def on_solution_callback(self) -> None:
        """Pass the objective on, and end a lane that began after all was over."""
        self._race._on_solution(self.objective_value)  # noqa: SLF001  one thing in two classes
        if self._race.progress.stop_requested():
            self.stop_search()


def _proven(lane: _Lane) -> bool:
    return lane.running.done() and lane.status in {SolveStatus.OPTIMAL, SolveStatus.INFEASIBLE}


def _failed(lane: _Lane) -> bool:
    return lane.running.done() and lane.running.exception() is not None


def _unfinished(lanes: list[_Lane]) -> list[_Lane]:
    return [lane for lane in lanes if not lane.running.done()]


def _wait_for(lanes: list[_Lane]) -> None:
    """Wait a moment, or until one more lane is at its end."""
    wait([lane.running for lane in _unfinished(lanes)] or [Future()], _POLL_SECONDS, FIRST_COMPLETED)


def _solver(settings: Mapping[str, Any], limits: SolveLimits, seconds: float) -> cp_model.CpSolver:
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = limits.seed % 2**31
    solver.parameters.max_time_in_seconds = seconds
    solver.parameters.relative_gap_limit = limits.relative_gap
    for name, value in settings.items():
        if isinstance(value, list):
            getattr(solver.parameters, name).extend(value)
        else:
            setattr(solver.parameters, name, value)
    return solver


def feasible(model: cp_model.CpModel, limits: SolveLimits) -> bool | None:
    """Tell whether a model has a solution; None: not known within the limits' seconds."""
    status = _STATUSES[_solver({}, limits, max(_LEAST_SECONDS, limits.seconds)).solve(model)]
    return None if status is SolveStatus.NO_SOLUTION else status is not SolveStatus.INFEASIBLE


def core(model: cp_model.CpModel, switches: Sequence[cp_model.IntVar], limits: SolveLimits) -> list[int] | None:
    """Return which switches can't all be on, by place; [] when they can, None when that is not known in time.

    The set is sufficient but not always minimal, and may be wrong where presolve was too clever: verify it.
    """
    assumed = model.clone()
    assumed.clear_objective()  # type: ignore[no-untyped-call]
    assumed.add_assumptions([assumed.get_bool_var_from_proto_index(switch.index) for switch in switches])
    solver = _solver({}, limits, max(_LEAST_SECONDS, limits.seconds))
    status = _STATUSES[solver.solve(assumed)]
    if status is not SolveStatus.INFEASIBLE:
        return None if status is SolveStatus.NO_SOLUTION else []
    places = {switch.index: place for place, switch in enumerate(switches)}
    return sorted({places[index] for index in solver.sufficient_assumptions_for_infeasibility() if index in places})
