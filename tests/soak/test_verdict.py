"""The verdict of a soak: what grows is found, whatever the noise; what swings or is kept on purpose is not taken for it."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.soak.samples import Sample
from tests.soak.verdict import verdicts

MINUTES = 120


def run(figure: str, values: list[float]) -> list[Sample]:
    return [Sample(60.0 * minute, 100 * minute, {figure: value}) for minute, value in enumerate(values)]


def word(figure: str, values: list[float]) -> str:
    (verdict,) = verdicts(run(figure, values))
    return verdict.word


@given(st.integers(0, 2**32), st.floats(0.03, 10.0))
def test_what_grows_by_three_in_a_hundred_an_hour_is_found_in_noise(seed: int, share: float) -> None:
    noise = random.Random(seed)
    grown = [100 * (1 + share * minute / 60) + noise.uniform(-1, 1) for minute in range(MINUTES)]
    assert word("memory of API, MiB", grown) == "GROWS"


@given(st.integers(0, 2**32))
def test_noise_alone_is_level(seed: int) -> None:
    noise = random.Random(seed)
    assert word("objects", [100 + noise.gauss(0, 1) for _ in range(MINUTES)]) == "level"


@pytest.mark.parametrize(
    "values",
    [
        [100.0 + minute % 10 for minute in range(MINUTES)],  # filled, and pruned every ten minutes
        [min(100.0, 5.0 * minute) for minute in range(MINUTES)],  # a cache that fills while it warms up
        [300.0 if minute == 60 else 100.0 for minute in range(MINUTES)],  # one large job
        [0.0] * MINUTES,
    ],
)
def test_what_swings_fills_up_or_jumps_once_is_level(values: list[float]) -> None:
    assert word("memory of solver processes, MiB", values) == "level"


def test_what_grows_ever_more_slowly_levels_off() -> None:
    assert word("memory of PostgreSQL, MiB", [300.0 - 200 * 0.97**minute for minute in range(MINUTES)]) == "levels off"


def test_what_is_kept_of_every_job_is_told_by_the_job() -> None:
    assert word("rows of jobs", [100.0 * minute for minute in range(MINUTES)]) == "kept: 1.00 a job"
    assert word("size of jobs, MiB", [minute * 100 / 1024 for minute in range(MINUTES)]) == "kept: 1024 bytes a job"
    assert word("logs, MiB", [float(minute) for minute in range(MINUTES)]) == "capped"
    assert word("shared memory of PostgreSQL, MiB", [float(minute) for minute in range(MINUTES)]) == "capped"
    assert word("memory of PostgreSQL, MiB", [float(minute) for minute in range(MINUTES)]) == "GROWS"
