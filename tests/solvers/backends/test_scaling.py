"""Scaling: how large variables can be is seen from bounds and rows, and nothing drowns beside what can't be."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import linprog

from solvers.backends.conflicts import conflict
from solvers.backends.highs import Solver, solve
from solvers.backends.linear import Pricer
from solvers.backends.model import INFINITY, Model, Row, Shift, model_from_rows
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


def stretched(model: Model, generator: np.random.Generator) -> tuple[Model, np.ndarray, np.ndarray, float]:
    """The same program in other units of its variables, rows and objective, and these units."""
    rows, columns = model.matrix.shape
    of_rows, of_columns, of_costs = (
        10 ** generator.uniform(-9, 9, rows),
        10 ** generator.uniform(-12, 12, columns),
        1e12,
    )
    matrix = model.matrix.multiply(of_rows[:, None]).multiply(of_columns).tocsc()
    costs = model.costs * of_columns * of_costs
    return (
        replace(model, costs=costs, matrix=matrix, row_upper=model.row_upper * of_rows),
        of_rows,
        of_columns,
        of_costs,
    )


@pytest.mark.parametrize("seed", range(60))
def test_units_far_apart_change_neither_the_answer_nor_prices_and_their_ranges(seed: int) -> None:
    generator = np.random.default_rng(seed)
    n, m = int(generator.integers(2, 7)), int(generator.integers(1, 4))
    plain = model_from_rows(
        costs=generator.uniform(0.1, 1.0, n), lower=np.zeros(n), upper=np.full(n, INFINITY), maximize=True,
        rows=[Row(f"r{i}", np.arange(n), generator.uniform(0.1, 1.0, n), upper=1.0) for i in range(m)],
    )  # fmt: skip
    best = linprog(-plain.costs, A_ub=plain.matrix.toarray(), b_ub=plain.row_upper)
    wild, of_rows, of_columns, of_costs = stretched(plain, generator)
    one, other = Solver(plain), Solver(wild)
    near, far = one.solve(), other.solve()
    assert far.objective == pytest.approx(-best.fun * of_costs, rel=1e-7)
    np.testing.assert_allclose(far.point * of_columns, near.point, atol=1e-7)
    for row in range(m):
        price = Pricer(one).price(Shift(row_upper={row: 1.0}), scale=1.0)
        same = Pricer(other).price(Shift(row_upper={row: 1.0}), scale=of_rows[row])
        assert same.slope * of_rows[row] / of_costs == pytest.approx(price.slope, abs=1e-7)
        assert (same.low / of_rows[row], same.high / of_rows[row]) == pytest.approx((price.low, price.high), rel=1e-6)


def test_a_conflict_stays_irreducible_where_a_row_kept_a_variable_small() -> None:
    """Without the limit of area a lease may be signed often: then the mean holds, and the limit is named."""
    n = 2
    rows = [
        Row("most", [0], [1.0], upper=1e6), Row("least", [1], [1.0], lower=1.0),
        Row("mean", [0, 1], [1e9, -1e13], lower=0.0), Row("area", range(n), [1e9, 1.0], upper=1e3),
    ]  # fmt: skip
    model = model_from_rows(costs=np.ones(n), lower=np.zeros(n), upper=np.full(n, INFINITY), rows=rows)
    assert [model.row_names[row] for row in conflict(model)] == ["least", "mean", "area"]
