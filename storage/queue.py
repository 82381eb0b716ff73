"""The doorbell: ARQ's queues in Redis carry ids and dispatch numbers, nothing else."""

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

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
    ...


def deserialize(data: bytes) -> dict[str, Any]:
    """ARQ's deserializer: msgpack."""
    ...


class Queue:
    """Rings ARQ's bells. The worker's function is `ring.task`, its arguments `(tenant, job, dispatch_no)` as text, text, int."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def ring(self, rings: Sequence[Ring]) -> None:
        """Ring for each and wake the workers; ringing twice does no harm. TransientError: Redis is away."""
        ...

    async def missing(self, rings: Sequence[Ring]) -> list[Ring]:
        """Return the rings that Redis no longer holds, or that a worker took and never answered.

        Ask only about rings some seconds old. TransientError: Redis is away.
        """
        ...
