"""How large the variables and rows of a model are, so that a solver's absolute tolerances mean the same for all.

All scales are powers of two: exact in floating point.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from solvers.backends.model import INFINITY, Floats, Model

_ONE = 1 - 1e-6
_FARTHEST_LIMIT = 2.0**40
"""Of the largest term of a row: rounding errors must not have a limit blown up to what HiGHS takes for infinite."""
_MOST_POWER = 300
"""Of two: numbers so small or large that nobody means them must not overflow."""


class Scales(NamedTuple):
    """Factors from a model's own numbers to a solver's: of variables (n,), of rows (m,), of the objective."""

    columns: Floats
    rows: Floats
    costs: float


class _Entries(NamedTuple):
    """What many ask of a matrix: the column of each entry, and which rows have no term that can be negative."""

    columns: NDArray[np.int64]
    packing: NDArray[np.bool_]


def scales_of(model: Model) -> Scales:
    """Return the scales with which the largest variable, and the largest term of each row and of the objective, is 1.

    Whole variables stay as they are. What must be 0 does not count, and is scaled so that it is nowhere the largest;
    where all terms of a row must vanish, the smallest is 1.
    """
    entries = _entries(model)
    sizes, must_vanish = _reach(model, entries), _vanishing(model, entries)
    counted = np.where(must_vanish, 0.0, sizes)
    rows = _row_sizes(model, counted[entries.columns])
    cost = np.abs(model.costs * counted).max(initial=0.0)
    if must_vanish.any():
        fitting = np.maximum(_fitting(model, entries, rows, cost), sizes / _FARTHEST_LIMIT)
        sizes = np.where(must_vanish, np.minimum(sizes, fitting), sizes)
    if not rows.all():
        rows = np.where(rows > 0, rows, _smallest_terms(model.matrix, sizes[entries.columns]))
    cost = cost or np.abs(model.costs * sizes).max(initial=0.0)
    return Scales(
        columns=np.where(_whole(model), 1.0, power_of_two(sizes)),
        rows=power_of_two(rows),
        costs=float(power_of_two(np.array([cost]))[0]),
    )


def without_impossible(model: Model) -> Model:
    """Return the model with each whole variable that can't be 1 held at 0, and out of all rows."""
    if model.integer is None:
        return model
    possible = ~(model.integer & (reach(model) < _ONE) & (model.lower <= 0))
    matrix = model.matrix.copy()
    matrix.data = matrix.data * np.repeat(possible, np.diff(matrix.indptr))
    matrix.eliminate_zeros()
    upper = np.where(possible, model.upper, 0.0)
    return replace(model, costs=model.costs * possible, upper=upper, matrix=matrix)


def reach(model: Model) -> Floats:
    """Return about how large each variable can be, > 0, shape (n,).

    By its bounds, by the size that its model gives, and by what each row leaves to it alone whose terms can't make up
    for each other. Where none of these says anything: 1.
    """
    return _reach(model, _entries(model))


def _reach(model: Model, entries: _Entries) -> Floats:
    data, rows = model.matrix.data, model.matrix.indices
    if model.sizes is None:
        most = np.where(model.upper > 0, model.upper, 1.0)
    else:
        most = np.where(model.upper > 0, model.upper, INFINITY)
        most = np.where(_whole(model), most, np.minimum(most, model.sizes))
    tells = (entries.packing & (model.row_upper > 0) & np.isfinite(model.row_upper))[rows] & (data > 0)
    with np.errstate(over="ignore"):
        np.minimum.at(most, entries.columns[tells], model.row_upper[rows[tells]] / data[tells])
    most = np.maximum(most, np.where(np.isfinite(model.lower), np.abs(model.lower), 0.0))
    return np.asarray(np.where(np.isfinite(most), most, 1.0), dtype=np.float64)


def largest_terms(matrix: Any, sizes: Floats) -> Floats:
    """Return about how large the largest term of each row can be, shape (m,); 1 for a row without terms."""
    largest = np.zeros(matrix.shape[0])
    np.maximum.at(largest, matrix.indices, np.abs(matrix.data) * np.repeat(sizes, np.diff(matrix.indptr)))
    return np.where(largest > 0, largest, 1.0)


def power_of_two(magnitudes: Floats) -> Floats:
    """Return for each magnitude m ≥ 0 about the power of two nearest to 1/m (1 where m is 0)."""
    safe = np.where(magnitudes > 0, magnitudes, 1.0)
    powers = np.clip(-np.round(np.log2(safe)), -_MOST_POWER, _MOST_POWER)
    return np.asarray(np.exp2(powers), dtype=np.float64)


def scaled(matrix: Any, rows: Floats, columns: Floats) -> Any:
    """Return a matrix (csc_array) with scaled rows and columns."""
    other = matrix.copy()
    other.data = matrix.data * rows[matrix.indices] / np.repeat(columns, np.diff(matrix.indptr))
    return other


def _row_sizes(model: Model, sizes: Floats) -> Floats:
    """Return the largest term of each row, its limit where that is far off; 0 where all must vanish.

    sizes: of each entry's variable.
    """
    limits = np.stack([model.row_lower, model.row_upper])
    limit = np.abs(np.where(np.isfinite(limits), limits, 0.0)).max(axis=0)
    largest = np.zeros(len(limit))
    np.maximum.at(largest, model.matrix.indices, np.abs(model.matrix.data) * sizes)
    size = np.where(largest > 0, np.maximum(largest, limit / _FARTHEST_LIMIT), limit)
    return np.asarray(size, dtype=np.float64)


def _fitting(model: Model, entries: _Entries, rows: Floats, cost: float) -> Floats:
    """Return for each variable the size with which it is nowhere larger than what is largest there, shape (n,)."""
    data, of_row = np.abs(model.matrix.data), rows[model.matrix.indices]
    there = (of_row > 0) & (data > 0)
    with np.errstate(divide="ignore", over="ignore"):
        most = cost / np.abs(model.costs) if cost > 0 else np.full(len(model.costs), INFINITY)
        np.minimum.at(most, entries.columns[there], of_row[there] / data[there])
    return np.asarray(most, dtype=np.float64)


def _smallest_terms(matrix: Any, sizes: Floats) -> Floats:
    """Return about how large the smallest term of each row can be, shape (m,); 1 for a row without terms.

    sizes: of each entry's variable.
    """
    terms = np.abs(matrix.data) * sizes
    smallest = np.full(matrix.shape[0], INFINITY)
    np.minimum.at(smallest, matrix.indices[terms > 0], terms[terms > 0])
    return np.where(np.isfinite(smallest), smallest, 1.0)


def _vanishing(model: Model, entries: _Entries) -> NDArray[np.bool_]:
    """Tell which variables must be 0: by their bounds, or since a row leaves nothing to any of its terms."""
    must = np.asarray((model.lower == 0) & (model.upper == 0), dtype=np.bool_)
    nothing = (entries.packing & (model.row_upper == 0))[model.matrix.indices] & (model.matrix.data > 0)
    must[entries.columns[nothing]] = True
    return must


def _entries(model: Model) -> _Entries:
    columns = np.repeat(np.arange(len(model.costs)), np.diff(model.matrix.indptr))
    negative = (model.matrix.data < 0) | (model.lower[columns] < 0)
    packing = np.ones(len(model.row_lower), dtype=bool)
    packing[model.matrix.indices[negative]] = False
    return _Entries(columns, packing)


def _whole(model: Model) -> NDArray[np.bool_]:
    return np.zeros(len(model.costs), dtype=bool) if model.integer is None else model.integer
