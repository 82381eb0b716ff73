"""HiGHS behind plain arrays: its statuses, callbacks and traps become ours here, once.

Variables, rows and the objective are scaled by how large they can be, so that HiGHS's absolute tolerances mean the same
for cents and for millions. What goes in and comes out is unscaled.
"""

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import highspy
import numpy as np
from highspy import HighsModelStatus as Status
from numpy.typing import NDArray

from milpa.errors import FatalError
from milpa.jobs import LimitReached
from solvers.backends.model import Floats, Model
from solvers.backends.scaling import power_of_two, scaled, scales_of, without_impossible
from solvers.limits import SolveLimits
from solvers.progress import Progress, Silent
from solvers.result import SolveStatus, relative_gap

logger = logging.getLogger(__name__)

TOLERANCE = 1e-9
"""Of scaled rows, of prices and of wholeness: a money row of a billion must still hold after rounding."""

_USUAL_TOLERANCE = 1e-7
_SECOND_TRIES = (
    (TOLERANCE, "choose", "choose"),
    (_USUAL_TOLERANCE, "choose", "choose"),
    (_USUAL_TOLERANCE, "off", "choose"),
    (_USUAL_TOLERANCE, "choose", "ipm"),
)
"""Tolerance, presolve and solver, in turn."""
_WORTH_THREADS = 1_000
_SMALLEST_TERM, _LARGEST_TERM = 1e-12, 1e30
"""Of a scaled row: what HiGHS leaves out, and what it refuses. By default these are nearer to each other."""
_FAR_AWAY = 1e19
"""Of a scaled row's limit that nothing can meet: beyond 1e20 HiGHS takes it for a mistake."""
_COLUMNWISE = 1
_FEASIBLE_POINT = 2
_PROVEN = {
    Status.kOptimal: SolveStatus.OPTIMAL,
    Status.kModelEmpty: SolveStatus.OPTIMAL,
    Status.kInfeasible: SolveStatus.INFEASIBLE,
    Status.kUnboundedOrInfeasible: SolveStatus.INFEASIBLE,  # with nothing to win; else it is asked which
    Status.kUnbounded: SolveStatus.UNBOUNDED,
}
_LIMITS = {
    Status.kTimeLimit: LimitReached.TIME,
    Status.kInterrupt: LimitReached.STOPPED,
    Status.kMemoryLimit: LimitReached.MEMORY,
}
_threads_in_use = threading.local()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one run found. Arrays are None where there is no such thing (no solution; no duals of a MILP).

    x, reduced_costs: shape (n,); activity, prices: shape (m,). prices: d objective / d row limit; reduced_costs:
    d objective / d x; both with their sign as it is, in minimization and maximization alike. seconds: of this run.
    """

    status: SolveStatus
    limit: LimitReached | None = None
    objective: float | None = None
    bound: float | None = None
    x: Floats | None = None
    activity: Floats | None = None
    prices: Floats | None = None
    reduced_costs: Floats | None = None
    iterations: int = 0
    nodes: int = 0
    seconds: float = 0.0

    @property
    def gap(self) -> float | None:
        """Return the relative gap as a fraction, or None without a solution and a bound."""
        if self.objective is None or self.bound is None:
            return None
        return relative_gap(self.objective, self.bound)

    @property
    def point(self) -> Floats:
        """Return x. FatalError: there is no solution, and the caller should have looked at the status."""
        if self.x is None:
            raise FatalError("solver_failed", f"no solution to read: {self.status}")
        return self.x


class Solver:
    """One model inside HiGHS, to solve, change and solve again from where it stands.

    Runs in the calling thread; progress is told of incumbents and asked whether to stop from HiGHS's own callbacks.
    FatalError(`solver_failed`): HiGHS refused the model or gave up.
    """

    def __init__(self, model: Model, limits: SolveLimits | None = None, progress: Progress | None = None) -> None:
        model = without_impossible(model)
        self.limits = limits or SolveLimits()
        self.progress = progress or Silent()
        self.linear = model.is_linear
        self.maximize = model.maximize
        self._can_win = bool(model.costs.any())
        self._column_scale, self._row_scale, self._cost_scale = scales_of(model)
        self._row_lower = model.row_lower.copy()
        self._row_upper = model.row_upper.copy()
        self._lower = model.lower.copy()
        self._upper = model.upper.copy()
        self._highs = highspy.Highs()
        self._set_options(model)
        self._pass(model)
        if self._has_listener:
            self._listen()

    def solve(self, seconds: float | None = None) -> Answer:
        """Run, from the basis or solution at hand. seconds: wall time of this run, else the limit's."""
        started = time.perf_counter()
        self._option("time_limit", max(1e-3, self.limits.seconds if seconds is None else seconds))
        self._run()
        if self._highs.getModelStatus() == Status.kUnboundedOrInfeasible and self._can_win:
            self._option("presolve", "off")
            self._run()
            self._option("presolve", "choose")
        return self._read(time.perf_counter() - started)

    def set_row_bounds(self, rows: NDArray[Any], lower: Floats, upper: Floats) -> None:
        """Change the limits of some rows; the basis stays, so that the next run is a short one."""
        self._row_lower[rows], self._row_upper[rows] = lower, upper
        scale = self._row_scale[rows]
        bounds = _meetable(lower * scale, upper * scale)
        self._ok(self._highs.changeRowsBounds(len(rows), rows.astype(np.int32), *bounds))

    def set_column_bounds(self, columns: NDArray[Any], lower: Floats, upper: Floats) -> None:
        """Change the bounds of some variables; the basis stays."""
        self._lower[columns], self._upper[columns] = lower, upper
        scale = self._column_scale[columns]
        bounds = _meetable(lower * scale, upper * scale)
        self._ok(self._highs.changeColsBounds(len(columns), columns.astype(np.int32), *bounds))

    def add_columns(self, matrix: Any, costs: Floats, lower: Floats, upper: Floats, sizes: Floats) -> None:
        """Append continuous variables about as large as `sizes`; matrix: csc_array (m, k).

        They enter at a bound; the basis stays.
        """
        scale = power_of_two(sizes)
        added = scaled(matrix, self._row_scale, scale)
        self._column_scale = np.append(self._column_scale, scale)
        self._lower, self._upper = np.append(self._lower, lower), np.append(self._upper, upper)
        status = self._highs.addCols(
            len(costs), costs * self._cost_scale / scale, lower * scale, upper * scale, added.nnz,
            added.indptr[:-1].astype(np.int32), added.indices.astype(np.int32), added.data,
        )  # fmt: skip
        self._ok(status)

    def start_from(self, x: Floats) -> None:
        """Offer a solution of a similar model as a start; HiGHS drops it when it does not fit."""
        columns = np.arange(len(x), dtype=np.int32)
        within = np.clip(x, self._lower, self._upper)
        self._ok(self._highs.setSolution(len(x), columns, within * self._column_scale))

    def basis(self) -> Any:
        """Return the basis of the last run, for `use_basis` of a solver of the same shape."""
        return self._highs.getBasis()

    def use_basis(self, basis: Any) -> None:
        """Start the next run from this basis."""
        self._ok(self._highs.setBasis(basis))

    @property
    def largest_cost(self) -> float:
        """Return the size of the largest coefficient of the objective, to within a factor of two."""
        return 1.0 / self._cost_scale

    @property
    def row_sizes(self) -> Floats:
        """Return about how large the terms of each row can be, shape (m,)."""
        return np.asarray(1.0 / self._row_scale, dtype=np.float64)

    @property
    def column_sizes(self) -> Floats:
        """Return about how large each variable can be, shape (n,)."""
        return np.asarray(1.0 / self._column_scale, dtype=np.float64)

    @property
    def row_bounds(self) -> tuple[Floats, Floats]:
        """Return the limits of all rows as they stand now: lower, upper, shape (m,) each."""
        return self._row_lower, self._row_upper

    @property
    def column_bounds(self) -> tuple[Floats, Floats]:
        """Return the bounds of all variables as they stand now: lower, upper, shape (n,) each."""
        return self._lower, self._upper

    def basic(self) -> NDArray[Any]:
        """Return the m basic variables after an LP run: the index of a column, or -1 - index of a row."""
        status, variables = self._highs.getBasicVariables()
        self._ok(status)
        return np.asarray(variables)

    def basic_rates(self, row_rates: Floats) -> Floats:
        """Return how fast each basic variable moves when the right-hand sides of the equations A·x - activity = 0 move.

        row_rates: shape (m,), per unit of a field. The answer has the order of `basic`; of a basic row, its activity.
        """
        status, rates = self._highs.getBasisSolve(row_rates * self._row_scale)
        self._ok(status)
        basic = self.basic()
        rows = basic < 0
        rates[rows] /= -self._row_scale[-1 - basic[rows]]
        rates[~rows] /= self._column_scale[basic[~rows]]
        return np.asarray(rates, dtype=np.float64)

    def column(self, index: int) -> Floats:
        """Return one column of the matrix as a dense array, shape (m,)."""
        status, rows, values = self._highs.getColEntries(index)
        self._ok(status)
        dense = np.zeros(len(self._row_lower))
        dense[rows] = values / self._row_scale[rows] * self._column_scale[index]
        return dense

    def _set_options(self, model: Model) -> None:
        limits = self.limits
        # Linear programs and small MILPs gain nothing from a second thread, and pay milliseconds for its start.
        threads = limits.threads if not self.linear and len(model.costs) >= _WORTH_THREADS else 1
        if getattr(_threads_in_use, "count", threads) != threads:
            # HiGHS keeps its pool per thread: another count makes run() fail until the pool is built anew.
            highspy.Highs.resetGlobalScheduler(True)
        _threads_in_use.count = threads
        self._option("output_flag", logger.isEnabledFor(logging.INFO) and self._has_listener)
        self._option("threads", threads)
        self._option("random_seed", limits.seed % 2**31)
        self._option("mip_rel_gap", limits.relative_gap)
        self._option("mip_abs_gap", 0.0)
        self._option("small_matrix_value", _SMALLEST_TERM)
        self._option("large_matrix_value", _LARGEST_TERM)
        self._set_tolerances(TOLERANCE)

    def _pass(self, model: Model) -> None:
        matrix = scaled(model.matrix, self._row_scale, self._column_scale)
        rows, columns = matrix.shape
        whole = np.zeros(columns, np.int32) if model.integer is None else model.integer.astype(np.int32)
        passed = self._highs.passModel(
            columns, rows, matrix.nnz, _COLUMNWISE, -1 if self.maximize else 1, model.offset * self._cost_scale,
            model.costs * self._cost_scale / self._column_scale,
            *_meetable(model.lower * self._column_scale, model.upper * self._column_scale),
            *_meetable(model.row_lower * self._row_scale, model.row_upper * self._row_scale),
            matrix.indptr.astype(np.int32), matrix.indices.astype(np.int32), matrix.data, whole,
        )  # fmt: skip
        self._ok(passed)

    def hush(self) -> None:
        """Tell, print and ask nothing more: what is solved from here on are questions about the answer."""
        if not self._has_listener:
            return
        self.progress = Silent()
        self._option("output_flag", False)
        for callback in (*self._interrupts(), *self._incumbents()):
            callback.clear()

    @property
    def _has_listener(self) -> bool:
        """Whether anyone may hear of progress, or ask to stop; `Silent` itself does neither."""
        return type(self.progress) is not Silent

    def _listen(self) -> None:
        for callback in self._interrupts():
            callback.subscribe(self._on_interrupt)
        for callback in self._incumbents():
            callback.subscribe(self._on_incumbent)

    def _interrupts(self) -> Sequence[Any]:
        return self._highs.cbSimplexInterrupt, self._highs.cbIpmInterrupt, self._highs.cbMipInterrupt

    def _incumbents(self) -> Sequence[Any]:
        return self._highs.cbMipImprovingSolution, self._highs.cbMipLogging

    def _on_interrupt(self, event: Any) -> None:
        if self.progress.stop_requested():
            event.interrupt()

    def _on_incumbent(self, event: Any) -> None:
        found, bound = event.data_out.mip_primal_bound, event.data_out.mip_dual_bound
        self.progress.incumbent(self._unscaled(found), self._unscaled(bound))

    def _run(self) -> None:
        ended = self._highs.run()
        for tolerance, presolve, solver in _SECOND_TRIES:
            if ended != highspy.HighsStatus.kError and self._highs.getModelStatus() != Status.kUnknown:
                return
            # From a basis at hand HiGHS may end short of its tolerances, or give up; from scratch it rarely does.
            self._ok(self._highs.clearSolver())
            self._set_tolerances(tolerance)
            self._option("presolve", presolve)
            self._option("solver", solver)
            ended = self._highs.run()
            self._set_tolerances(TOLERANCE)
            self._option("presolve", "choose")
            self._option("solver", "choose")
        if ended == highspy.HighsStatus.kError:
            raise FatalError("solver_failed", f"HiGHS could not run: {self._highs.getModelStatus()}")

    def _set_tolerances(self, tolerance: float) -> None:
        self._option("mip_feasibility_tolerance", tolerance)
        self._option("primal_feasibility_tolerance", tolerance)
        self._option("dual_feasibility_tolerance", tolerance)

    def _read(self, seconds: float) -> Answer:
        highs, info = self._highs, self._highs.getInfo()
        ended = highs.getModelStatus()
        counts = {
            "iterations": max(0, info.simplex_iteration_count) + max(0, info.ipm_iteration_count),
            "nodes": max(0, int(info.mip_node_count)),
            "seconds": seconds,
        }
        limit = _LIMITS.get(ended)
        if ended in _PROVEN and _PROVEN[ended] is not SolveStatus.OPTIMAL:
            return Answer(status=_PROVEN[ended], **counts)
        if ended not in _PROVEN and limit is None:
            raise FatalError("solver_failed", f"HiGHS ended with {highs.modelStatusToString(ended)}")
        if ended not in _PROVEN and info.primal_solution_status != _FEASIBLE_POINT:
            bound = None if self.linear else self._unscaled(info.mip_dual_bound)
            return Answer(status=SolveStatus.NO_SOLUTION, limit=limit, bound=bound, **counts)
        return self._answer(SolveStatus.OPTIMAL if ended in _PROVEN else SolveStatus.FEASIBLE, limit, info, counts)

    def _answer(self, status: SolveStatus, limit: LimitReached | None, info: Any, counts: dict[str, Any]) -> Answer:
        solution = self._highs.getSolution()
        objective = self._unscaled(info.objective_function_value)
        bound = objective if self.linear else self._unscaled(info.mip_dual_bound)
        if self.linear and status is not SolveStatus.OPTIMAL:
            bound = None
        has_duals = self.linear and solution.dual_valid
        return Answer(
            status=status,
            limit=limit,
            objective=objective,
            bound=bound,
            x=np.array(solution.col_value) / self._column_scale,
            activity=np.array(solution.row_value) / self._row_scale,
            prices=np.array(solution.row_dual) * self._row_scale / self._cost_scale if has_duals else None,
            reduced_costs=np.array(solution.col_dual) * self._column_scale / self._cost_scale if has_duals else None,
            **counts,
        )

    def _unscaled(self, objective: float) -> float | None:
        return float(objective) / self._cost_scale if abs(objective) < highspy.kHighsInf else None

    def _option(self, name: str, value: Any) -> None:
        self._ok(self._highs.setOptionValue(name, value))

    @staticmethod
    def _ok(status: Any) -> None:
        if status == highspy.HighsStatus.kError:
            raise FatalError("solver_failed", "HiGHS refused the model")


def solve(model: Model, limits: SolveLimits | None = None, progress: Progress | None = None) -> Answer:
    """Solve a model once."""
    return Solver(model, limits, progress).solve()


def _meetable(lower: Floats, upper: Floats) -> tuple[Floats, Floats]:
    """Return bounds of which none is so far on the wrong side that HiGHS refuses it, instead of finding it broken."""
    return np.minimum(lower, _FAR_AWAY), np.maximum(upper, -_FAR_AWAY)
