"""Redis and PostgreSQL that forget, die or are away, and rings that are lost: the workers live on, no job is lost."""

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import pytest
from redis.asyncio import Redis

from deploy.local.servers import Servers
from milpa.jobs import EventType, JobState
from tests.faults.crew import Crew, Worker, until
from tests.faults.figures import took
from tests.faults.form import FULL, rounds, times
from tests.faults.load import load
from tests.faults.servers import away, hanging

REDIS_OUTAGES = [60.0, 0.5, 1.0, 2.0, 4.0] if FULL else [1.0]
OUTAGES = {"shorter than a lease": 0.5, "longer than a lease": 4.0}


@contextmanager
def stopped(*workers: Worker) -> Iterator[None]:
    """Have them do nothing meanwhile."""
    for worker in workers:
        worker.send(signal.SIGSTOP)
    yield
    for worker in workers:
        worker.send(signal.SIGCONT)


async def test_a_flushed_redis_loses_no_job(steady: Crew, dice: Random, redis: Redis) -> None:
    async with load(steady, dice):
        for _ in rounds(2, 20):
            jobs = [await steady.submit("answer", seconds=0.05) for _ in range(20)]
            await asyncio.sleep(dice.uniform(0, 0.5))
            await redis.flushall()
            for job_id in jobs:
                assert (await steady.ended(job_id)).state is JobState.SUCCEEDED


async def test_a_job_that_nobody_rang_for_is_found(steady: Crew, dice: Random) -> None:
    async with load(steady, dice):
        for _ in rounds(1, 10):
            with stopped(*steady.workers):
                job_id = await steady.submit("answer", silent=True)
            assert (await steady.ended(job_id)).state is JobState.SUCCEEDED


async def test_a_ring_lost_between_commit_and_queue_is_rung_again(steady: Crew, dice: Random) -> None:
    lost = 0
    async with load(steady, dice):
        while lost < times(1, 10):
            with stopped(*steady.workers):
                job_id = await steady.submit("answer", silent=True)
                async with steady.database.fleet() as fleet:
                    rung = {ring.job_id: ring.dispatch_no for ring in await fleet.jobs.admit()}
            job = await steady.ended(job_id)
            assert job.state is JobState.SUCCEEDED
            if job_id in rung:  # else its turn had not come, and nothing was lost
                assert job.dispatch_no == rung[job_id] + 1
                lost += 1


async def test_workers_outlive_redis_and_finish_what_they_hold(steady: Crew, dice: Random, servers: Servers) -> None:
    for seconds in REDIS_OUTAGES:
        before = [worker.said().count("redis_away") for worker in steady.workers]
        async with load(steady, dice):
            running = await steady.submit("answer", seconds=1.0)
            await steady.event(running, EventType.STARTED)
            async with away(servers, "Redis", signal.SIGKILL):
                waiting = await steady.submit("answer")
                assert (await steady.ended(running)).state is JobState.SUCCEEDED
                for worker, noticed in zip(steady.workers, before, strict=True):
                    await until(lambda: worker.said().count("redis_away") > noticed, worker.said)  # noqa: B023
                await asyncio.sleep(seconds)
            back_at = time.time()
            took("Redis back to first ring heard", await steady.claimed_after(back_at) - back_at)
            assert (await steady.ended(waiting)).state is JobState.SUCCEEDED


@pytest.mark.parametrize("seconds", OUTAGES.values(), ids=OUTAGES)
async def test_workers_outlive_postgresql_and_no_job_is_lost(
    steady: Crew, dice: Random, servers: Servers, seconds: float
) -> None:
    for _ in rounds(1, 6):
        async with load(steady, dice):
            job_id = await steady.submit("answer", seconds=1.0)
            await steady.event(job_id, EventType.STARTED)
            await asyncio.sleep(dice.uniform(0, 0.5))
            async with away(servers, "PostgreSQL", signal.SIGQUIT):
                await asyncio.sleep(seconds * dice.uniform(0.8, 1.2))
            back_at = time.time()
            took("PostgreSQL back to first claim", await steady.claimed_after(back_at) - back_at)
            assert (await steady.ended(job_id)).state is JobState.SUCCEEDED


async def test_a_redis_that_hangs_keeps_no_worker_from_ending(crew: Crew, servers: Servers) -> None:
    await crew.start_two()
    running = [await crew.submit("answer", seconds=1.0) for _ in crew.workers]
    for job_id in running:
        await crew.event(job_id, EventType.STARTED)
    async with hanging(servers, "Redis"):
        for job_id in running:
            assert (await crew.ended(job_id)).state is JobState.SUCCEEDED
        for worker in crew.workers:
            worker.send(signal.SIGTERM)
            assert await worker.ended() == 0
