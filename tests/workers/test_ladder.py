"""The ladder as a rule over time: limit, stop, kill, and an answer that is never thrown away."""

from hypothesis import given
from hypothesis import strategies as st

from workers.ladder import Ladder, Step

seconds = st.floats(min_value=0.001, max_value=1e6)


def ladder(limit: float | None, grace: float, render: float) -> Ladder:
    return Ladder(0.0, limit_seconds=limit, grace_seconds=grace, render_seconds=render)


@given(limit=seconds, grace=seconds)
def test_it_waits_until_limit_and_grace_then_stops_once_then_kills(limit: float, grace: float) -> None:
    steps = ladder(limit, grace, 1.0)
    stop_at = steps.next_at
    assert stop_at == limit + grace
    assert steps.step(limit) is Step.WAIT
    assert steps.step(stop_at) is Step.STOP
    assert steps.step(stop_at) is Step.WAIT
    assert steps.next_at == stop_at + grace
    assert steps.step(steps.next_at) is Step.KILL


@given(limit=seconds, grace=seconds, asked=seconds)
def test_a_persons_stop_only_ever_brings_the_kill_forward(limit: float, grace: float, asked: float) -> None:
    steps = ladder(limit, grace, 1.0)
    steps.asked_to_stop(asked)
    assert steps.next_at == min(asked + grace, limit + grace + grace)
    assert steps.step(steps.next_at) is Step.KILL


@given(limit=seconds, grace=seconds, render=seconds, at=seconds, stop_first=st.booleans())
def test_once_the_solver_has_ended_only_the_time_to_render_counts(
    limit: float, grace: float, render: float, at: float, stop_first: bool
) -> None:
    steps = ladder(limit, grace, render)
    if stop_first:
        steps.asked_to_stop(at)
    steps.entered("explain", at)
    steps.asked_to_stop(at)
    steps.entered("render", at + render / 2)
    assert steps.next_at == at + render
    assert steps.step(steps.next_at) is Step.KILL


@given(render=seconds, asked=seconds)
def test_a_task_that_solves_nothing_has_the_time_to_render(render: float, asked: float) -> None:
    steps = ladder(None, 1.0, render)
    steps.asked_to_stop(asked)
    assert steps.next_at == render


def test_build_and_solve_are_not_an_answer() -> None:
    steps = ladder(10.0, 1.0, 100.0)
    for phase in (None, "build", "solve"):
        steps.entered(phase, 5.0)
    assert steps.next_at == 11.0
