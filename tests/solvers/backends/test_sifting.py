"""Sifting gives what the plain solver gives, with a proof, however many columns are held back."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from milpa.jobs import LimitReached
from solvers.backends.core import PLAIN, restrict, solve_by_core
from solvers.backends.highs import solve
from solvers.backends.model import Model, Shift
from solvers.backends.sifting import WORKING_SET, Sifter
from solvers.limits import SolveLimits
from solvers.result import SolveStatus
from tests.solvers.backends.mkp import Instance, instances, made
from tests.solvers.backends.support import Watcher

MKP = instances()
ABSENT = "the knapsack problems are absent: set MILPA_BENCHMARK_DATA to the folder that holds mkp/"


def portfolio(n: int, seed: int, *, ties: bool = False, required: int = 0) -> Model:
    """Deals with a budget, five sectors and seven cities; with ties, rates of whole per cent."""
    generator = np.random.default_rng(seed)
    price = np.round(generator.lognormal(14, 0.8, n), -3) + 1000
    rate = generator.normal(0.065, 0.012, n).clip(0.02, 0.15)
    worth = price * np.round(rate, 2) if ties else np.round(price * rate)
    sector, city = generator.integers(0, 5, n), generator.integers(0, 7, n)
    indices = np.stack([np.zeros(n, int), 1 + sector, 6 + city], 1).ravel()
    values = np.stack([price, np.ones(n), np.ones(n)], 1).ravel()
    caps = np.floor(n * 0.05 / np.repeat([5, 7], [5, 7]) * generator.choice([0.5, 1.0, 1.2], 12))
    lower = np.zeros(n)
    lower[:required] = 1.0
    return Model(
        costs=worth,
        lower=lower,
        upper=np.ones(n),
        matrix=sparse.csc_array((values, indices, np.arange(n + 1) * 3), shape=(13, n)),
        row_lower=np.full(13, -np.inf),
        row_upper=np.concatenate([[price.sum() * 0.05], caps]),
        row_names=[str(row) for row in range(13)],
        maximize=True,
    )


def whole(model: Model) -> Model:
    return replace(model, integer=np.ones(len(model.costs), dtype=bool))


def assert_proven(model: Model, answer_x: np.ndarray, prices: np.ndarray, objective: float) -> None:
    """Weak duality, recomputed: no plan is better than what prices ≥ 0 say."""
    assert np.all(prices >= 0)
    assert np.all(model.matrix @ answer_x <= model.row_upper * (1 + 1e-9) + 1e-6)
    reduced = model.costs - model.matrix.T @ prices
    bound = prices @ model.row_upper + np.maximum(reduced * model.lower, reduced * model.upper).sum()
    assert objective == pytest.approx(bound, rel=1e-9)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n", [50, WORKING_SET, WORKING_SET + 1, 3000, 9000])
def test_sifting_agrees_with_the_plain_solver_and_proves_it(n: int, ties: bool) -> None:
    for seed in range(3):
        model = portfolio(n, seed, ties=ties, required=seed * 2)
        if np.any(model.matrix @ model.lower > model.row_upper):
            continue
        answer = Sifter(model).solve()
        assert answer.status is SolveStatus.OPTIMAL
        assert answer.objective == pytest.approx(solve(model).objective, rel=1e-9)
        assert answer.objective == pytest.approx(float(model.costs @ answer.point), rel=1e-12)
        assert_proven(model, answer.point, np.maximum(answer.prices, 0), answer.objective)


def test_a_hundred_thousand_columns_need_few_of_them() -> None:
    model = portfolio(100_000, 1)
    sifter = Sifter(model)
    answer = sifter.solve()
    assert_proven(model, answer.point, np.maximum(answer.prices, 0), answer.objective)
    assert sifter.working_columns < 10_000


def test_identical_columns_do_not_lead_it_astray() -> None:
    model = portfolio(5000, 2)
    same = replace(model, costs=np.full(5000, 7.0))
    assert Sifter(same).solve().objective == pytest.approx(solve(same).objective, rel=1e-9)
    rates = replace(model, costs=model.matrix[[0], :].toarray()[0] * 0.06)
    assert Sifter(rates).solve().objective == pytest.approx(solve(rates).objective, rel=1e-9)


def test_worthless_columns_stay_out() -> None:
    model = portfolio(3000, 3)
    answer = Sifter(replace(model, costs=-model.costs)).solve()
    assert answer.objective == 0.0
    assert not answer.point.any()


def test_requirements_beyond_a_limit_are_infeasible() -> None:
    model = portfolio(3000, 4, required=2500)
    assert Sifter(model).solve().status is SolveStatus.INFEASIBLE


def test_prices_after_sifting_are_those_of_all_columns() -> None:
    model = portfolio(4000, 5)
    sifter = Sifter(model)
    before = sifter.solve().objective
    pricer = sifter.pricer()
    for row in range(13):
        size = model.row_upper[row]
        price = pricer.price(Shift(row_upper={row: 1.0}), scale=size)
        for end in (price.low, price.high):
            if np.isfinite(end) and end != 0.0:
                upper = model.row_upper.copy()
                upper[row] += 0.99 * end
                assert solve(replace(model, row_upper=upper)).objective == pytest.approx(
                    before + 0.99 * end * price.slope, rel=1e-9
                )


def test_forcing_a_held_column_in_costs_what_a_real_solve_says() -> None:
    model = portfolio(4000, 6)
    sifter = Sifter(model)
    before = sifter.solve()
    pricer = sifter.pricer()
    worst = int(np.argmin(before.reduced_costs))
    slope = pricer.slope(sifter.located(Shift(column_lower={worst: 1.0})), scale=1.0)
    lower = model.lower.copy()
    lower[worst] = 1e-3
    after = solve(replace(model, lower=lower)).objective
    assert slope == pytest.approx((after - before.objective) / 1e-3, rel=1e-5)


def test_solving_at_another_limit_gives_the_whole_plan() -> None:
    model = portfolio(4000, 7)
    sifter = Sifter(model)
    sifter.solve()
    (plan,) = sifter.plans_along(Shift(row_upper={0: 1.0}), [-0.3 * model.row_upper[0]])
    upper = model.row_upper.copy()
    upper[0] *= 0.7
    assert plan is not None
    assert np.all(model.matrix @ plan <= upper + 1e-6)
    assert float(model.costs @ plan) == pytest.approx(solve(replace(model, row_upper=upper)).objective, rel=1e-9)


def test_a_stop_keeps_a_plan_that_holds() -> None:
    model = portfolio(50_000, 8)
    answer = Sifter(model, SolveLimits(), Watcher(stop_after=0)).solve()
    assert (answer.status, answer.limit) == (SolveStatus.FEASIBLE, LimitReached.STOPPED)
    assert np.all(model.matrix @ answer.point <= model.row_upper)
    assert answer.prices is None


def test_the_bounds_told_are_bounds() -> None:
    model = portfolio(50_000, 9)
    watcher = Watcher()
    answer = Sifter(model, SolveLimits(), watcher).solve()
    assert watcher.incumbents
    for objective, bound in watcher.incumbents:
        assert bound >= answer.objective * (1 - 1e-12)
        assert objective is None or objective <= answer.objective * (1 + 1e-9)


def test_same_seed_same_plan() -> None:
    model = portfolio(20_000, 10, ties=True)
    first, second = (Sifter(model, SolveLimits(seed=3)).solve() for _ in range(2))
    np.testing.assert_array_equal(first.point, second.point)


def test_what_is_no_packing_program_is_refused() -> None:
    model = portfolio(20, 11)
    for changes in (
        {"maximize": False},
        {"upper": np.full(20, np.inf)},
        {"matrix": -model.matrix},
        {"row_lower": np.zeros(13)},
        {"integer": np.ones(20, dtype=bool)},
    ):
        with pytest.raises(ValueError, match="packing"):
            Sifter(replace(model, **changes))


@pytest.mark.parametrize("ties", [False, True])
def test_a_core_of_whole_columns_is_certified_by_the_relaxation(ties: bool) -> None:
    for n in (PLAIN + 1, 20_000):
        model = whole(portfolio(n, 12, ties=ties))
        answer = solve_by_core(model, model.relaxed(), np.arange(n), limits=SolveLimits())
        assert answer.status is SolveStatus.OPTIMAL
        np.testing.assert_allclose(answer.point, np.round(answer.point), atol=1e-9)
        assert np.all(model.matrix @ np.round(answer.point) <= model.row_upper * (1 + 1e-9))
        assert answer.objective == pytest.approx(float(model.costs @ answer.point), rel=1e-9)
        assert answer.objective <= answer.bound <= answer.objective * (1 + 1e-4)
        assert (
            answer.bound >= Sifter(model.relaxed()).solve().objective * (1 - 1e-12) or answer.bound > answer.objective
        )


@pytest.mark.parametrize("seed", range(20))
def test_growing_cores_reach_the_optimum_of_the_plain_solver(seed: int) -> None:
    model = whole(portfolio(120, seed))
    model = replace(model, row_upper=model.row_upper * 6)
    exact = SolveLimits(relative_gap=0.0)
    by_core = solve_by_core(model, model.relaxed(), np.arange(120), limits=exact, first=5, plain=0)
    assert by_core.objective == pytest.approx(solve(model, exact).objective, rel=1e-9)
    assert by_core.status is SolveStatus.OPTIMAL


@pytest.mark.parametrize("seed", range(4))
def test_a_knapsack_by_the_recipe_of_the_published_ones_is_solved_to_its_optimum(seed: int) -> None:
    model, exact = made(seed, tightness=(0.25, 0.5, 0.75)[seed % 3]), SolveLimits(relative_gap=0.0)
    assert Sifter(model.relaxed()).solve().objective == pytest.approx(solve(model.relaxed(), exact).objective, rel=1e-9)
    answer = solve_by_core(model, model.relaxed(), np.arange(30), limits=exact, first=8, plain=0)
    assert answer.status is SolveStatus.OPTIMAL
    assert answer.objective == pytest.approx(solve(model, exact).objective, rel=1e-9)


def test_a_plan_near_enough_to_the_bound_ends_the_search() -> None:
    model = whole(portfolio(10_000, 13, ties=True))
    watcher = Watcher()
    answer = solve_by_core(
        model, model.relaxed(), np.arange(10_000), limits=SolveLimits(relative_gap=0.01), progress=watcher
    )
    assert (answer.status, answer.limit) == (SolveStatus.OPTIMAL, None)
    assert all(bound >= answer.objective for _, bound in watcher.incumbents if bound is not None)


def test_a_stopped_core_keeps_its_plan() -> None:
    model = whole(portfolio(5000, 14))
    watcher = Watcher(stop_after=1)
    limits = SolveLimits(relative_gap=0.0)
    answer = solve_by_core(model, model.relaxed(), np.arange(5000), limits=limits, progress=watcher)
    assert (answer.status, answer.limit) == (SolveStatus.FEASIBLE, LimitReached.STOPPED)
    assert np.all(model.matrix @ np.round(answer.point) <= model.row_upper * (1 + 1e-9))


def test_restricting_a_model_moves_what_is_fixed_into_limits_and_offset() -> None:
    model = portfolio(40, 15)
    free, values = np.arange(40) < 10, (np.arange(40) % 20 == 19).astype(float)
    part = restrict(model, free, values)
    x = np.where(free, 0.5, values)
    assert float(part.costs @ x[free]) + part.offset == pytest.approx(float(model.costs @ x))
    kept = [int(name) for name in part.row_names]
    np.testing.assert_allclose(part.row_upper - part.matrix @ x[free], (model.row_upper - model.matrix @ x)[kept])


@pytest.mark.skipif(not MKP, reason=ABSENT)
@pytest.mark.parametrize("instance", MKP, ids=[instance.name for instance in MKP])
def test_the_published_linear_optimum_is_found(instance: Instance) -> None:
    assert Sifter(instance.model.relaxed()).solve().objective == pytest.approx(instance.linear_optimum, rel=1e-9)


@pytest.mark.skipif(not MKP, reason=ABSENT)
@pytest.mark.parametrize("instance", MKP, ids=[instance.name for instance in MKP])
def test_a_whole_plan_is_as_near_to_the_best_known_one_as_it_is_certified(instance: Instance) -> None:
    limits = SolveLimits(seconds=120, relative_gap=0.02)
    model = instance.model
    answer = solve_by_core(model, model.relaxed(), np.arange(100), limits=limits, first=25, plain=0)
    assert answer.status is SolveStatus.OPTIMAL
    assert answer.objective <= instance.linear_optimum
    assert answer.bound >= instance.best_known * (1 - 1e-9)
    assert answer.objective >= instance.best_known * (1 - 0.02)


@pytest.mark.slow
@pytest.mark.skipif(not MKP, reason=ABSENT)
@pytest.mark.parametrize("name", ["5.100-15", "5.100-18", "5.100-26", "5.100-27"])
def test_a_whole_plan_within_a_hundredth_of_a_per_cent_is_the_best_known(name: str) -> None:
    instance = next(one for one in MKP if one.name == name)
    model = instance.model
    limits = SolveLimits(seconds=300, relative_gap=1e-4)
    answer = solve_by_core(model, model.relaxed(), np.arange(100), limits=limits, first=25, plain=0)
    assert answer.status is SolveStatus.OPTIMAL
    assert answer.objective >= instance.best_known * (1 - 1e-4)
    assert answer.bound >= instance.best_known * (1 - 1e-9)
