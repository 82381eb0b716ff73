"""A linear or mixed-integer model as plain arrays, and how a problem field moves it. Building one needs no solver."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats: TypeAlias = NDArray[np.float64]
Whole: TypeAlias = NDArray[np.int64]
INFINITY = float("inf")


class Row(NamedTuple):
    """One constraint: lower ≤ Σ values·x[columns] ≤ upper. An equation has lower = upper; ±INFINITY is no limit."""

    name: str
    columns: Sequence[int] | NDArray[Any]
    values: Sequence[float] | NDArray[Any]
    lower: float = -INFINITY
    upper: float = INFINITY


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Maximize or minimize costs·x + offset with row_lower ≤ matrix·x ≤ row_upper, lower ≤ x ≤ upper.

    n columns (variables) and m rows (constraints): costs, lower, upper, integer have shape (n,); row_lower, row_upper
    and row_names (m,); matrix is scipy's csc_array (m, n). `integer` None: a linear program. sizes: about how large
    each variable is, shape (n,), so that money and shares can stand in one program (None: about one; whole ones are).
    """

    costs: Floats
    lower: Floats
    upper: Floats
    matrix: Any
    row_lower: Floats
    row_upper: Floats
    row_names: Sequence[str]
    integer: NDArray[np.bool_] | None = None
    maximize: bool = False
    offset: float = 0.0
    sizes: Floats | None = None

    @property
    def is_linear(self) -> bool:
        """Tell whether no variable must be whole."""
        return self.integer is None or not bool(self.integer.any())

    def relaxed(self) -> "Model":
        """Return the same model without integrality."""
        return replace(self, integer=None)

    def fixed(self, x: Floats) -> "Model":
        """Return the linear program left when every whole variable is fixed at its (rounded) value in x."""
        if self.integer is None:
            return self
        at = np.round(x)
        return replace(
            self,
            lower=np.where(self.integer, at, self.lower),
            upper=np.where(self.integer, at, self.upper),
            integer=None,
        )


def model_from_rows(
    *,
    costs: Floats,
    lower: Floats,
    upper: Floats,
    rows: Sequence[Row],
    integer: NDArray[np.bool_] | None = None,
    maximize: bool = False,
    offset: float = 0.0,
    sizes: Floats | None = None,
) -> Model:
    """Stack named rows over the columns that costs and bounds describe."""
    counts = [len(row.columns) for row in rows]
    shape = (len(rows), len(costs))
    indices = np.concatenate([np.asarray(row.columns, dtype=np.int32) for row in rows] or [np.empty(0, np.int32)])
    values = np.concatenate([np.asarray(row.values, dtype=np.float64) for row in rows] or [np.empty(0)])
    starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    return Model(
        costs=np.asarray(costs, dtype=np.float64),
        lower=np.asarray(lower, dtype=np.float64),
        upper=np.asarray(upper, dtype=np.float64),
        matrix=sparse.csr_array((values, indices, starts), shape=shape).tocsc(),
        row_lower=np.array([row.lower for row in rows], dtype=np.float64),
        row_upper=np.array([row.upper for row in rows], dtype=np.float64),
        row_names=[row.name for row in rows],
        integer=integer,
        maximize=maximize,
        offset=offset,
        sizes=sizes,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """How the bounds of a model move when one problem field grows by one unit: index → rate.

    A field may stand in several rows (`budget` under caps that are shares of it). Where it is a coefficient a(θ) of a
    row a(θ)·x ≤ b(θ), the rate of that row is db/dθ − (da/dθ)·x at the optimum x: a first derivative, without a range.
    """

    row_lower: Mapping[int, float] = field(default_factory=dict)
    row_upper: Mapping[int, float] = field(default_factory=dict)
    column_lower: Mapping[int, float] = field(default_factory=dict)
    column_upper: Mapping[int, float] = field(default_factory=dict)
