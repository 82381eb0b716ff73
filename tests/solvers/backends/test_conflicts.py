"""Conflicts can't be made smaller; the least relaxation makes the model feasible, and a bit less does not."""

from dataclasses import replace

import numpy as np
import pytest

from solvers.backends.conflicts import conflict, elastic
from solvers.backends.highs import solve
from solvers.backends.model import INFINITY, Model, Row, Shift, model_from_rows
from solvers.result import SolveStatus


def demands(seed: int, *, whole: bool) -> Model:
    """Each variable must be at least something, under limits that are mostly too tight."""
    generator = np.random.default_rng(seed)
    n = int(generator.integers(2, 7))
    musts = [Row(f"must:{j}", [j], [1.0], lower=float(generator.integers(0, 4))) for j in range(n)]
    limits = [
        Row(
            f"limit:{i}",
            np.arange(n),
            generator.integers(0, 4, n).astype(float),
            upper=float(generator.integers(1, 20)),
        )
        for i in range(3)
    ]
    return model_from_rows(
        costs=np.zeros(n), lower=np.zeros(n), upper=np.full(n, 5.0), rows=[*musts, *limits],
        integer=np.ones(n, dtype=bool) if whole else None,
    )  # fmt: skip


def with_rows(model: Model, rows: list[int]) -> SolveStatus:
    kept = np.isin(np.arange(len(model.row_lower)), rows)
    return solve(
        replace(
            model,
            row_lower=np.where(kept, model.row_lower, -INFINITY),
            row_upper=np.where(kept, model.row_upper, INFINITY),
        )
    ).status


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("seed", range(40))
def test_a_conflict_is_infeasible_and_irreducible(seed: int, whole: bool) -> None:
    model = demands(seed, whole=whole)
    rows = conflict(model)
    if solve(model).status is not SolveStatus.INFEASIBLE:
        assert rows == []
        return
    assert with_rows(model, rows) is SolveStatus.INFEASIBLE
    for row in rows:
        assert with_rows(model, [other for other in rows if other != row]) is not SolveStatus.INFEASIBLE


def test_a_conflict_that_only_wholeness_makes_is_found() -> None:
    model = model_from_rows(
        costs=np.zeros(2), lower=np.zeros(2), upper=np.ones(2), rows=[Row("odd", [0, 1], [2.0, 2.0], lower=1, upper=1)],
        integer=np.ones(2, dtype=bool),
    )  # fmt: skip
    assert conflict(model) == [0]
    assert conflict(model.relaxed()) == []


def test_rows_that_always_hold_are_never_named() -> None:
    model = demands(1, whole=False)
    limit = len(model.row_lower) - 3
    tight = replace(model, row_upper=np.where(np.arange(len(model.row_upper)) >= limit, 0.5, model.row_upper))
    assert not {limit, limit + 1, limit + 2} & set(conflict(tight, always=[limit, limit + 1, limit + 2]))


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("seed", range(30))
def test_the_least_relaxation_is_enough_and_less_is_not(seed: int, whole: bool) -> None:
    model = demands(seed, whole=whole)
    for row in range(len(model.row_lower) - 3, len(model.row_lower)):
        growth = elastic(model, [Shift(row_upper={row: 2.0})])
        if growth is None:
            assert with_rows(model, [r for r in range(len(model.row_lower)) if r != row]) is SolveStatus.INFEASIBLE
            continue
        upper = model.row_upper.copy()
        upper[row] += 2.0 * growth[0] + 1e-7
        assert solve(replace(model, row_upper=upper)).status is SolveStatus.OPTIMAL
        if growth[0] > 1e-6:
            upper[row] -= 1e-3
            assert solve(replace(model, row_upper=upper)).status is SolveStatus.INFEASIBLE


def test_several_fields_share_a_relaxation_by_weight() -> None:
    model = model_from_rows(
        costs=np.zeros(1), lower=np.array([3.0]), upper=np.array([9.0]),
        rows=[Row("a", [0], [1.0], upper=1.0), Row("b", [0], [1.0], upper=2.0)],
    )  # fmt: skip
    both = elastic(model, [Shift(row_upper={0: 1.0}), Shift(row_upper={1: 1.0})])
    np.testing.assert_allclose(both, [2.0, 1.0])
    dear = elastic(model, [Shift(row_upper={0: 1.0, 1: 1.0}), Shift(column_lower={0: -1.0})], [5.0, 1.0])
    np.testing.assert_allclose(dear, [0.0, 2.0])
