"""`milpa queue`: how the queues stand, and holding them still, beside the database."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from milpa.errors import TransientError
from milpa.jobs import Priority
from milpa.settings import Settings
from storage.redis_client import redis_client
from storage.rows import QueueRow, Task
from storage.transaction import Database, FleetTransaction

Queues = Sequence[Priority]
LOOK_SECONDS = 0.5


async def status(settings: Settings) -> Sequence[QueueRow]:
    """Return how each queue stands."""
    async with _database(settings) as database, database.fleet() as fleet:
        return await fleet.jobs.queues()


async def pause(settings: Settings, queues: Queues) -> Sequence[QueueRow]:
    """Let no more jobs of these queues start but those already rung for; returns how all stand."""
    async with _database(settings) as database, database.fleet() as fleet:
        await _pause(fleet, queues)
        return await fleet.jobs.queues()


async def resume(settings: Settings, queues: Queues) -> Sequence[QueueRow]:
    """Let their jobs start again; returns how all queues stand."""
    async with _database(settings) as database, database.fleet() as fleet:
        for queue in queues:
            await fleet.jobs.resume(queue)
        await fleet.audit.operator("resume_queue", queues)
        return await fleet.jobs.queues()


async def drain(
    settings: Settings, queues: Queues, patience: float | None, tell: Callable[[Sequence[QueueRow]], None]
) -> None:
    """Pause these queues, and return once none of their jobs runs; they stay paused.

    A job that was rung for and not started goes back to its place in the line. tell: hears how the queues stand each
    time they have moved. patience: in seconds; TransientError (`not_drained`) when some still run by then.
    """
    deadline = None if patience is None else time.monotonic() + patience
    told: Sequence[QueueRow] = ()
    async with _database(settings) as database:
        async with database.fleet() as fleet:
            await _pause(fleet, queues)
        while True:
            found = await _take_back(database, queues)
            if found != told:
                tell(told := found)
            running = sum(row.rung + row.running for row in found)
            if not running:
                return
            if deadline is not None and time.monotonic() >= deadline:
                raise TransientError("not_drained", f"{running} jobs still run after {patience:g} s; the pause stays.")
            await asyncio.sleep(LOOK_SECONDS)


async def _pause(fleet: FleetTransaction, queues: Queues) -> None:
    for queue in queues:
        await fleet.jobs.pause(queue)
    await fleet.audit.operator("pause_queue", queues)  # of every tenant: it is their jobs that wait


async def _take_back(database: Database, queues: Queues) -> Sequence[QueueRow]:
    async with database.fleet() as fleet:
        rung = await fleet.jobs.rung(0.0)
        await fleet.jobs.unring([ring for ring in rung if ring.task is Task.RUN_JOB and ring.priority in queues])
        return [row for row in await fleet.jobs.queues() if row.name in queues]


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[Database]:
    """Open the database, with Redis for the hint that wakes dispatchers."""
    redis = redis_client(settings, Redis)
    try:
        database = await Database.connect(settings, redis)
        try:
            yield database
        finally:
            await database.close()
    finally:
        await redis.aclose()
