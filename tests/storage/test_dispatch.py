"""The doorbell: what is rung reaches ARQ, ringing twice does no harm, and lost rings are found."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from arq.connections import ArqRedis
from arq.worker import Worker, func
from redis.asyncio import Redis

from milpa.errors import TransientError
from milpa.jobs import JobState, Priority
from milpa.settings import Settings
from storage.dispatch import Dispatcher
from storage.queue import Queue, deserialize, queue_name, serialize
from storage.rows import Ring, Task
from storage.transaction import Database
from tests.storage.steps import WORKER, add_tenant, add_worker, admit, break_off, claim, look, submit, succeeded


@pytest.fixture
async def dispatcher(settings: Settings, redis: Redis) -> AsyncIterator[Dispatcher]:
    """A dispatcher over a database of its own, which it wakes itself."""
    database = await Database.connect(settings)
    dispatcher = Dispatcher(database, Queue(redis))
    yield dispatcher
    await dispatcher.close()
    await database.close()


async def rung(redis: Redis, priority: Priority = Priority.INTERACTIVE) -> list[str]:
    """The ids on ARQ's queue."""
    return [name.decode() for name in await redis.zrange(queue_name(priority), 0, -1)]


def a_ring(priority: Priority = Priority.INTERACTIVE, task: Task = Task.RUN_JOB) -> Ring:
    return Ring(tenant_id=uuid4(), job_id=uuid4(), dispatch_no=1, priority=priority, task=task, at=1.0)


async def answers(redis: Redis, priority: Priority, count: int) -> list[tuple[Any, ...]]:
    """What ARQ's own worker calls for the rings on a queue."""
    calls = []

    async def run_job(_ctx: Any, *arguments: Any) -> None:
        calls.append(("run_job", *arguments))

    async def make_files(_ctx: Any, *arguments: Any) -> None:
        calls.append(("make_files", *arguments))

    worker = Worker(
        functions=[func(run_job, name="run_job"), func(make_files, name="make_files")],
        redis_pool=ArqRedis(redis.connection_pool, job_serializer=serialize, job_deserializer=deserialize),
        queue_name=queue_name(priority),
        job_serializer=serialize,
        job_deserializer=deserialize,
        keep_result=0,
        max_tries=1,
        poll_delay=0.01,
        burst=True,
        max_burst_jobs=count,
        handle_signals=False,
    )
    await worker.async_run()
    return calls


async def test_arqs_own_worker_answers_a_ring_once_however_often_it_is_rung(redis: Redis) -> None:
    job, files = a_ring(), a_ring(task=Task.MAKE_FILES)
    queue = Queue(redis)
    for _ in range(3):
        await queue.ring([job, files])
    assert sorted(await answers(redis, Priority.INTERACTIVE, 10)) == [
        ("make_files", str(files.tenant_id), str(files.job_id), 1),
        ("run_job", str(job.tenant_id), str(job.job_id), 1),
    ]
    assert await rung(redis) == []
    assert await redis.keys("arq:*") == []


async def test_rings_of_one_admission_keep_the_order_of_their_turns(
    dispatcher: Dispatcher, database: Database, tenant: UUID, redis: Redis
) -> None:
    others = await add_tenant(database)
    mine = [await submit(database, tenant) for _ in range(4)]
    theirs = [await submit(database, others) for _ in range(4)]
    await add_worker(database, interactive=4)
    assert await dispatcher.admit() == 8
    in_turn = [job for turn in zip(mine, theirs, strict=True) for job in turn]
    assert await rung(redis) == [f"{job.id}:1" for job in in_turn]


async def test_the_clock_of_the_one_who_rings_decides_nothing(
    database: Database, tenant: UUID, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_worker(database, interactive=5)
    names, clock = [], time.time
    for ahead in (600, 0, -600):
        job = await submit(database, tenant)
        with monkeypatch.context() as shifted:
            for name in ("time.time", "arq.utils.time"):
                shifted.setattr(name, lambda: clock() + ahead)  # noqa: B023  used at once
            await Queue(redis).ring(await admit(database))
        names.append(f"{job.id}:1")
    assert await rung(redis) == names


async def test_a_thousand_rings_keep_their_order(redis: Redis) -> None:
    rings = [a_ring() for _ in range(1000)]
    await Queue(redis).ring(rings)
    assert await rung(redis) == [f"{ring.job_id}:1" for ring in rings]


async def test_each_priority_has_a_queue_of_its_own(redis: Redis) -> None:
    rings = [a_ring(Priority.BATCH), a_ring(Priority.INTERACTIVE)]
    await Queue(redis).ring(rings)
    for ring in rings:
        assert await rung(redis, ring.priority) == [f"{ring.job_id}:1"]


async def test_missing_rings_are_those_that_redis_lost_or_that_were_taken_and_not_answered(redis: Redis) -> None:
    held, forgotten, bodiless, taken = [a_ring() for _ in range(4)]
    queue = Queue(redis)
    await queue.ring([held, bodiless, taken])
    await redis.delete(f"arq:job:{bodiless.job_id}:1")
    await redis.zrem(queue_name(taken.priority), f"{taken.job_id}:1")
    assert await queue.missing([held, forgotten, bodiless, taken]) == [forgotten, bodiless, taken]
    assert await queue.missing([]) == []


async def test_with_redis_away_ringing_can_be_tried_again(tmp_path: Path) -> None:
    queue = Queue(Redis(unix_socket_path=str(tmp_path / "none.sock")))
    with pytest.raises(TransientError):
        await queue.ring([a_ring()])
    with pytest.raises(TransientError):
        await queue.missing([a_ring()])


async def test_a_commit_rings_by_itself(dispatcher: Dispatcher, tenant: UUID, redis: Redis) -> None:
    database = dispatcher._database
    await add_worker(database)
    job = await submit(database, tenant)
    await dispatcher.close()
    assert await rung(redis) == [f"{job.id}:1"]


async def test_what_breaks_off_rings_nothing(dispatcher: Dispatcher, tenant: UUID, redis: Redis) -> None:
    database = dispatcher._database
    await add_worker(database)
    with pytest.raises(InterruptedError):
        await break_off(database, tenant)
    await dispatcher.close()
    assert await rung(redis) == []
    assert (await submit(database, tenant)).rung_at is not None, "its place is free again"


async def test_many_wakes_at_once_are_few_admissions_and_miss_nothing(
    dispatcher: Dispatcher, tenant: UUID, redis: Redis
) -> None:
    database = dispatcher._database
    await add_worker(database, interactive=50)
    admissions = []
    original = dispatcher.admit

    async def counted() -> None:
        admissions.append(await original())

    dispatcher.admit = counted
    jobs = await asyncio.gather(*(submit(database, tenant) for _ in range(60)))
    await dispatcher.close()
    assert sorted(await rung(redis)) == sorted(f"{job.id}:1" for job in jobs)
    assert sum(admissions) == sum(job.rung_at is None for job in jobs), "the others have rung by themselves"
    assert len(admissions) < 60


async def test_a_submit_rings_without_an_admission_where_nobody_waits_and_there_is_room(
    dispatcher: Dispatcher, database: Database, tenant: UUID, redis: Redis
) -> None:
    await add_worker(database, interactive=1)
    dispatcher._database.on_waiting(lambda: pytest.fail("no admission is needed"))
    jobs = [await submit(dispatcher._database, tenant) for _ in range(2)]
    await dispatcher.close()
    assert await rung(redis) == [f"{job.id}:1" for job in jobs]
    assert all(job.rung_at for job in jobs)


async def test_a_submit_rings_for_nobody_without_a_living_worker_or_in_a_paused_queue(
    settings: Settings, database: Database, owner: asyncpg.Connection, tenant: UUID
) -> None:
    ringing = await Database.connect(settings)
    ringing.on_rung(lambda _rings: None)
    assert (await submit(ringing, tenant)).rung_at is None, "nobody is there"
    worker = await add_worker(database, interactive=5)
    await owner.execute("UPDATE workers SET seen_at = now() - interval '31 seconds' WHERE id = $1", worker)
    assert (await submit(ringing, tenant, priority=Priority.BATCH)).rung_at is None, "nobody is there any more"
    await owner.execute("UPDATE workers SET seen_at = now()")
    await admit(database)
    async with database.fleet() as fleet:
        await fleet.jobs.pause(Priority.INTERACTIVE)
    assert (await submit(ringing, tenant)).rung_at is None, "its queue is paused"
    assert (await submit(ringing, tenant, priority=Priority.BATCH)).rung_at is not None
    await ringing.close()


async def test_a_submit_rings_while_there_is_room_and_its_tenant_is_under_its_cap(
    settings: Settings, database: Database, tenant: UUID
) -> None:
    ringing = await Database.connect(settings)
    ringing.on_rung(lambda _rings: None)
    await add_worker(database, interactive=1, batch=1)
    capped = await add_tenant(database, max_running=1)
    assert (await submit(ringing, capped)).rung_at is not None
    assert (await submit(ringing, capped, priority=Priority.BATCH)).rung_at is None, "its cap is over both queues"
    assert (await submit(ringing, tenant)).rung_at is not None
    assert (await submit(ringing, tenant)).rung_at is None, "twice the slots are rung"
    await ringing.close()


async def test_submits_at_once_and_admissions_never_ring_more_than_there_is_room_for(
    dispatcher: Dispatcher, settings: Settings, tenant: UUID, redis: Redis
) -> None:
    other = await Database.connect(settings)
    second = Dispatcher(other, Queue(redis))
    await add_worker(other, interactive=2)
    capped = await add_tenant(other, max_running=1)
    jobs = await asyncio.gather(
        *(submit(database, tenant) for database in (dispatcher._database, other) for _ in range(20)),
        *(submit(database, capped) for database in (dispatcher._database, other) for _ in range(5)),
    )
    await dispatcher.close()
    await second.close()
    names = await rung(redis)
    assert len(names) == 4
    assert sum(f"{job.id}:1" in names for job in jobs if job.tenant_id == capped) <= 1
    await other.close()


async def test_a_submit_waits_for_its_turn_while_somebody_else_chooses(
    dispatcher: Dispatcher, database: Database, tenant: UUID, redis: Redis
) -> None:
    await add_worker(database)
    async with database.fleet() as fleet:
        assert await fleet.jobs.admit() == []
        job = await submit(dispatcher._database, tenant)
        assert job.rung_at is None
    await dispatcher.close()
    assert await rung(redis) == [f"{job.id}:1"]


async def test_waking_with_redis_away_harms_nobody(settings: Settings, tenant: UUID, tmp_path: Path) -> None:
    database = await Database.connect(settings)
    dispatcher = Dispatcher(database, Queue(Redis(unix_socket_path=str(tmp_path / "none.sock"))))
    await add_worker(database)
    job = await submit(database, tenant)
    await dispatcher.close()
    assert (await look(database, job)).rung_at is not None
    await database.close()


async def test_a_ring_that_redis_lost_is_rung_again_under_a_new_number(
    dispatcher: Dispatcher, tenant: UUID, redis: Redis
) -> None:
    database = dispatcher._database
    await add_worker(database)
    job = await submit(database, tenant)
    await dispatcher.close()
    assert await dispatcher.ring_lost(0) == 0
    await redis.flushdb()
    assert await dispatcher.ring_lost(3600) == 0, "a young ring may still be on its way"
    assert await dispatcher.ring_lost(0) == 1
    assert await rung(redis) == [f"{job.id}:2"]
    async with database.transaction(tenant) as tx:
        assert await tx.jobs.claim(job.id, 1, WORKER, 30) is None, "the lost ring turned up after all: it is stale"
    await claim(database, await look(database, job))


async def test_a_ring_whose_taker_died_before_the_claim_is_rung_again(
    dispatcher: Dispatcher, tenant: UUID, redis: Redis
) -> None:
    database = dispatcher._database
    await add_worker(database)
    job = await submit(database, tenant)
    await dispatcher.close()
    await redis.zrem(queue_name(job.priority), f"{job.id}:1")
    assert await dispatcher.ring_lost(0) == 1
    assert f"{job.id}:2" in await rung(redis)


async def test_a_commit_whose_ring_was_never_sent_is_rung_in_the_end(
    dispatcher: Dispatcher, database: Database, tenant: UUID, redis: Redis
) -> None:
    await add_worker(database)
    job = await submit(database, tenant)
    assert [ring.job_id for ring in await admit(database)] == [job.id]  # and then the dispatcher dies
    assert await rung(redis) == []
    assert await dispatcher.ring_lost(0) == 1
    assert await rung(redis) == [f"{job.id}:2"]


async def test_a_running_job_is_not_rung_again(dispatcher: Dispatcher, tenant: UUID, redis: Redis) -> None:
    database = dispatcher._database
    await add_worker(database)
    job = await submit(database, tenant)
    await dispatcher.close()
    await claim(database, job)
    await redis.flushdb()
    assert await dispatcher.ring_lost(0) == 0
    assert (await look(database, job)).state is JobState.RUNNING


async def test_the_oldest_requests_for_files_are_rung_first(database: Database, tenant: UUID) -> None:
    jobs = [await succeeded(database, tenant) for _ in range(3)]
    for job in jobs:
        async with database.transaction(tenant) as tx:
            await tx.files.request(job.id, ["pdf"])
    first, later = [await _admit(database, files) for files in (1, 2)]
    assert (first, set(later)) == ([jobs[0].id], {jobs[1].id, jobs[2].id})


async def _admit(database: Database, files: int) -> list[UUID]:
    async with database.fleet() as fleet:
        rings = await fleet.jobs.admit(files=files)
    return [ring.job_id for ring in rings if ring.task is Task.MAKE_FILES]


async def test_requests_for_files_are_rung_and_found_again_like_jobs(
    dispatcher: Dispatcher, tenant: UUID, redis: Redis
) -> None:
    database = dispatcher._database
    job = await succeeded(database, tenant)
    async with database.transaction(tenant) as tx:
        await tx.files.request(job.id, ["pdf"])
    await dispatcher.close()
    assert await rung(redis) == [f"make_files:{job.id}:1"]
    await redis.flushdb()
    assert await dispatcher.ring_lost(0) == 1
    assert await rung(redis) == [f"make_files:{job.id}:2"]
    async with database.transaction(tenant) as tx:
        assert await tx.files.claim(job.id, 1) is None
        assert await tx.files.claim(job.id, 2) is not None
    await redis.flushdb()
    assert await dispatcher.ring_lost(0) == 0, "its files are being made"
