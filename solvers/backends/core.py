"""Large whole-number packing by a core: most columns stay where the linear program puts them; the gap is certified.

The linear relaxation (sifted, with its proof) says for each column how much the objective loses at least when the
column leaves its bound: |r|, its reduced cost. Few columns have a small one. They are the core, solved as a MILP while
all others are held; the bound of the relaxation certifies the result for all columns. When the gap is still too wide
the core grows: at once to every column with |r| below the gap where that proves optimality (all columns whole),
else by a factor.
"""

import time
from dataclasses import replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from milpa.errors import FatalError
from solvers.backends.highs import Answer, Solver
from solvers.backends.model import Floats, Model, Whole
from solvers.backends.sifting import Sifter
from solvers.limits import SolveLimits
from solvers.progress import Progress, Silent
from solvers.result import SolveStatus, relative_gap

FIRST = 300
"""Decisions in the first core."""
PLAIN = 1_000
"""Up to so many decisions the plain MILP is the better one."""

_GROWTH = 4
_AT_BOUND = 1e-9


def solve_by_core(
    model: Model,
    relaxation: Model,
    owner: Whole,
    *,
    limits: SolveLimits,
    progress: Progress | None = None,
    start: Floats | None = None,
    first: int = FIRST,
    plain: int = PLAIN,
) -> Answer:
    """Solve a MILP whose relaxation is, or implies, a packing program over the same decisions.

    relaxation: a packing program whose optimum bounds the model's. owner: for each column of the model the column of
    the packing program that it belongs to (a binary belongs to what it switches). start: a plan for a plain MILP to
    begin with. first: decisions in the first core; plain: how many are solved without one.
    """
    progress, ends = progress or Silent(), time.perf_counter() + limits.seconds
    if len(relaxation.costs) <= plain:
        return _solve(model, limits, progress, start)
    relaxed = Sifter(relaxation, limits, _OfRelaxation(progress)).solve()
    if relaxed.status is not SolveStatus.OPTIMAL:
        return replace(relaxed, objective=None, x=None, activity=None, status=_without_plan(relaxed))
    search = _Search(model, relaxation, owner, relaxed, limits.relative_gap)
    size, best = max(first, 2 * len(relaxation.row_upper)), Answer(status=SolveStatus.NO_SOLUTION)
    while True:
        inside = search.core(size)
        left = max(1e-3, ends - time.perf_counter())
        answer = search.solve(inside, msgspec.structs.replace(limits, seconds=left), progress, best.x)
        best = search.certified(answer, best, inside)
        if best.status is SolveStatus.OPTIMAL or answer.limit or bool(inside.all()):
            return best
        size = search.next_size(size, best)


class _Search:
    """What the relaxation knows of the decisions: who is in doubt, where the others stay, and what leaving costs."""

    def __init__(self, model: Model, relaxation: Model, owner: Whole, relaxed: Answer, gap: float) -> None:
        self._model = model
        self._owner = owner
        self._gap = gap
        self._bound = float(relaxed.bound or 0.0)
        self._cost_of_leaving = np.abs(_known(relaxed.reduced_costs))
        x = relaxed.point
        settled = (np.abs(x - relaxation.lower) < _AT_BOUND) | (np.abs(x - relaxation.upper) < _AT_BOUND)
        self._order = np.lexsort((self._cost_of_leaving, settled))
        held = x[owner]
        self._held = held if model.integer is None else np.where(model.integer, np.ceil(held - _AT_BOUND), held)
        self._all_whole = model.integer is not None and bool(model.integer.all())

    def core(self, size: int) -> NDArray[np.bool_]:
        """Return which decisions are in a core of that size: those between their bounds, then the cheapest to move."""
        inside = np.zeros(len(self._order), dtype=bool)
        inside[self._order[:size]] = True
        return inside

    def solve(self, inside: NDArray[np.bool_], limits: SolveLimits, progress: Progress, start: Floats | None) -> Answer:
        """Solve the core, all else held; the answer is over all columns of the model."""
        free = inside[self._owner]
        part = restrict(self._model, free, self._held)
        watch = _OfCore(progress, self._bound, self._gap)
        tighter = msgspec.structs.replace(limits, relative_gap=self._gap / 2)
        answer = _solve(part, tighter, watch, None if start is None else start[free])
        if answer.x is None:
            return answer
        x = self._held.copy()
        x[free] = answer.x
        return replace(answer, x=x, activity=self._model.matrix @ x)

    def certified(self, answer: Answer, best: Answer, inside: NDArray[np.bool_]) -> Answer:
        """Return the better of two answers with the bound that holds for all columns."""
        bound_inside = answer.bound
        if answer.objective is None or (best.objective is not None and best.objective > answer.objective):
            answer = replace(best, limit=answer.limit)
        if answer.objective is None:
            return replace(answer, status=SolveStatus.NO_SOLUTION, bound=self._bound)
        bound = self._bound
        if self._proves(inside, answer.objective) and bound_inside is not None:
            bound = min(bound, max(bound_inside, answer.objective))
        proven = relative_gap(answer.objective, bound) <= self._gap
        status = SolveStatus.OPTIMAL if proven else SolveStatus.FEASIBLE
        return replace(answer, status=status, bound=bound, limit=None if proven else answer.limit)

    def _proves(self, inside: NDArray[np.bool_], objective: float) -> bool:
        """Tell whether no plan that moves a held decision can be better than the objective."""
        if bool(inside.all()):
            return True
        return self._all_whole and bool(self._cost_of_leaving[~inside].min() >= self._bound - objective)

    def next_size(self, size: int, best: Answer) -> int:
        """Return the size of the next core: what proves optimality if that is near, else a few times more."""
        if self._all_whole and best.objective is not None:
            needed = int(np.count_nonzero(self._cost_of_leaving < self._bound - best.objective))
            if size < needed < _GROWTH * size:
                return needed
        return size * _GROWTH


class _OfRelaxation:
    """Progress of the relaxation: its bound holds for the whole, its plans are none."""

    def __init__(self, progress: Progress) -> None:
        self.phase = progress.phase
        self.stop_requested = progress.stop_requested
        self._progress = progress

    def incumbent(self, objective: float | None, bound: float | None) -> None:  # noqa: ARG002 - a Progress
        """Pass the bound on."""
        self._progress.incumbent(None, bound)


class _OfCore:
    """Progress of a core: its plans are plans of the whole, its bound is not; a plan that is near enough ends it."""

    def __init__(self, progress: Progress, bound: float, gap: float) -> None:
        self.phase = progress.phase
        self._progress = progress
        self._bound = bound
        self._gap = gap
        self._near_enough = False

    def incumbent(self, objective: float | None, bound: float | None) -> None:  # noqa: ARG002 - a Progress
        """Pass the plan on with the bound of the whole."""
        self._near_enough = objective is not None and relative_gap(objective, self._bound) <= self._gap
        self._progress.incumbent(objective, self._bound)

    def stop_requested(self) -> bool:
        """Tell whether the gap is closed, or somebody wants to stop."""
        return self._near_enough or self._progress.stop_requested()


def restrict(model: Model, free: NDArray[np.bool_], values: Floats) -> Model:
    """Return the model with all but the free columns fixed at their values and gone; rows left empty go too."""
    matrix = model.matrix[:, free]
    fixed = np.where(free, 0.0, values)
    activity = model.matrix @ fixed
    used = np.zeros(len(activity), dtype=bool)
    used[matrix.indices] = True
    return replace(
        model,
        costs=model.costs[free],
        lower=model.lower[free],
        upper=model.upper[free],
        matrix=matrix.tocsr()[used].tocsc(),
        row_lower=(model.row_lower - activity)[used],
        row_upper=(model.row_upper - activity)[used],
        row_names=[name for name, kept in zip(model.row_names, used, strict=True) if kept],
        integer=None if model.integer is None else model.integer[free],
        offset=model.offset + float(model.costs @ fixed),
        sizes=None if model.sizes is None else model.sizes[free],
    )


def _solve(model: Model, limits: SolveLimits, progress: Progress, start: Floats | None) -> Answer:
    solver = Solver(model, limits, progress)
    if start is not None:
        solver.start_from(start)
    return solver.solve()


def _without_plan(answer: Answer) -> SolveStatus:
    return SolveStatus.NO_SOLUTION if answer.status is SolveStatus.FEASIBLE else answer.status


def _known(array: Floats | None) -> Floats:
    if array is None:
        raise FatalError("solver_failed", "an optimal linear program came without duals")
    return array
