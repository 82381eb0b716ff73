"""Rings are heard at once, taken once, and never hold the worker up."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import msgspec
import pytest
from arq.connections import ArqRedis
from arq.utils import timestamp_ms
from redis.exceptions import ConnectionError as RedisConnectionError

from milpa.ending import end
from milpa.jobs import JobState, Priority, new_id
from storage.queue import Queue, queue_name
from storage.rows import JobRow, Ring
from tests.storage.steps import add_tenant
from tests.workers.conftest import Desk
from workers import ring_worker
from workers.ring_worker import RingWorker


@pytest.fixture
async def worker(desk: Desk, rings: ArqRedis) -> AsyncIterator[RingWorker]:
    """A worker of the interactive queue with one slot."""
    worker = RingWorker(Priority.INTERACTIVE, 1, rings, desk.context)
    serving = asyncio.create_task(worker.serve(desk.context.draining))
    yield worker
    desk.context.draining.set()
    await serving


def ring_for(job: JobRow) -> Ring:
    return Ring(tenant_id=job.tenant_id, job_id=job.id, dispatch_no=job.dispatch_no, priority=job.priority, at=1.0)


async def held(rings: ArqRedis) -> list[Any]:
    """What Redis holds besides health."""
    return [key for key in await rings.keys("*") if b"health" not in key]


async def emptied(rings: ArqRedis) -> None:
    """Wait until Redis holds nothing besides health."""
    async with asyncio.timeout(10):
        while True:
            if not await held(rings):
                return
            await asyncio.sleep(0.01)


async def test_a_ring_is_answered_without_polling(desk: Desk, rings: ArqRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring_worker, "WAIT_SECONDS", 3600.0)
    worker = RingWorker(Priority.INTERACTIVE, 1, rings, desk.context)
    serving = asyncio.create_task(worker.serve(desk.context.draining))
    for _ in range(2):
        job = await desk.submit("answer")
        await Queue(rings).ring([ring_for(job)])
        await desk.reaches(job, JobState.SUCCEEDED)
    await end(serving)


async def test_a_slot_that_is_freed_takes_the_next_ring_without_polling(
    desk: Desk, rings: ArqRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ring_worker, "WAIT_SECONDS", 3600.0)
    worker = RingWorker(Priority.INTERACTIVE, 1, rings, desk.context)
    jobs = [await desk.submit("answer", seconds=0.1) for _ in range(3)]
    await Queue(rings).ring([ring_for(job) for job in jobs])
    serving = asyncio.create_task(worker.serve(desk.context.draining))
    for job in jobs:
        await desk.reaches(job, JobState.SUCCEEDED)
    await end(serving)


@pytest.mark.usefixtures("worker")
async def test_redis_keeps_nothing_of_a_ring_that_was_heard(desk: Desk, rings: ArqRedis) -> None:
    job = await desk.submit("answer", seconds=0.5)
    await Queue(rings).ring([ring_for(job)])
    await desk.reaches(job, JobState.RUNNING)
    assert await rings.zcard(queue_name(Priority.INTERACTIVE)) == 0
    await desk.reaches(job, JobState.SUCCEEDED)
    await emptied(rings)


async def test_of_two_workers_one_takes_a_ring(desk: Desk, rings: ArqRedis) -> None:
    workers = [RingWorker(Priority.INTERACTIVE, 20, rings, desk.context) for _ in range(2)]
    jobs = [await desk.submit("answer") for _ in range(20)]
    await Queue(rings).ring([ring_for(job) for job in jobs])
    names = [f"{job.id}:{job.dispatch_no}" for job in jobs]
    await asyncio.gather(*(worker._poll_iteration() for worker in workers for _ in jobs))
    assert sorted(ring for worker in workers for ring in worker.tasks) == sorted(names)
    for job in jobs:
        await desk.reaches(job, JobState.SUCCEEDED)
    assert {(await desk.now(job)).attempt for job in jobs} == {1}


async def test_two_slots_are_shared_by_two_tenants(desk: Desk, rings: ArqRedis) -> None:
    other = Desk(desk.context, await add_tenant(desk.context.database))
    mine = [await desk.submit("answer") for _ in range(3)]
    theirs = [await other.submit("answer") for _ in range(3)]
    await Queue(rings).ring([ring_for(job) for turn in zip(mine, theirs, strict=True) for job in turn])
    worker = RingWorker(Priority.INTERACTIVE, 2, rings, desk.context)
    for _ in range(2):
        await worker._poll_iteration()
    assert set(worker.tasks) == {f"{job.id}:{job.dispatch_no}" for job in (mine[0], theirs[0])}
    serving = asyncio.create_task(worker.serve(desk.context.draining))
    for of, jobs in ((desk, mine), (other, theirs)):
        for job in jobs:
            await of.reaches(job, JobState.SUCCEEDED)
    desk.context.draining.set()
    await serving


@pytest.mark.usefixtures("worker")
async def test_a_ring_from_a_clock_that_is_ahead_is_heard_at_once(desk: Desk, rings: ArqRedis) -> None:
    job = await desk.submit("answer")
    await Queue(rings).ring([msgspec.structs.replace(ring_for(job), at=timestamp_ms() + 600_000.0)])
    await desk.reaches(job, JobState.SUCCEEDED)


@pytest.mark.usefixtures("worker")
async def test_rings_wait_in_redis_while_every_slot_is_taken(desk: Desk, rings: ArqRedis) -> None:
    jobs = [await desk.submit("answer", seconds=0.3) for _ in range(3)]
    await Queue(rings).ring([ring_for(job) for job in jobs])
    most = 0
    async with asyncio.timeout(60):
        states: list[JobState] = []
        while set(states) != {JobState.SUCCEEDED}:
            states = [(await desk.now(job)).state for job in jobs]
            most = max(most, states.count(JobState.RUNNING))
    assert most == 1
    assert {(await desk.now(job)).attempt for job in jobs} == {1}


@pytest.mark.usefixtures("worker")
async def test_a_ring_for_a_job_that_does_not_exist_is_dropped(desk: Desk, rings: ArqRedis) -> None:
    lost = Ring(tenant_id=desk.tenant, job_id=new_id(), dispatch_no=1, priority=Priority.INTERACTIVE, at=1.0)
    job = await desk.submit("answer")
    await Queue(rings).ring([lost, ring_for(job)])
    await desk.reaches(job, JobState.SUCCEEDED)
    await emptied(rings)


@pytest.mark.usefixtures("worker")
async def test_a_redis_that_fails_while_a_ring_is_picked_costs_no_slot(
    desk: Desk, rings: ArqRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await desk.submit("answer")
    await Queue(rings).ring([ring_for(job)])
    failures = 0

    async def broken(*_args: Any) -> None:
        nonlocal failures
        failures += 1
        raise RedisConnectionError("gone")

    with monkeypatch.context() as patched:
        patched.setattr(rings, "bzpopmin", broken)
        patched.setattr(ring_worker, "WAIT_SECONDS", 0.01)
        async with asyncio.timeout(10):
            while failures < 3:  # noqa: ASYNC110  the second can only come when the first gave its slot back
                await asyncio.sleep(0.01)
    await desk.reaches(job, JobState.SUCCEEDED)


async def test_the_arq_traps_are_avoided(desk: Desk, rings: ArqRedis, worker: RingWorker) -> None:
    other = RingWorker(Priority.BATCH, 1, rings, desk.context)
    assert (worker.queue_name, other.queue_name) == (queue_name(Priority.INTERACTIVE), queue_name(Priority.BATCH))
    assert worker.health_check_key != other.health_check_key
    assert str(desk.context.id) in worker.health_check_key
    assert (worker.max_tries, worker.retry_jobs, worker.keep_result_s) == (1, False, 0)
    assert not worker.allow_abort_jobs
    assert worker.job_timeout_s is not None
    assert worker.job_timeout_s > desk.context.settings.max_time_limit_seconds
    assert worker.job_serializer is not None
    assert worker.job_serializer({"a": UUID(int=0).hex})[:1] != b"\x80"  # a pickle begins with this


async def test_a_draining_worker_waits_until_its_job_is_given_back(desk: Desk, rings: ArqRedis) -> None:
    worker = RingWorker(Priority.INTERACTIVE, 1, rings, desk.context)
    serving = asyncio.create_task(worker.serve(desk.context.draining))
    job, waiting = await desk.submit("climb", limit=3600.0), await desk.submit("answer")
    await Queue(rings).ring([ring_for(job)])
    await desk.reaches(job, JobState.RUNNING)
    desk.context.draining.set()
    await Queue(rings).ring([ring_for(waiting)])
    await serving
    assert (await desk.now(job)).state is JobState.QUEUED
    assert (await desk.now(waiting)).attempt == 0
