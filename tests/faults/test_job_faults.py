"""Solvers that crash, grow or do not listen, and servers that go away: the worker lives on, and no job is lost."""

import asyncio
import signal

import pytest
from redis.asyncio import Redis

from deploy.local.servers import Servers
from milpa.jobs import EventType, JobState, Outcome
from tests.faults.crew import Crew, until
from tests.faults.servers import away


async def test_a_flushed_redis_loses_no_job(steady: Crew, redis: Redis) -> None:
    jobs = [await steady.submit("answer", seconds=0.05) for _ in range(20)]
    await steady.ended(jobs[1])
    await redis.flushall()
    for job_id in jobs:
        assert (await steady.ended(job_id)).state is JobState.SUCCEEDED


async def test_a_job_that_nobody_rang_for_is_found(steady: Crew) -> None:
    (worker,) = steady.workers
    worker.send(signal.SIGSTOP)
    job_id = await steady.submit("answer", silent=True)
    worker.send(signal.SIGCONT)
    assert (await steady.ended(job_id)).state is JobState.SUCCEEDED


async def test_a_ring_lost_between_commit_and_queue_is_rung_again(steady: Crew) -> None:
    (worker,) = steady.workers
    worker.send(signal.SIGSTOP)
    job_id = await steady.submit("answer", silent=True)
    async with steady.database.fleet() as fleet:
        rings = await fleet.jobs.admit()
    assert [ring.job_id for ring in rings] == [job_id]
    worker.send(signal.SIGCONT)
    job = await steady.ended(job_id)
    assert (job.state, job.dispatch_no) == (JobState.SUCCEEDED, rings[0].dispatch_no + 1)


async def test_a_solver_that_crashes_three_times_is_poison_and_touches_no_other_job(steady: Crew) -> None:
    other = await steady.submit("answer", seconds=2.0)
    poison = await steady.submit("segfault")
    job = await steady.ended(poison)
    assert (job.state, job.attempt, job.crash_count) == (JobState.FAILED, 3, 3)
    assert job.error is not None
    assert job.error.code == "poison"
    neighbour = await steady.ended(other)
    assert (neighbour.state, neighbour.attempt) == (JobState.SUCCEEDED, 1)


async def test_a_solver_without_end_to_its_memory_fails_its_job(steady: Crew) -> None:
    job = await steady.ended(await steady.submit("allocate"))
    assert (job.state, job.attempt) == (JobState.FAILED, 1)
    assert job.error is not None
    assert job.error.code == "memory_limit"


@pytest.mark.parametrize(
    ("act", "outcome"), [("climb", Outcome.FEASIBLE), ("hang", Outcome.NO_SOLUTION)], ids=["obedient", "deaf"]
)
async def test_a_stop_keeps_the_best_and_a_cancel_keeps_nothing(steady: Crew, act: str, outcome: Outcome) -> None:
    stopped, cancelled = await steady.submit(act, limit=3600.0), await steady.submit(act, limit=3600.0)
    for job_id in (stopped, cancelled):
        await steady.event(job_id, EventType.STARTED)
    async with steady.database.transaction(steady.tenant) as tenant:
        await tenant.jobs.request_stop(stopped)
        await tenant.jobs.request_cancel(cancelled)
    best = await steady.ended(stopped)
    assert (best.state, best.outcome, best.limit_reached) == (JobState.SUCCEEDED, outcome, "stopped")
    nothing = await steady.ended(cancelled)
    assert (nothing.state, nothing.outcome) == (JobState.CANCELLED, None)


async def test_a_worker_outlives_redis_and_finishes_what_it_holds(steady: Crew, servers: Servers) -> None:
    (worker,) = steady.workers
    running = await steady.submit("answer", seconds=1.0)
    await steady.event(running, EventType.STARTED)
    async with away(servers, "Redis", signal.SIGKILL):
        waiting = await steady.submit("answer")
        assert (await steady.ended(running)).state is JobState.SUCCEEDED
        await until(lambda: "redis_away" in worker.said(), worker.said)
    assert (await steady.ended(waiting)).state is JobState.SUCCEEDED


@pytest.mark.parametrize("seconds", [0.5, 4.0], ids=["shorter than a lease", "longer than a lease"])
async def test_a_worker_outlives_postgresql_and_no_job_is_lost(steady: Crew, servers: Servers, seconds: float) -> None:
    job_id = await steady.submit("answer", seconds=1.0)
    await steady.event(job_id, EventType.STARTED)
    async with away(servers, "PostgreSQL", signal.SIGQUIT):
        await asyncio.sleep(seconds)
    assert (await steady.ended(job_id)).state is JobState.SUCCEEDED
