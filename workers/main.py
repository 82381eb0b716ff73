"""The worker process: both queues, one pool of children, sweeper, schedules, webhooks, and a place in the register."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from contextlib import AsyncExitStack

import structlog
import uvloop
from arq.connections import ArqRedis
from redis.asyncio import Redis

from milpa import logging
from milpa.ending import end, leave
from milpa.errors import FatalError, TransientError, UsageError
from milpa.jobs import Priority, new_id
from milpa.readiness import say_ready
from milpa.repeating import repeat
from milpa.settings import Settings
from storage.dispatch import Dispatcher
from storage.objects import ObjectStore
from storage.queue import Queue
from storage.redis_client import redis_client
from storage.signals import ADMIT, CONTROL
from storage.transaction import Database
from workers.compute_pool import ComputePool
from workers.context import WorkerContext
from workers.deliver_webhook import Deliverer
from workers.export import Exporter
from workers.nightly import Nightly
from workers.ring_worker import RingWorker
from workers.sweep import Sweeper

RETRY_SECONDS = 1.0
"""The pause before PostgreSQL is asked again at start-up."""

log = structlog.get_logger(__name__)


async def serve(settings: Settings, *, kinds: str = "solvers.kinds") -> None:
    """Work until SIGTERM or SIGINT, then give back what runs and return. UsageError, FatalError: it can't start."""
    slots = {Priority.INTERACTIVE: settings.interactive_slots, Priority.BATCH: settings.batch_slots}
    if not any(slots.values()):
        raise UsageError("bad_setting", "MILPA_INTERACTIVE_SLOTS and MILPA_BATCH_SLOTS are both 0: nothing would run.")
    async with AsyncExitStack() as stack:
        context, redis = await _open(settings, kinds, stack)
        workers = [RingWorker(priority, count, redis, context) for priority, count in slots.items() if count]
        await _listen(context)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, context.draining.set)
        sweeper = Sweeper(settings, context.database, context.objects, context.dispatcher)
        nightly = Nightly(settings, context.database)
        exporter = Exporter(settings, context.database, context.objects, kinds=kinds)
        deliverer = Deliverer(settings, context.database)
        upkeep = (_stay_registered(context), sweeper.run(), nightly.run(), deliverer.run(), exporter.run())
        background = [asyncio.create_task(task) for task in upkeep]
        for task in background:  # none ends by itself: without it jobs would wait unseen, so the worker ends with it
            task.add_done_callback(lambda _: context.draining.set())
        try:
            await asyncio.gather(*(worker.serve(context.draining) for worker in workers))
            for task in filter(asyncio.Task.done, background):
                task.result()
        finally:
            await end(*background)
            await _leave(context)


async def _open(settings: Settings, kinds: str, stack: AsyncExitStack) -> tuple[WorkerContext, ArqRedis]:
    """Start the children and open the doors; the stack closes them again, the last first."""
    hints = redis_client(settings, Redis)
    stack.push_async_callback(hints.aclose)
    rings = redis_client(settings, ArqRedis)
    stack.push_async_callback(rings.aclose)
    pool = ComputePool(settings, kinds=kinds)
    stack.push_async_callback(pool.close)
    database, _ = await asyncio.gather(_connect(settings, hints), pool.start())
    stack.push_async_callback(database.close)
    dispatcher = Dispatcher(database, Queue(rings))
    stack.push_async_callback(dispatcher.close)
    context = WorkerContext(
        id=new_id(),
        settings=settings,
        database=database,
        objects=ObjectStore(settings),
        dispatcher=dispatcher,
        pool=pool,
    )
    return context, rings


async def _connect(settings: Settings, redis: Redis) -> Database:
    while True:
        try:
            return await Database.connect(settings, redis)
        except TransientError as error:
            log.warning("database_away", code=error.code)
            await asyncio.sleep(RETRY_SECONDS)


async def _listen(context: WorkerContext) -> None:
    signals = context.database.signals
    if signals is None:
        return
    await signals.listen(CONTROL, context.on_control)
    await signals.listen(ADMIT, lambda _: context.dispatcher.wake())


async def _stay_registered(context: WorkerContext) -> None:
    """Say again and again that this worker is alive and how many slots it has; jobs are admitted for slots alive."""
    settings = context.settings
    registered = False

    async def register() -> None:
        nonlocal registered
        async with context.database.fleet() as fleet:
            await fleet.workers.seen(context.id, _name(), settings.interactive_slots, settings.batch_slots)
        if not registered:
            registered = True
            log.info("worker_ready", worker=str(context.id), process=_name())
            say_ready()

    await repeat(settings.heartbeat_seconds, register)


async def _leave(context: WorkerContext) -> None:
    with contextlib.suppress(TransientError):
        async with context.database.fleet() as fleet:
            await fleet.workers.leave(context.id)
    log.info("worker_drained", worker=str(context.id))


def _name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def main(kinds: str = "solvers.kinds") -> None:
    """Run a worker with the settings of the environment, and end its process; exit codes as in `milpa --help`."""
    settings = Settings.from_env()
    logging.configure(settings.log_level, json=settings.log_format == "json")
    try:
        with contextlib.suppress(KeyboardInterrupt):  # while it waits for PostgreSQL
            uvloop.run(serve(settings, kinds=kinds))
    except (UsageError, FatalError) as error:
        log.error("worker_cannot_start", code=error.code, reason=error.message)  # noqa: TRY400  the message says it all
        sys.exit(error.exit_code)
    leave()


if __name__ == "__main__":
    main()
