"""Redis and PostgreSQL that forget, die or are away, and rings that are lost: the worker lives on, no job is lost."""

import asyncio
import signal
import time
from random import Random

import pytest
from redis.asyncio import Redis

from deploy.local.servers import Servers
from milpa.jobs import EventType, JobState
from tests.faults.crew import Crew, until
from tests.faults.figures import took
from tests.faults.form import FULL, rounds, times
from tests.faults.load import load
from tests.faults.servers import away, hanging

REDIS_OUTAGES = [60.0, 0.5, 1.0, 2.0, 4.0] if FULL else [1.0]
OUTAGES = {"shorter than a lease": 0.5, "longer than a lease": 4.0}


async def test_a_flushed_redis_loses_no_job(steady: Crew, dice: Random, redis: Redis) -> None:
    async with load(steady, dice):
        for _ in rounds(2, 20):
            jobs = [await steady.submit("answer", seconds=0.05) for _ in range(20)]
            await asyncio.sleep(dice.uniform(0, 0.5))
            await redis.flushall()
            for job_id in jobs:
                assert (await steady.ended(job_id)).state is JobState.SUCCEEDED


async def test_a_job_that_nobody_rang_for_is_found(steady: Crew, dice: Random) -> None:
    (worker,) = steady.workers
    async with load(steady, dice):
        for _ in rounds(1, 10):
            worker.send(signal.SIGSTOP)
            job_id = await steady.submit("answer", silent=True)
            worker.send(signal.SIGCONT)
            assert (await steady.ended(job_id)).state is JobState.SUCCEEDED


async def test_a_ring_lost_between_commit_and_queue_is_rung_again(steady: Crew, dice: Random) -> None:
    (worker,) = steady.workers
    lost = 0
    async with load(steady, dice):
        while lost < times(1, 10):
            worker.send(signal.SIGSTOP)
            job_id = await steady.submit("answer", silent=True)
            async with steady.database.fleet() as fleet:
                rung = {ring.job_id: ring.dispatch_no for ring in await fleet.jobs.admit()}
            worker.send(signal.SIGCONT)
            job = await steady.ended(job_id)
            assert job.state is JobState.SUCCEEDED
            if job_id in rung:  # else its turn had not come, and nothing was lost
                assert job.dispatch_no == rung[job_id] + 1
                lost += 1


async def test_a_worker_outlives_redis_and_finishes_what_it_holds(steady: Crew, dice: Random, servers: Servers) -> None:
    (worker,) = steady.workers
    for seconds in REDIS_OUTAGES:
        before = worker.said().count("redis_away")
        async with load(steady, dice):
            running = await steady.submit("answer", seconds=1.0)
            await steady.event(running, EventType.STARTED)
            async with away(servers, "Redis", signal.SIGKILL):
                waiting = await steady.submit("answer")
                assert (await steady.ended(running)).state is JobState.SUCCEEDED
                await until(lambda: worker.said().count("redis_away") > before, worker.said)  # noqa: B023
                await asyncio.sleep(seconds)
            back_at = time.time()
            took("Redis back to first ring heard", await steady.claimed_after(back_at) - back_at)
            assert (await steady.ended(waiting)).state is JobState.SUCCEEDED


@pytest.mark.parametrize("seconds", OUTAGES.values(), ids=OUTAGES)
async def test_a_worker_outlives_postgresql_and_no_job_is_lost(
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
    worker = await crew.start()
    running = await crew.submit("answer", seconds=1.0)
    await crew.event(running, EventType.STARTED)
    async with hanging(servers, "Redis"):
        assert (await crew.ended(running)).state is JobState.SUCCEEDED
        worker.send(signal.SIGTERM)
        assert await worker.ended() == 0
