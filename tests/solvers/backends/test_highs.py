"""HiGHS behind arrays: every status, limit and callback is ours when it comes out."""

from dataclasses import replace
from threading import Thread

import numpy as np
import pytest
from scipy.optimize import LinearConstraint, linprog, milp

from milpa.errors import FatalError
from milpa.jobs import LimitReached
from solvers.backends.highs import Answer, Solver, solve
from solvers.backends.model import INFINITY, Model, Row, model_from_rows
from solvers.limits import SolveLimits
from solvers.result import SolveStatus
from tests.solvers.backends.support import Watcher, knapsack


def small(**changes: object) -> Model:
    model = model_from_rows(
        costs=np.array([6.0, 4.0]), lower=np.zeros(2), upper=np.full(2, 3.0),
        rows=[Row("one", [0, 1], [2.0, 1.0], upper=7.0), Row("two", [0], [1.0], upper=2.5)],
        maximize=True, offset=10.0,
    )  # fmt: skip
    return replace(model, **changes)


def random_model(seed: int, *, whole: bool) -> Model:
    generator = np.random.default_rng(seed)
    n, m = int(generator.integers(1, 8)), int(generator.integers(1, 5))
    rows = []
    for i in range(m):
        values = generator.integers(-3, 6, n).astype(float)
        upper = float(generator.integers(-2, 12))
        lower = upper - 6.0 if generator.random() < 0.3 else -INFINITY
        rows.append(Row(f"r{i}", np.arange(n), values, lower=lower, upper=upper))
    return model_from_rows(
        costs=generator.integers(-5, 6, n).astype(float), lower=np.zeros(n), upper=np.full(n, 4.0), rows=rows,
        integer=np.ones(n, dtype=bool) if whole else None, maximize=bool(generator.random() < 0.5),
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(150))
def test_linear_programs_agree_with_scipy(seed: int) -> None:
    model = random_model(seed, whole=False)
    ours, sign = solve(model), -1.0 if model.maximize else 1.0
    dense = model.matrix.toarray()
    two_sided = np.isfinite(model.row_lower)
    theirs = linprog(
        sign * model.costs,
        A_ub=np.vstack([dense, -dense[two_sided]]),
        b_ub=np.concatenate([model.row_upper, -model.row_lower[two_sided]]),
        bounds=list(zip(model.lower, model.upper, strict=True)),
    )
    assert (ours.status is SolveStatus.INFEASIBLE) == (theirs.status == 2)
    if theirs.status == 0:
        assert ours.objective == pytest.approx(sign * theirs.fun, abs=1e-7)
        assert ours.bound == ours.objective
        np.testing.assert_allclose(model.matrix @ ours.point, ours.activity, atol=1e-7)


@pytest.mark.parametrize("seed", range(150))
def test_whole_programs_agree_with_scipy(seed: int) -> None:
    model = random_model(seed, whole=True)
    ours, sign = solve(model, SolveLimits(relative_gap=0.0)), -1.0 if model.maximize else 1.0
    theirs = milp(
        sign * model.costs,
        integrality=np.ones(len(model.costs)),
        bounds=(model.lower, model.upper),
        constraints=LinearConstraint(model.matrix.toarray(), model.row_lower, model.row_upper),
    )
    assert (ours.status is SolveStatus.INFEASIBLE) == (theirs.status == 2)
    if theirs.status == 0:
        assert ours.objective == pytest.approx(sign * theirs.fun, abs=1e-7)


def test_prices_and_reduced_costs_are_derivatives_with_their_sign_in_both_senses() -> None:
    for maximize in (True, False):
        costs = np.array([6.0, 4.0]) * (1 if maximize else -1)
        model = small(maximize=maximize, costs=costs)
        home = solve(model)
        for row in range(2):
            upper = model.row_upper.copy()
            upper[row] += 0.01
            moved = solve(replace(model, row_upper=upper))
            assert home.prices[row] == pytest.approx((moved.objective - home.objective) / 0.01, abs=1e-6)
        upper = model.upper.copy()
        upper[1] += 0.01
        moved = solve(replace(model, upper=upper))
        assert home.reduced_costs[1] == pytest.approx((moved.objective - home.objective) / 0.01, abs=1e-6)


def test_the_offset_is_part_of_objective_and_bound() -> None:
    answer = solve(small())
    assert (answer.objective, answer.bound, answer.gap) == (
        pytest.approx(34.0),
        pytest.approx(34.0),
        pytest.approx(0.0),
    )


def test_cents_and_millions_have_the_same_answer() -> None:
    plain = solve(small())
    for factor in (1e-6, 1e9):
        model = small()
        scaled = replace(
            model, matrix=model.matrix * factor, row_upper=model.row_upper * factor, costs=model.costs * factor
        )
        answer = solve(scaled)
        np.testing.assert_allclose(answer.point, plain.point, rtol=1e-12)
        np.testing.assert_allclose(answer.prices, plain.prices, rtol=1e-9)


def test_infeasible_and_unbounded_are_told_apart() -> None:
    assert solve(small(row_upper=np.array([-1.0, 2.5]))).status is SolveStatus.INFEASIBLE
    endless = small(upper=np.full(2, INFINITY), row_upper=np.full(2, INFINITY))
    assert solve(endless).status is SolveStatus.UNBOUNDED


def test_without_a_solution_there_is_no_point_to_read() -> None:
    answer = solve(small(row_upper=np.array([-1.0, 2.5])))
    assert (answer.objective, answer.bound, answer.gap, answer.x) == (None, None, None, None)
    with pytest.raises(FatalError):
        _ = answer.point


def test_a_model_that_highs_refuses_is_our_error() -> None:
    with pytest.raises(FatalError) as refused:
        Solver(small(lower=np.array([0.0, np.nan])))
    assert refused.value.code == "solver_failed"


def test_a_stop_keeps_the_incumbent() -> None:
    watcher = Watcher(stop_after=1)
    answer = Solver(knapsack(250, 30, hard=True), SolveLimits(seconds=60, relative_gap=0.0), watcher).solve()
    assert (answer.status, answer.limit) == (SolveStatus.FEASIBLE, LimitReached.STOPPED)
    assert np.all(answer.activity <= knapsack(250, 30, hard=True).row_upper + 1e-6)
    assert answer.bound >= answer.objective


def test_a_stop_before_anything_was_found_leaves_no_solution() -> None:
    answer = Solver(knapsack(250, 30, hard=True), SolveLimits(seconds=60), Watcher(stop_after=0)).solve()
    assert answer.limit is LimitReached.STOPPED
    assert (answer.status is SolveStatus.NO_SOLUTION) == (answer.x is None)


def test_the_time_limit_ends_a_run_with_what_was_found() -> None:
    answer = solve(knapsack(250, 30, hard=True), SolveLimits(seconds=0.5, relative_gap=0.0))
    assert (answer.status, answer.limit) == (SolveStatus.FEASIBLE, LimitReached.TIME)
    assert answer.objective <= answer.bound


def test_progress_hears_of_incumbents_that_rise_towards_the_bound() -> None:
    watcher = Watcher()
    answer = solve(knapsack(40, 3), SolveLimits(relative_gap=0.0), watcher)
    found = [objective for objective, _ in watcher.incumbents if objective is not None]
    assert found == sorted(found)
    assert found[-1] == pytest.approx(answer.objective)
    assert all(bound >= answer.objective - 1e-6 for _, bound in watcher.incumbents if bound is not None)


def test_another_thread_count_in_the_same_thread_still_runs() -> None:
    model = replace(knapsack(1000, 2), integer=np.ones(1000, dtype=bool))
    for threads in (1, 2, 1):
        answer = solve(model, SolveLimits(threads=threads, relative_gap=0.01))
        assert answer.status is SolveStatus.OPTIMAL


def test_solvers_run_side_by_side_in_threads() -> None:
    answers: list[Answer] = []
    threads = [Thread(target=lambda: answers.append(solve(knapsack(30, 3), SolveLimits(threads=1)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len({answer.objective for answer in answers}) == 1
    assert len(answers) == 4


def test_same_seed_same_answer() -> None:
    first, second = (solve(knapsack(60, 3), SolveLimits(seed=7)) for _ in range(2))
    np.testing.assert_array_equal(first.point, second.point)


def test_a_start_is_taken_over() -> None:
    model = knapsack(40, 3)
    best = solve(model, SolveLimits(relative_gap=0.0))
    watcher = Watcher()
    solver = Solver(model, SolveLimits(relative_gap=0.0), watcher)
    solver.start_from(best.point)
    solver.solve()
    assert next(objective for objective, _ in watcher.incumbents if objective is not None) == pytest.approx(
        best.objective
    )


def test_a_basis_carries_over_to_another_solver() -> None:
    model = knapsack(200, 5, whole=False)
    first = Solver(model)
    answer = first.solve()
    second = Solver(model)
    second.use_basis(first.basis())
    assert second.solve().objective == pytest.approx(answer.objective)
    assert second.solve().iterations == 0


def test_changed_bounds_and_new_columns_count_in_the_next_run() -> None:
    model = small()
    solver = Solver(model)
    solver.solve()
    solver.set_row_bounds(np.array([0]), np.array([-INFINITY]), np.array([5.0]))
    solver.set_column_bounds(np.array([1]), np.array([0.0]), np.array([1.0]))
    extra = model.matrix[:, [0]]
    solver.add_columns(extra, np.array([3.0]), np.zeros(1), np.ones(1), sizes=np.ones(1))
    answer = solver.solve()
    same = model_from_rows(
        costs=np.array([6.0, 4.0, 3.0]), lower=np.zeros(3), upper=np.array([3.0, 1.0, 1.0]),
        rows=[Row("one", [0, 1, 2], [2.0, 1.0, 2.0], upper=5.0), Row("two", [0, 2], [1.0, 1.0], upper=2.5)],
        maximize=True, offset=10.0,
    )  # fmt: skip
    assert answer.objective == pytest.approx(solve(same).objective)


def test_fixing_whole_variables_leaves_a_linear_program_with_prices() -> None:
    model = small(integer=np.array([True, False]))
    best = solve(model)
    fixed = solve(model.fixed(best.point))
    assert best.prices is None
    assert fixed.objective == pytest.approx(best.objective)
    assert fixed.prices is not None
