"""The limiter against a plain model of what it promises."""

import asyncio
import math
import signal
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from structlog.testing import capture_logs

from milpa.errors import TransientError
from storage.limiter import Budget, Limiter, Pool
from tests.faults.servers import away
from tests.support.stack import running_servers

HOUR = 3600
few = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def limiter(redis: Redis) -> Limiter:
    return Limiter(redis)


def budget(quota: int, window: int = HOUR) -> Budget:
    return Budget(f"test:{{{uuid4()}}}", quota, window)


class Model:
    """One budget as a list of what was taken when."""

    def __init__(self, quota: int, window: int) -> None:
        self.quota, self.step, self.taken = quota, window / 60, list[tuple[int, int]]()

    def left(self, now: float) -> int:
        slice_ = math.floor(now / self.step)
        return self.quota - sum(units for then, units in self.taken if slice_ - then <= 60)

    def take(self, units: int, now: float) -> None:
        self.taken.append((math.floor(now / self.step), units))


steps = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 130), st.integers(0, 4000)),  # seconds that pass
        st.integers(0, 7),  # units
        st.booleans(),  # whether they are given back
    ),
    max_size=25,
)


@few
@given(
    quotas=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    windows=st.sampled_from([(60, 60), (60, 3600)]),
    steps=steps,
)
async def test_budgets_do_as_the_model(
    redis: Redis, quotas: tuple[int, int], windows: tuple[int, int], steps: list[tuple[int, int, bool]]
) -> None:
    limiter, now = Limiter(redis), 1_800_000_000.0
    budgets = [budget(*pair) for pair in zip(quotas, windows, strict=True)]
    models = [Model(*pair) for pair in zip(quotas, windows, strict=True)]
    let_through: list[tuple[float, int]] = []
    for seconds, units, returned in steps:
        now += seconds
        fits = all(units <= model.left(now) for model in models)
        taken = await limiter.take(budgets, units, f"{now}")
        assert taken.ok is (fits or units == 0)
        if taken.ok and returned:
            await limiter.give_back(budgets, units, taken)
        elif taken.ok:
            let_through.append((now, units))
            for model in models:
                model.take(units, now)
        looked = await limiter.take(budgets, 0, f"{now}")
        assert [standing.left for standing in looked.standings] == [model.left(now) for model in models]
        for quota, window in zip(quotas, windows, strict=True):
            assert sum(units for then, units in let_through if now - then < window) <= quota


@few
@given(
    quota=st.integers(1, 9),
    taken=st.lists(st.tuples(st.integers(0, 700), st.integers(1, 4)), max_size=12),
    units=st.integers(1, 9),
)
async def test_who_waits_as_long_as_told_gets_through(
    redis: Redis, quota: int, taken: list[tuple[int, int]], units: int
) -> None:
    limiter, now, mine = Limiter(redis), 1_800_000_000.0, budget(quota)
    for seconds, some in taken:
        now += seconds
        await limiter.take([mine], some, f"{now}")
    answer = await limiter.take([mine], units, f"{now}")
    wait = answer.standings[0].fits_in
    if answer.ok:
        assert wait == 0
    elif units > quota:
        assert wait == HOUR
    else:
        assert 0 < wait <= HOUR * 61 / 60 + 1
        assert not (await limiter.take([mine], units, f"{now + wait - 1.5}")).ok
        assert (await limiter.take([mine], units, f"{now + wait}")).ok


async def test_a_hundred_at_once_share_ten(limiter: Limiter) -> None:
    mine, wide = budget(10), budget(1000)
    answers = await asyncio.gather(*(limiter.take([mine, wide], 1) for _ in range(100)))
    assert sum(answer.ok for answer in answers) == 10
    assert (await limiter.take([wide], 0)).standings[0].left == 990  # who is refused by one takes from none


async def test_what_was_taken_is_forgotten_after_its_window(limiter: Limiter, redis: Redis) -> None:
    mine = budget(10)
    await limiter.take([mine], 3)
    assert HOUR <= await redis.ttl(mine.key) <= HOUR * 62 / 60


async def test_places_are_all_or_none_and_end_with_their_lease(limiter: Limiter) -> None:
    mine, ours = Pool(f"test:{uuid4()}", 2), Pool(f"test:{uuid4()}", 3)
    held = [await limiter.hold([mine, ours], str(number), 0.5) for number in range(3)]
    assert [(one.ok, one.left) for one in held] == [(True, [1, 2]), (True, [0, 1]), (False, [0, 1])]
    await limiter.renew([("0", [mine, ours])], 60)
    await asyncio.sleep(0.6)
    assert (await limiter.hold([mine, ours], "")).left == [1, 2]
    await limiter.release([mine, ours], "0")
    assert (await limiter.hold([mine, ours], "")).left == [2, 3]


async def test_redis_away_is_told_at_once_and_logged_once() -> None:
    with running_servers() as servers:
        redis = Redis.from_url(servers.redis.url)
        limiter, mine = Limiter(redis), budget(10)
        await limiter.take([mine], 1)
        with capture_logs() as logs:
            async with away(servers, "Redis", signal.SIGKILL):
                for _ in range(3):
                    with pytest.raises(TransientError, match="limits"):
                        await limiter.take([mine], 1)
            await limiter.take([mine], 1)
            await limiter.take([mine], 1)
        assert [line["event"] for line in logs] == ["limits_unavailable", "limits_available"]
        await redis.aclose()


async def test_a_redis_that_hangs_is_away_and_mixes_up_no_answers() -> None:
    with running_servers() as servers:
        redis = Redis.from_url(servers.redis.url)
        limiter, mine, wide = Limiter(redis), budget(10), budget(1000)
        await limiter.take([mine], 1)
        [process] = [process for part, process in servers._running if part.name == "Redis"]
        process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(TransientError, match="limits"):
                await limiter.take([mine], 3)
        finally:
            process.send_signal(signal.SIGCONT)
        assert (await limiter.take([wide], 1)).standings[0].left == 999
        assert (await limiter.take([mine], 0)).standings[0].left in {6, 9}  # Redis may have heard it before it hung
        await redis.aclose()
