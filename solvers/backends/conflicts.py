"""Why nothing fits, and what the least change would be: irreducible conflicts and elastic relaxations."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import highspy
import numpy as np
from scipy import sparse

from solvers.backends.highs import Solver, solve
from solvers.backends.model import INFINITY, Floats, Model, Row, Shift, model_from_rows
from solvers.backends.scaling import largest_terms, reach
from solvers.limits import SolveLimits
from solvers.result import SolveStatus

_IIS_OF_LINEAR = 2
_IIS_OF_INTEGER = 2 | 16


def conflict(model: Model, limits: SolveLimits | None = None, *, always: Collection[int] = ()) -> list[int]:
    """Return rows of an infeasible model that can't hold together, none of which can be left out; [] when feasible.

    Bounds and integrality of the variables always hold, and the rows of `always`, which are never named: what should be
    named in a conflict is written as another row. Rows that come first are left out first, where there is a choice.
    """
    solver = Solver(replace(model, costs=np.zeros_like(model.costs)), limits)
    if solver.solve().status is not SolveStatus.INFEASIBLE:
        return []
    members = [row for row in range(len(model.row_lower)) if row not in always]
    guess = [row for row in _suspects(model) if row not in always]
    if guess and _infeasible_with(solver, model, [*guess, *always]):
        members = guess
    for row in list(members):
        rest = [other for other in members if other != row]
        if _infeasible_with(solver, model, [*rest, *always]):
            members = rest
    return members


def elastic(model: Model, shifts: Sequence[Shift], weights: Sequence[float] | None = None) -> Floats | None:
    """Return the least growth ≥ 0 of each field, by weighted sum, that makes the model feasible; None: none does.

    shifts: one per field, pointing to where it relaxes. weights: cost per unit of each field, 1 where left out.
    """
    stretched = _stretched(model, shifts, weights or [1.0] * len(shifts))
    answer = Solver(stretched).solve()
    return None if answer.x is None else np.asarray(answer.x[-len(shifts) :], dtype=np.float64)


def _suspects(model: Model) -> list[int]:
    """Return the rows that HiGHS accuses, to be verified: its strategy for integers may accuse too few."""
    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
    highs.setOptionValue("iis_strategy", _IIS_OF_LINEAR if model.is_linear else _IIS_OF_INTEGER)
    highs.passModel(_as_highs_lp(model))
    highs.run()
    status, found = highs.getIis()
    return sorted(found.row_index_) if status == highspy.HighsStatus.kOk and found.valid_ else []


def _as_highs_lp(model: Model) -> highspy.HighsLp:
    lp = highspy.HighsLp()
    rows, columns = model.matrix.shape
    lp.num_row_, lp.num_col_ = rows, columns
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = np.zeros(columns), model.lower, model.upper
    lp.row_lower_, lp.row_upper_ = model.row_lower, model.row_upper
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_, lp.a_matrix_.index_ = model.matrix.indptr, model.matrix.indices
    lp.a_matrix_.value_ = model.matrix.data
    if model.integer is not None:
        kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
        lp.integrality_ = [kinds[int(whole)] for whole in model.integer]
    return lp


def _infeasible_with(solver: Solver, model: Model, rows: Sequence[int]) -> bool:
    """Tell whether some of the rows alone are infeasible together.

    A solver at hand is quick to find a solution. That there is none counts once a program of these rows alone says so:
    without the others, variables may become far larger than they were scaled for.
    """
    kept = np.zeros(len(model.row_lower), dtype=bool)
    kept[list(rows)] = True
    lower, upper = np.where(kept, model.row_lower, -INFINITY), np.where(kept, model.row_upper, INFINITY)
    solver.set_row_bounds(np.arange(len(kept)), lower, upper)
    if solver.solve().status is not SolveStatus.INFEASIBLE:
        return False
    alone = replace(
        model,
        costs=np.zeros_like(model.costs),
        matrix=model.matrix.tocsr()[kept].tocsc(),
        row_lower=model.row_lower[kept],
        row_upper=model.row_upper[kept],
        row_names=[name for name, stays in zip(model.row_names, kept, strict=True) if stays],
    )
    return solve(alone, solver.limits).status is SolveStatus.INFEASIBLE


def _stretched(model: Model, shifts: Sequence[Shift], weights: Sequence[float]) -> Model:
    """Return the model with a column per field that loosens what the field moves; the least weighted sum is sought."""
    columns, fields = len(model.costs), len(shifts)
    free = replace(
        model,
        row_lower=_released(model.row_lower, [shift.row_lower for shift in shifts], -INFINITY),
        row_upper=_released(model.row_upper, [shift.row_upper for shift in shifts], INFINITY),
        lower=_released(model.lower, [shift.column_lower for shift in shifts], -INFINITY),
        upper=_released(model.upper, [shift.column_upper for shift in shifts], INFINITY),
    )
    sizes = reach(free)
    elastic_rows = model_from_rows(
        costs=np.concatenate([np.zeros(columns), np.asarray(weights, dtype=np.float64)]),
        lower=np.concatenate([free.lower, np.zeros(fields)]),
        upper=np.concatenate([free.upper, np.full(fields, INFINITY)]),
        rows=list(_elastic_rows(model, shifts)),
        integer=None if model.integer is None else np.concatenate([model.integer, np.zeros(fields, dtype=bool)]),
        sizes=np.concatenate([sizes, _growth_sizes(model, shifts, sizes)]),
    )
    wide = sparse.hstack([model.matrix, sparse.csc_array((len(model.row_lower), fields))], format="csc")
    return replace(
        elastic_rows,
        matrix=sparse.vstack([wide, elastic_rows.matrix], format="csc"),
        row_lower=np.concatenate([free.row_lower, elastic_rows.row_lower]),
        row_upper=np.concatenate([free.row_upper, elastic_rows.row_upper]),
        row_names=[*model.row_names, *elastic_rows.row_names],
    )


def _growth_sizes(model: Model, shifts: Sequence[Shift], sizes: Floats) -> Floats:
    """Return about by how much each field may have to grow: by what is largest in all that it moves."""
    rows = largest_terms(model.matrix, sizes)
    growths = []
    for shift in shifts:
        in_rows = [
            rows[row] / abs(rate) for moved in (shift.row_lower, shift.row_upper) for row, rate in moved.items() if rate
        ]
        bounds = [
            sizes[column] / abs(rate)
            for moved in (shift.column_lower, shift.column_upper)
            for column, rate in moved.items()
            if rate
        ]
        growths.append(max([*in_rows, *bounds], default=1.0))
    return np.array(growths)


def _released(bounds: Floats, rates: Sequence[Mapping[int, float]], to: float) -> Floats:
    """Return bounds without those that fields move: these become rows."""
    released = bounds.copy()
    released[sorted({index for moved in rates for index in moved})] = to
    return released


def _elastic_rows(model: Model, shifts: Sequence[Shift]) -> Iterator[Row]:
    """Yield a row for each bound that fields move: what it bounds, less the growth of each field times its rate."""
    by_row, columns = model.matrix.tocsr(), len(model.costs)
    for side, row_bounds, column_bounds in (
        ("lower", model.row_lower, model.lower),
        ("upper", model.row_upper, model.upper),
    ):
        for is_row, bounds in ((True, row_bounds), (False, column_bounds)):
            moves = [getattr(shift, f"{'row' if is_row else 'column'}_{side}") for shift in shifts]
            for index in sorted({index for rates in moves for index in rates}):
                part = slice(by_row.indptr[index], by_row.indptr[index + 1]) if is_row else None
                indices = [index] if part is None else by_row.indices[part].tolist()
                values = [1.0] if part is None else by_row.data[part].tolist()
                growing = [field for field, rates in enumerate(moves) if index in rates]
                indices += [columns + field for field in growing]
                values += [-moves[field][index] for field in growing]
                limit = float(bounds[index])
                yield Row("", indices, values, **{side: limit})
