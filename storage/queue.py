"""The doorbell: ARQ's queues in Redis carry ids and dispatch numbers, nothing else."""

import re
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from arq.constants import expires_extra_ms, job_key_prefix
from arq.jobs import serialize_job
from redis.asyncio import Redis
from redis.exceptions import RedisError

from milpa.errors import TransientError
from milpa.jobs import Priority
from storage.rows import Ring, Task

_PLACE = 1 / 2048
"""From one ring to the next, in milliseconds: Redis would sort rings of one score by their ids.

A power of two, so that a double tells them apart for as long as clocks count thirteen digits.
"""

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def queue_name(priority: Priority) -> str:
    """Return the name of ARQ's queue."""
    return f"milpa:{priority.value}"


def serialize(value: dict[str, Any]) -> bytes:
    """ARQ's serializer: msgpack."""
    return msgspec.msgpack.encode(value)


def deserialize(data: bytes) -> dict[str, Any]:
    """ARQ's deserializer: msgpack."""
    return msgspec.msgpack.decode(data, type=dict[str, Any])


class Queue:
    """Rings ARQ's bells. The worker's function is `ring.task`; its arguments: tenant, job (text), dispatch number."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def ring(self, rings: Sequence[Ring]) -> None:
        """Ring for each; ringing twice does no harm. TransientError: Redis is away.

        Writes what ARQ's `enqueue_job` writes, for all rings in one round trip. They are heard in the order given.
        """
        if not rings:
            return
        pipe = self._redis.pipeline(transaction=True)
        for place, ring in enumerate(rings):
            arguments = (str(ring.tenant_id), str(ring.job_id), ring.dispatch_no)
            body = serialize_job(ring.task.value, arguments, {}, None, int(ring.at), serializer=serialize)
            pipe.set(job_key_prefix + _ring_id(ring), body, px=expires_extra_ms, nx=True)
            pipe.zadd(queue_name(ring.priority), {_ring_id(ring): ring.at + place * _PLACE}, nx=True)
        async with _redis_needed():
            await pipe.execute()

    async def missing(self, rings: Sequence[Ring]) -> list[Ring]:
        """Return the rings that Redis no longer holds, or that a worker took and never answered.

        Ask only about rings some seconds old. TransientError: Redis is away.
        """
        pipe = self._redis.pipeline(transaction=False)
        for ring in rings:
            pipe.zscore(queue_name(ring.priority), _ring_id(ring))
            pipe.exists(job_key_prefix + _ring_id(ring))
        async with _redis_needed():
            answers = await pipe.execute()
        held = zip(answers[0::2], answers[1::2], strict=True)
        return [ring for ring, (score, exists) in zip(rings, held, strict=True) if score is None or not exists]

    async def forget(self, ids: Iterable[str]) -> int:
        """Remove whatever names one of these tenants or jobs; returns how many keys and rings. It looks at every key.

        TransientError: Redis is away.
        """
        known = frozenset(ids)
        async with _redis_needed():
            keys = [key async for key in self._redis.scan_iter(count=1000) if _names(key, known)]
            removed = sum([await self._redis.delete(key) for key in keys])
            for priority in Priority:
                rings = [ring for ring in await self._redis.zrange(queue_name(priority), 0, -1) if _names(ring, known)]
                removed += await self._redis.zrem(queue_name(priority), *rings) if rings else 0
        return int(removed)


def _names(key: bytes, ids: Collection[str]) -> bool:
    return any(found in ids for found in _UUID.findall(key.decode(errors="replace")))


def _ring_id(ring: Ring) -> str:
    name = f"{ring.job_id}:{ring.dispatch_no}"
    return name if ring.task is Task.RUN_JOB else f"{ring.task.value}:{name}"


@asynccontextmanager
async def _redis_needed() -> AsyncIterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        raise TransientError("redis_unavailable", "Redis does not answer; what waits is rung later.") from error
