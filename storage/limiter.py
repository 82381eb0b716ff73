"""Budgets over time and places at once, kept in Redis so that every API process counts the same.

A budget's window slides: the promise is "at most so many in any hour", and a window that starts anew by the clock lets
twice as many through around its border. It slides in sixty steps, so that a budget costs the same however large it is;
what was taken comes back at most a sixtieth of the window late, and never early.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from importlib import resources
from typing import Any

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from milpa.errors import TransientError

LEASE_SECONDS = 30.0
"""How long a place stays taken by a process that died."""
_PATIENCE_SECONDS = 1.0
"""How long Redis may take to answer before it counts as away."""

_log = structlog.get_logger("milpa.limits")


class Budget(msgspec.Struct, frozen=True):
    """So many units (quota) in any window of so many seconds, counted under a key."""

    key: str
    quota: int
    window: int


class Standing(msgspec.Struct, frozen=True):
    """How a budget stands. In seconds: until the first unit comes back, and until what was asked for would fit.

    More than the whole quota never does; fits_in is the window then.
    """

    left: int
    first_back: int
    fits_in: int


class Taken(msgspec.Struct, frozen=True):
    """Whether units were taken from all budgets, when (Redis's time), and how the budgets stand now."""

    ok: bool
    at: str
    standings: Sequence[Standing]


class Pool(msgspec.Struct, frozen=True):
    """So many places at once, counted under a key."""

    key: str
    size: int


class Held(msgspec.Struct, frozen=True):
    """Whether a place was taken in all pools, and how many each has left."""

    ok: bool
    left: Sequence[int]


class Limiter:
    """Takes from budgets and pools, all or nothing, in one round trip.

    Every call raises TransientError (`limits_unavailable`) while Redis is away; that is logged when it begins and ends.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._take = redis.register_script(_script("budgets.lua"))
        self._hold = redis.register_script(_script("leases.lua"))
        self._away = False

    async def take(self, budgets: Sequence[Budget], units: int, at: str = "") -> Taken:
        """Take so many units from every budget, or none from any; 0 looks. at: the time; Redis's own when empty."""
        quotas = [value for budget in budgets for value in (budget.quota, budget.window)]
        answer = await self._run(self._take, [budget.key for budget in budgets], [units, at, *quotas])
        figures = [int(figure) for figure in answer[2:]]
        standings = [Standing(*figures[i : i + 3]) for i in range(0, len(figures), 3)]
        return Taken(bool(answer[0]), answer[1].decode(), standings)

    async def give_back(self, budgets: Sequence[Budget], units: int, taken: Taken) -> None:
        """Give back units that were taken."""
        await self.take(budgets, -units, taken.at)

    async def hold(self, pools: Sequence[Pool], lease: str, seconds: float = LEASE_SECONDS) -> Held:
        """Take a place in every pool for so long, or in none of them; a lease without a name only looks."""
        sizes = [pool.size for pool in pools]
        opened, *left = await self._run(self._hold, [pool.key for pool in pools], [lease, seconds, *sizes])
        return Held(bool(opened), left)

    async def renew(self, leases: Iterable[tuple[str, Sequence[Pool]]], seconds: float = LEASE_SECONDS) -> None:
        """Keep these leases open for so long from now, whatever became of them meanwhile."""
        pipe = self._redis.pipeline(transaction=False)
        for lease, pools in leases:
            keys = [pool.key for pool in pools]
            await self._hold(keys=keys, args=[lease, seconds, *[0] * len(keys)], client=pipe)
        async with self._needed():
            await pipe.execute()

    async def release(self, pools: Sequence[Pool], lease: str) -> None:
        """Give the places of a lease back."""
        pipe = self._redis.pipeline(transaction=False)
        for pool in pools:
            pipe.zrem(pool.key, lease)
        async with self._needed():
            await pipe.execute()

    async def _run(self, script: Any, keys: list[str], values: list[Any]) -> Any:
        async with self._needed():
            return await script(keys=keys, args=values)

    @asynccontextmanager
    async def _needed(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                yield
        except (RedisError, OSError) as error:  # a timeout is an OSError
            if not self._away:
                _log.warning("limits_unavailable", error=type(error).__name__)
            self._away = True
            raise TransientError("limits_unavailable", "The limits can't be counted right now; try again.") from None
        if self._away:
            _log.info("limits_available")
        self._away = False


def _script(name: str) -> str:
    return resources.files(__name__.rpartition(".")[0]).joinpath(name).read_text()
