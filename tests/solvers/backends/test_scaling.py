"""Scaling: how large variables can be is seen from bounds and rows, and nothing drowns beside what can't be."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import linprog

from solvers.backends.conflicts import conflict
from solvers.backends.highs import solve
from solvers.backends.model import INFINITY, Model, Row, model_from_rows
from solvers.backends.scaling import reach, scales_of, without_impossible
from solvers.result import SolveStatus


def packing(values: list[float], limit: float, **changes: object) -> Model:
    n = len(values)
    model = model_from_rows(
        costs=np.ones(n), lower=np.zeros(n), upper=np.ones(n), rows=[Row("row", range(n), values, upper=limit)],
        maximize=True,
    )  # fmt: skip
    return replace(model, **changes)


def test_reach_is_the_least_of_bound_size_and_what_a_row_leaves() -> None:
    model = packing([1.0, 100.0, 1e9], 10.0)
    np.testing.assert_allclose(reach(model), [1.0, 0.1, 1e-8])
    np.testing.assert_allclose(reach(replace(model, sizes=np.array([0.5, 1.0, 1.0]))), [0.5, 0.1, 1e-8])
    np.testing.assert_allclose(reach(replace(model, lower=np.array([0.0, 0.2, 0.0]))), [1.0, 0.2, 1e-8])


def test_a_row_whose_terms_make_up_for_each_other_says_nothing_of_reach() -> None:
    assert reach(packing([1e9, -1.0], 10.0)).tolist() == [1.0, 1.0]
    assert reach(packing([1e9, 1.0], 10.0, lower=np.array([0.0, -1.0]))).tolist() == [1.0, 1.0]
    assert reach(packing([1e9, 1.0], INFINITY)).tolist() == [1.0, 1.0]


def test_the_largest_term_of_each_row_is_about_one() -> None:
    model = packing([1e-3, 5.0, 1e14], 3e6)
    scales = scales_of(model)
    terms = model.matrix.toarray() * scales.rows[:, None] / scales.columns * (reach(model) * scales.columns)
    assert 0.5 < terms.max() <= 2.0
    assert {np.log2(scale) % 1 for scale in (*scales.rows, *scales.columns, scales.costs)} == {0.0}


@pytest.mark.parametrize("giant", [1e3, 1e8, 1e15, 1e25])
def test_what_can_be_no_more_than_next_to_nothing_does_not_drown_the_others(giant: float) -> None:
    model = packing([giant, 3.0, 4.0], 5.0, costs=np.array([1.0, 3.0, 3.0]))
    answer = solve(model)
    assert answer.objective == pytest.approx(4.5, rel=1e-8)
    assert answer.point[1:] == pytest.approx([1.0, 0.5])


@pytest.mark.parametrize("giant", [1e3, 1e15])
def test_where_a_limit_leaves_nothing_small_terms_vanish_beside_giants_too(giant: float) -> None:
    assert solve(packing([giant, 4.0, 0.0], 0.0)).point.tolist() == [0.0, 0.0, 1.0]


def test_whole_variables_that_can_not_be_one_are_out_of_all_rows() -> None:
    model = packing([30.0, 3.0, 1e18], 10.0, integer=np.ones(3, dtype=bool))
    possible = without_impossible(model)
    assert possible.upper.tolist() == [0.0, 1.0, 0.0]
    assert possible.matrix.toarray().tolist() == [[0.0, 3.0, 0.0]]
    assert solve(model).point.tolist() == [0.0, 1.0, 0.0]


def test_a_limit_that_nothing_can_meet_is_infeasible_however_far_off() -> None:
    assert solve(packing([1.0], -1e30)).status is SolveStatus.INFEASIBLE
    assert solve(packing([1.0], INFINITY, row_lower=np.array([1e30]))).status is SolveStatus.INFEASIBLE


@pytest.mark.parametrize("seed", range(60))
def test_programs_of_very_different_numbers_agree_with_scipy_on_balanced_ones(seed: int) -> None:
    generator = np.random.default_rng(seed)
    n, m = int(generator.integers(2, 7)), int(generator.integers(1, 4))
    balanced = model_from_rows(
        costs=generator.uniform(0.1, 1.0, n), lower=np.zeros(n), upper=np.full(n, INFINITY), maximize=True,
        rows=[Row(f"r{i}", np.arange(n), generator.uniform(0.1, 1.0, n), upper=1.0) for i in range(m)],
    )  # fmt: skip
    best = linprog(-balanced.costs, A_ub=balanced.matrix.toarray(), b_ub=balanced.row_upper)
    columns, rows, cost = 10 ** generator.uniform(-9, 9, n), 10 ** generator.uniform(-9, 9, m), 1e12
    wild = replace(
        balanced,
        costs=balanced.costs * columns * cost,
        matrix=(balanced.matrix.multiply(rows[:, None]).multiply(columns)).tocsc(),
        row_upper=rows,
    )
    answer = solve(wild)
    assert answer.objective == pytest.approx(-best.fun * cost, rel=1e-7)
    assert np.all(wild.matrix @ answer.point <= wild.row_upper * (1 + 1e-7))


def test_a_conflict_stays_irreducible_where_a_row_kept_a_variable_small() -> None:
    """Without the limit of area a lease may be signed often: then the mean holds, and the limit is named."""
    n = 2
    rows = [
        Row("most", [0], [1.0], upper=1e6), Row("least", [1], [1.0], lower=1.0),
        Row("mean", [0, 1], [1e9, -1e13], lower=0.0), Row("area", range(n), [1e9, 1.0], upper=1e3),
    ]  # fmt: skip
    model = model_from_rows(costs=np.ones(n), lower=np.zeros(n), upper=np.full(n, INFINITY), rows=rows)
    assert [model.row_names[row] for row in conflict(model)] == ["least", "mean", "area"]
