"""The doorbell: ARQ's queues in Redis carry ids and dispatch numbers, nothing else."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from arq.constants import expires_extra_ms, job_key_prefix
from arq.jobs import serialize_job
from arq.utils import timestamp_ms
from redis.asyncio import Redis
from redis.exceptions import RedisError

from milpa.errors import TransientError
from milpa.jobs import Priority
from storage.rows import Ring


def queue_name(priority: Priority) -> str:
    """Return the name of ARQ's queue."""
    return f"milpa:{priority.value}"


def ring_channel(priority: Priority) -> str:
    """Return the channel that wakes the workers of this queue."""
    return f"milpa:ring:{priority.value}"


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
        """Ring for each and wake the workers; ringing twice does no harm. TransientError: Redis is away.

        Writes what ARQ's `enqueue_job` writes, for all rings in one round trip.
        """
        if not rings:
            return
        now = timestamp_ms()
        pipe = self._redis.pipeline(transaction=True)
        for ring in rings:
            arguments = (str(ring.tenant_id), str(ring.job_id), ring.dispatch_no)
            body = serialize_job(ring.task.value, arguments, {}, None, now, serializer=serialize)
            pipe.set(job_key_prefix + _ring_id(ring), body, px=expires_extra_ms, nx=True)
            pipe.zadd(queue_name(ring.priority), {_ring_id(ring): now}, nx=True)
        for priority in {ring.priority for ring in rings}:
            pipe.publish(ring_channel(priority), "")
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


def _ring_id(ring: Ring) -> str:
    name = f"{ring.job_id}:{ring.dispatch_no}"
    return name if ring.task == "run_job" else f"{ring.task.value}:{name}"


@asynccontextmanager
async def _redis_needed() -> AsyncIterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        raise TransientError("redis_unavailable", "Redis does not answer; what waits is rung later.") from error
