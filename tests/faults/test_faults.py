"""What may break while a job runs, on real processes. Whatever it is: nothing is lost, nothing ends twice."""

import asyncio
import signal

import pytest
from redis.asyncio import Redis

from deploy.local.servers import Servers
from milpa.jobs import EventType, JobState, Outcome
from tests.faults.crew import Crew, solvers_of, until
from tests.faults.servers import away


async def test_a_worker_killed_mid_solve_takes_its_solver_along_and_another_finishes_the_job(crew: Crew) -> None:
    worker = await crew.start()
    job_id = await crew.submit("climb", seconds=3.0)
    await crew.event(job_id, EventType.STARTED)
    assert list(solvers_of(worker))
    worker.send(signal.SIGKILL)
    await until(lambda: not list(solvers_of(worker)), lambda: "the solver outlived its worker")
    await crew.start()
    job = await crew.ended(job_id)
    assert (job.state, job.attempt, job.crash_count) == (JobState.SUCCEEDED, 2, 1)
    assert [event.type for event in await crew.events(job_id) if event.type is not EventType.INCUMBENT] == [
        EventType.QUEUED, EventType.STARTED, EventType.RESCUED, EventType.STARTED, EventType.SUCCEEDED,
    ]  # fmt: skip


async def test_a_flushed_redis_loses_no_job(crew: Crew, redis: Redis) -> None:
    await crew.start()
    jobs = [await crew.submit("answer", seconds=0.05) for _ in range(20)]
    await crew.ended(jobs[1])
    await redis.flushall()
    for job_id in jobs:
        assert (await crew.ended(job_id)).state is JobState.SUCCEEDED


async def test_a_job_that_nobody_rang_for_is_found(crew: Crew) -> None:
    worker = await crew.start()
    worker.send(signal.SIGSTOP)
    job_id = await crew.submit("answer", silent=True)
    worker.send(signal.SIGCONT)
    assert (await crew.ended(job_id)).state is JobState.SUCCEEDED


async def test_a_ring_lost_between_commit_and_queue_is_rung_again(crew: Crew) -> None:
    worker = await crew.start()
    worker.send(signal.SIGSTOP)
    job_id = await crew.submit("answer", silent=True)
    async with crew.mute.fleet() as fleet:
        rings = await fleet.jobs.admit()
    assert [ring.job_id for ring in rings] == [job_id]
    worker.send(signal.SIGCONT)
    job = await crew.ended(job_id)
    assert (job.state, job.dispatch_no) == (JobState.SUCCEEDED, rings[0].dispatch_no + 1)


async def test_a_worker_that_comes_back_after_its_lease_writes_nothing(crew: Crew) -> None:
    workers = await asyncio.gather(crew.start(), crew.start())
    job_id = await crew.submit("answer", seconds=1.0)
    zombie = await crew.holder(job_id)
    zombie.send(signal.SIGSTOP)
    job = await crew.ended(job_id)
    assert (job.state, job.attempt) == (JobState.SUCCEEDED, 2)
    solution = await crew.solution(job_id)
    zombie.send(signal.SIGCONT)
    await until(lambda: "lease_lost" in zombie.said(), zombie.said)
    assert await crew.solution(job_id) == solution
    await asyncio.gather(*(worker.end() for worker in workers if worker is not zombie))
    assert (await crew.ended(await crew.submit("answer"))).state is JobState.SUCCEEDED


async def test_a_solver_that_crashes_three_times_is_poison_and_touches_no_other_job(crew: Crew) -> None:
    await crew.start(interactive_slots=2)
    other = await crew.submit("answer", seconds=2.0)
    poison = await crew.submit("segfault")
    job = await crew.ended(poison)
    assert (job.state, job.attempt, job.crash_count) == (JobState.FAILED, 3, 3)
    assert job.error is not None
    assert job.error.code == "poison"
    neighbour = await crew.ended(other)
    assert (neighbour.state, neighbour.attempt) == (JobState.SUCCEEDED, 1)


async def test_a_solver_without_end_to_its_memory_fails_its_job_and_the_worker_lives_on(crew: Crew) -> None:
    worker = await crew.start()
    job = await crew.ended(await crew.submit("allocate"))
    assert (job.state, job.attempt) == (JobState.FAILED, 1)
    assert job.error is not None
    assert job.error.code == "memory_limit"
    following = await crew.submit("answer")
    assert (await crew.ended(following)).state is JobState.SUCCEEDED
    assert await crew.holder(following) is worker


async def test_sigterm_gives_the_job_back_uncounted_and_another_worker_finishes_it(crew: Crew) -> None:
    await asyncio.gather(crew.start(), crew.start())
    job_id = await crew.submit("climb", seconds=3.0)
    holder = await crew.holder(job_id)
    holder.send(signal.SIGTERM)
    assert await holder.ended() == 0
    job = await crew.ended(job_id)
    assert (job.state, job.attempt, job.crash_count, job.error_count) == (JobState.SUCCEEDED, 2, 0, 0)


async def test_a_stop_keeps_the_best_a_cancel_keeps_nothing_and_a_deaf_solver_cannot_hold_either_up(crew: Crew) -> None:
    await crew.start(interactive_slots=4)
    stopped, cancelled, deaf, deaf_cancelled = [
        await crew.submit(act, limit=3600.0) for act in ("climb", "climb", "hang", "hang")
    ]
    for job_id in (stopped, cancelled, deaf, deaf_cancelled):
        await crew.event(job_id, EventType.STARTED)
    async with crew.database.transaction(crew.tenant) as tenant:
        await tenant.jobs.request_stop(stopped)
        await tenant.jobs.request_stop(deaf)
        await tenant.jobs.request_cancel(cancelled)
        await tenant.jobs.request_cancel(deaf_cancelled)
    best, nothing = await crew.ended(stopped), await crew.ended(deaf)
    assert (best.state, best.outcome, best.limit_reached) == (JobState.SUCCEEDED, Outcome.FEASIBLE, "stopped")
    assert (nothing.state, nothing.outcome) == (JobState.SUCCEEDED, Outcome.NO_SOLUTION)
    for job_id in (cancelled, deaf_cancelled):
        job = await crew.ended(job_id)
        assert (job.state, job.outcome) == (JobState.CANCELLED, None)


async def test_a_worker_outlives_redis(crew: Crew, servers: Servers) -> None:
    worker = await crew.start()
    running = await crew.submit("answer", seconds=1.0)
    await crew.event(running, EventType.STARTED)
    async with away(servers, "Redis", signal.SIGKILL):
        waiting = await crew.submit("answer")
        assert (await crew.ended(running)).state is JobState.SUCCEEDED
        await until(lambda: "redis_away" in worker.said(), worker.said)
    assert (await crew.ended(waiting)).state is JobState.SUCCEEDED
    following = await crew.submit("answer")
    assert (await crew.ended(following)).state is JobState.SUCCEEDED
    assert await crew.holder(following) is worker


@pytest.mark.parametrize("seconds", [0.5, 4.0], ids=["shorter than a lease", "longer than a lease"])
async def test_a_worker_outlives_postgresql(crew: Crew, servers: Servers, seconds: float) -> None:
    worker = await crew.start()
    job_id = await crew.submit("answer", seconds=1.0)
    await crew.event(job_id, EventType.STARTED)
    async with away(servers, "PostgreSQL", signal.SIGQUIT):
        await asyncio.sleep(seconds)
    assert (await crew.ended(job_id)).state is JobState.SUCCEEDED
    following = await crew.submit("answer")
    assert (await crew.ended(following)).state is JobState.SUCCEEDED
    assert await crew.holder(following) is worker
