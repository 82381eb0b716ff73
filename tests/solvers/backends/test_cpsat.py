"""CP-SAT behind a few words: races, stops, bounds, cores, and numbers made whole."""

import threading
import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ortools.sat.python import cp_model

from milpa.errors import FatalError
from milpa.jobs import LimitReached
from solvers.backends.cpsat import (
    BOUND_MAKESPAN,
    IMPROVE,
    PROVE_BY_CLAUSES,
    PROVE_BY_RELAXATION,
    WHOLE,
    Race,
    core,
    feasible,
    whole_units,
)
from solvers.limits import SolveLimits
from solvers.progress import Silent
from solvers.result import SolveStatus

PATIENT = SolveLimits(seconds=120, relative_gap=0.0)


class Stoppable(Silent):
    def __init__(self) -> None:
        self.stopped = False

    def stop_requested(self) -> bool:
        return self.stopped


def knapsack(weights: list[int], limit: int) -> tuple[cp_model.CpModel, list[cp_model.IntVar]]:
    """As much weight as fits."""
    model = cp_model.CpModel()
    taken = [model.new_bool_var("") for _ in weights]
    model.add(cp_model.LinearExpr.weighted_sum(taken, weights) <= limit)
    model.maximize(cp_model.LinearExpr.weighted_sum(taken, weights))
    return model, taken


def endless(size: int = 60) -> tuple[cp_model.CpModel, list[cp_model.IntVar]]:
    """Many jobs on few machines with release dates: no proof in any time a test may take."""
    model = cp_model.CpModel()
    starts, intervals, demands = [], [], []
    for number in range(size):
        starts.append(model.new_int_var((number * 7) % 31, 2000, ""))
        intervals.append(model.new_fixed_size_interval_var(starts[-1], 3 + (number * 11) % 13, ""))
        demands.append(1 + (number * 5) % 7)
    model.add_cumulative(intervals, demands, 11)
    model.minimize(sum((1 + number % 5) * start for number, start in enumerate(starts)))
    return model, starts


def test_a_race_ends_with_the_proof_of_its_first_lane() -> None:
    model, taken = knapsack([31, 41, 59, 26, 53], 100)
    answer = Race(model=model, variables=taken, limits=PATIENT).run()
    assert answer.status is SolveStatus.OPTIMAL
    assert answer.limit is None
    assert answer.proven_by == 0
    assert (answer.objective, answer.bound) == (100, 100)
    assert answer.values is not None
    assert sum(weight * value for weight, value in zip([31, 41, 59, 26, 53], answer.values, strict=True)) == 100


def test_what_nothing_meets_is_infeasible() -> None:
    model, taken = knapsack([3, 5], 10)
    model.add(sum(taken) >= 3)
    answer = Race(model=model, variables=taken, limits=PATIENT).run()
    assert answer.status is SolveStatus.INFEASIBLE
    assert (answer.objective, answer.values) == (None, None)


def test_a_stop_before_the_race_begins_is_heard() -> None:
    model, starts = endless()
    progress = Stoppable()
    progress.stopped = True
    answer = Race(model=model, variables=starts, limits=PATIENT, progress=progress).run()
    assert answer.status is SolveStatus.NO_SOLUTION
    assert answer.limit is LimitReached.STOPPED


@pytest.mark.parametrize("lanes", [(PROVE_BY_RELAXATION, IMPROVE), (PROVE_BY_CLAUSES, BOUND_MAKESPAN)])
def test_a_stop_in_the_middle_keeps_the_best_and_its_bound(lanes: tuple[dict[str, object], ...]) -> None:
    model, starts = endless()
    progress = Stoppable()
    told: list[tuple[float | None, float | None]] = []

    def tell(objective: float | None, bound: float | None) -> None:
        told.append((objective, bound))
        progress.stopped = progress.stopped or (objective is not None and bound is not None)

    answer = Race(model=model, variables=starts, limits=PATIENT, progress=progress, lanes=lanes, tell=tell).run()
    assert answer.limit is LimitReached.STOPPED
    assert answer.status is SolveStatus.FEASIBLE
    assert answer.objective is not None
    assert answer.bound is not None
    assert (
        answer.bound
        <= answer.objective
        == sum((1 + number % 5) * start for number, start in enumerate(answer.values or []))
    )


def test_the_time_limit_ends_a_race_with_all_its_lanes() -> None:
    model, starts = endless()
    before = threading.active_count()
    answer = Race(model=model, variables=starts, limits=SolveLimits(seconds=2.5)).run()
    assert answer.limit is LimitReached.TIME
    assert answer.status is SolveStatus.FEASIBLE
    assert answer.seconds < 30
    assert threading.active_count() == before


def test_one_thread_shares_its_time_between_the_lanes() -> None:
    model, starts = endless()
    answer = Race(model=model, variables=starts, limits=SolveLimits(seconds=1, threads=1)).run()
    assert answer.limit is LimitReached.TIME
    assert answer.status is SolveStatus.FEASIBLE


def test_a_bound_known_before_ends_the_race_once_it_is_met() -> None:
    model, starts = endless()
    found = Race(model=model, variables=starts, limits=SolveLimits(seconds=0.5)).run().objective
    assert found is not None
    answer = Race(
        model=model, variables=starts, limits=SolveLimits(seconds=120, relative_gap=0.5), bound=0.75 * found
    ).run()
    assert answer.status is SolveStatus.OPTIMAL
    assert answer.limit is None
    assert answer.bound is not None
    assert answer.bound >= 0.75 * found


def test_the_same_seed_gives_the_same_values() -> None:
    weights = [1000 + 7919 * number % 997 for number in range(30)]
    answers = []
    for _ in range(2):
        model, taken = knapsack(weights, sum(weights) // 3)
        answers.append(Race(model=model, variables=taken, limits=PATIENT).run())
    assert answers[0].values == answers[1].values
    assert answers[0].objective == answers[1].objective


def test_a_model_that_makes_no_sense_is_refused() -> None:
    model = cp_model.CpModel()
    huge = [model.new_int_var(0, 2**61, "") for _ in range(4)]
    model.add(cp_model.LinearExpr.weighted_sum(huge, [2**60] * 4) <= 1)
    with pytest.raises(FatalError, match="CP-SAT refused"):
        Race(model=model, variables=huge, limits=PATIENT).run()


def test_a_core_names_switches_that_can_not_all_be_on() -> None:
    model = cp_model.CpModel()
    x = model.new_int_var(0, 10, "")
    switches = [model.new_bool_var("") for _ in range(4)]
    for switch, (least, most) in zip(switches, [(0, 9), (6, 10), (0, 5), (1, 10)], strict=True):
        model.add_linear_constraint(x, least, most).only_enforce_if(switch)
    found = core(model, switches, PATIENT)
    assert found is not None
    assert {1, 2} <= set(found)
    assert core(model, [switches[0], switches[1], switches[3]], PATIENT) == []


def test_feasible_tells_apart_yes_no_and_not_known() -> None:
    model, taken = knapsack([3, 5], 10)
    assert feasible(model, PATIENT) is True
    model.add(sum(taken) >= 3)
    assert feasible(model, PATIENT) is False
    hard = cp_model.CpModel()
    holes = [[hard.new_bool_var("") for _ in range(40)] for _ in range(41)]
    for pigeon in holes:
        hard.add_bool_or(pigeon)
    for hole in zip(*holes, strict=True):
        for one in range(41):
            for other in range(one):
                hard.add_bool_or([~hole[one], ~hole[other]])
    began = time.perf_counter()
    assert feasible(hard, SolveLimits(seconds=0.05)) in {None, False}
    assert time.perf_counter() - began < 60


def test_decimals_are_made_whole_exactly_and_as_small_as_they_can_be() -> None:
    units = whole_units([Fraction("0.25"), Fraction("1.5"), Fraction(3)])
    assert units.exact
    assert [units.of(number) for number in (Fraction("0.25"), Fraction("1.5"), Fraction(3))] == [1, 6, 12]
    assert units.room(100) == 0


def test_numbers_without_a_common_unit_are_rounded_with_room_for_the_error() -> None:
    numbers = [Fraction(1, prime) for prime in (3, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47)]
    units = whole_units(numbers)
    assert not units.exact
    assert max(map(units.of, numbers)) == WHOLE >= 10**9
    exact = sum(numbers) * units.factor
    assert abs(sum(map(units.of, numbers)) - exact) <= units.room(len(numbers))


@given(st.lists(st.decimals(0, 10**6, places=2).map(Fraction), max_size=20))
def test_money_in_cents_is_always_exact(amounts: list[Fraction]) -> None:
    units = whole_units(amounts)
    assert units.exact
    assert all(units.of(amount) == amount * units.factor for amount in amounts)
