"""Prices of fields are checked against what the optimum does when the field is really moved."""

from dataclasses import replace

import numpy as np
import pytest

from solvers.backends.highs import Solver, solve
from solvers.backends.linear import Price, Pricer
from solvers.backends.model import Model, Row, Shift, model_from_rows
from solvers.result import SolveStatus


def random_packing(seed: int) -> Model:
    """Small whole numbers, so that ties and degenerate optima are the rule."""
    generator = np.random.default_rng(seed)
    n, groups = int(generator.integers(1, 9)), int(generator.integers(1, 4))
    price = generator.integers(1, 6, n) * 10.0
    worth = price * 0.1 if generator.random() < 0.5 else generator.integers(0, 8, n).astype(float)
    rows = [Row("budget", np.arange(n), price, upper=float(generator.integers(1, 12) * 10))]
    group = generator.integers(0, groups, n)
    for g in range(groups):
        members = np.flatnonzero(group == g)
        rows.append(Row(f"group:{g}", members, np.ones(len(members)), upper=float(generator.integers(0, 4)) * 0.5))
    maximize = bool(generator.random() < 0.8)
    return model_from_rows(
        costs=worth if maximize else -worth, lower=np.zeros(n), upper=np.ones(n), rows=rows, maximize=maximize
    )


def moved(model: Model, shift: Shift, change: float) -> Model:
    """The model with its bounds really changed."""
    bounds = {
        "row_lower": (model.row_lower, shift.row_lower),
        "row_upper": (model.row_upper, shift.row_upper),
        "lower": (model.lower, shift.column_lower),
        "upper": (model.upper, shift.column_upper),
    }
    changed = {name: array.copy() for name, (array, _) in bounds.items()}
    for name, (_, rates) in bounds.items():
        for index, rate in rates.items():
            changed[name][index] += change * rate
    return replace(model, **changed)


def fields_of(model: Model) -> list[tuple[Shift, float]]:
    """Every row limit, two limits that move together, every lower bound: each with its size."""
    limits = [(Shift(row_upper={i: 1.0}), max(1.0, limit)) for i, limit in enumerate(model.row_upper)]
    forced = [(Shift(column_lower={j: 1.0}), 1.0) for j in range(len(model.costs))]
    return [*limits, (Shift(row_upper={0: 1.0, 1: 0.05}), 10.0), *forced]


def priced(model: Model, shift: Shift, scale: float, relax: int) -> Price:
    solver = Solver(model)
    assert solver.solve().status is SolveStatus.OPTIMAL
    return Pricer(solver).price(shift, scale=scale, relax=relax)


@pytest.mark.parametrize("seed", range(60))
def test_a_price_is_the_one_sided_derivative_of_the_optimum(seed: int) -> None:
    model = random_packing(seed)
    before = solve(model).objective
    for shift, scale in fields_of(model):
        for relax in (1, -1):
            step = 1e-4 * scale * relax
            after = solve(moved(model, shift, step)).objective
            if after is not None:
                assert priced(model, shift, scale, relax).slope == pytest.approx((after - before) / step, abs=1e-5)


@pytest.mark.parametrize("seed", range(60))
def test_a_price_is_exact_up_to_the_ends_of_its_range_and_not_beyond(seed: int) -> None:
    model = random_packing(seed)
    before = solve(model).objective
    for shift, scale in fields_of(model):
        price = priced(model, shift, scale, 1)
        assert price.low <= 0 <= price.high
        for end, outwards in ((price.low, -1), (price.high, 1)):
            if not np.isfinite(end):
                continue
            for share in (0.5, 0.999):
                inside = solve(moved(model, shift, end * share)).objective
                assert inside == pytest.approx(before + price.slope * end * share, abs=1e-6)
            beyond = end * 1.01 + outwards * 1e-3
            outside = solve(moved(model, shift, beyond)).objective
            assert outside is None or abs(outside - before - price.slope * beyond) > 1e-9


def test_a_field_in_two_rows_is_priced_as_one() -> None:
    model = random_packing(3)
    solver = Solver(model)
    home = solver.solve()
    pricer = Pricer(solver)
    both = pricer.price(Shift(row_upper={0: 1.0, 1: 0.05}), scale=10.0)
    after = solve(moved(model, Shift(row_upper={0: 1.0, 1: 0.05}), 1e-3)).objective
    assert both.slope == pytest.approx((after - home.objective) / 1e-3, abs=1e-6)


def test_pricing_leaves_the_program_as_it_was() -> None:
    model = random_packing(5)
    solver = Solver(model)
    before = solver.solve()
    pricer = Pricer(solver)
    for shift, scale in fields_of(model):
        pricer.price(shift, scale=scale)
    assert solver.solve().objective == pytest.approx(before.objective, abs=1e-9)
    np.testing.assert_array_equal(solver.row_bounds[1], model.row_upper)
    np.testing.assert_array_equal(solver.column_bounds[0], model.lower)


def test_solving_at_another_limit_is_a_real_solve() -> None:
    model = random_packing(7)
    solver = Solver(model)
    solver.solve()
    shift = Shift(row_upper={0: 1.0})
    for change in (-5.0, 10.0, 1000.0):
        expected = solve(moved(model, shift, change))
        assert Pricer(solver).solve_at(shift, change).objective == pytest.approx(expected.objective, abs=1e-9)


def test_a_limit_that_cannot_be_tightened_has_a_price_on_the_other_side_only() -> None:
    model = model_from_rows(
        costs=np.array([1.0]), lower=np.array([1.0]), upper=np.array([2.0]),
        rows=[Row("limit", [0], [1.0], upper=1.0)], maximize=True,
    )  # fmt: skip
    solver = Solver(model)
    solver.solve()
    shift = Shift(row_upper={0: 1.0})
    assert Pricer(solver).slope(shift, scale=1.0, side=-1) is None
    assert Pricer(solver).price(shift, scale=1.0) == Price(1.0, 0.0, 1.0)
