"""Upkeep: what was missed is done again, by as many sweepers at once as there are."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from arq.connections import ArqRedis

from milpa.errors import TransientError
from milpa.jobs import FileFormat, JobState
from storage.objects import object_key
from storage.rows import JobRow, NewJob
from tests.workers.conftest import Desk
from workers import sweep
from workers.sweep import Sweeper


@pytest.fixture
async def sweeper(desk: Desk) -> Sweeper:
    """A sweeper of a fleet with room to ring, in a house where nobody else rings."""
    context = desk.context
    context.database.on_waiting(lambda: None)
    async with context.database.fleet() as fleet:
        await fleet.workers.seen(context.id, "test", 1000, 1000)
    return Sweeper(context.settings, context.database, context.objects, context.dispatcher)


async def set_back(desk: Desk, job: JobRow, assignment: str) -> None:
    async with desk.context.database.fleet() as fleet:
        await fleet.connection.exec_driver_sql(f"UPDATE jobs SET {assignment} WHERE id = $1", (job.id,))  # noqa: S608  our own text


async def rings_of(rings: ArqRedis, job: JobRow) -> list[int]:
    names = [name.decode() for name in await rings.zrange("milpa:interactive", 0, -1)]
    return [int(name.rpartition(":")[2]) for name in names if name.startswith(str(job.id))]


async def claim(desk: Desk, job: JobRow) -> None:
    async with desk.context.database.transaction(desk.tenant) as tenant:
        assert await tenant.jobs.claim(job.id, job.dispatch_no, desk.context.id, 1000)


async def test_a_job_that_nobody_rang_for_is_rung(desk: Desk, rings: ArqRedis, sweeper: Sweeper) -> None:
    job = await desk.submit("answer")
    await sweeper.sweep()
    assert await rings_of(rings, job) == [job.dispatch_no]


async def test_a_ring_that_redis_lost_is_rung_again_under_a_new_number(
    desk: Desk, rings: ArqRedis, sweeper: Sweeper
) -> None:
    job = await desk.submit("answer")
    await sweeper.sweep()
    await rings.flushall()
    await set_back(desk, job, "rung_at = rung_at - interval '1 minute'")
    await sweeper.sweep()
    assert await rings_of(rings, job) == [job.dispatch_no + 1]


async def test_a_ring_that_waits_its_turn_is_not_rung_twice(desk: Desk, rings: ArqRedis, sweeper: Sweeper) -> None:
    job = await desk.submit("answer")
    await sweeper.sweep()
    await set_back(desk, job, "rung_at = rung_at - interval '1 minute'")
    await sweeper.sweep()
    assert await rings_of(rings, job) == [job.dispatch_no]


async def test_a_scheduled_job_is_queued_and_rung_when_its_time_has_come(
    desk: Desk, rings: ArqRedis, sweeper: Sweeper
) -> None:
    due = NewJob(kind="probe", kind_version=1, input=b"{}", run_at=datetime.now(UTC) + timedelta(hours=1))
    async with desk.context.database.transaction(desk.tenant) as tenant:
        job = (await tenant.jobs.submit(due)).job
    await sweeper.sweep()
    assert (await desk.now(job)).state is JobState.SCHEDULED
    await set_back(desk, job, "run_at = now()")
    await sweeper.sweep()
    assert (await desk.now(job)).state is JobState.QUEUED
    assert len(await rings_of(rings, job)) == 1


async def test_a_job_whose_lease_ran_out_is_rescued_once_by_any_number_of_sweepers(
    desk: Desk, rings: ArqRedis, sweeper: Sweeper
) -> None:
    jobs = [await desk.submit("answer") for _ in range(10)]
    for job in jobs:
        await claim(desk, job)
        await set_back(desk, job, "lease_until = now() - interval '1 second'")
    await rings.flushall()  # these claims have taken no ring out
    await asyncio.gather(*(sweeper.sweep() for _ in range(5)))
    for job in jobs:
        now = await desk.now(job)
        assert (now.state, now.crash_count) == (JobState.QUEUED, 1)
        assert (await desk.events(job)).count("rescued") == 1
        assert await rings_of(rings, job) == [now.dispatch_no]


async def test_a_running_job_with_a_lease_is_left_alone(desk: Desk, sweeper: Sweeper) -> None:
    job = await desk.submit("answer")
    await claim(desk, job)
    await sweeper.sweep()
    now = await desk.now(job)
    assert (now.state, now.crash_count) == (JobState.RUNNING, 0)


async def test_the_third_lost_lease_is_poison(desk: Desk, sweeper: Sweeper) -> None:
    job = await desk.submit("answer")
    for _ in range(3):
        await claim(desk, await desk.now(job))
        await set_back(desk, job, "lease_until = now() - interval '1 second'")
        await sweeper.rescue()
    now = await desk.now(job)
    assert now.state is JobState.FAILED
    assert now.error is not None
    assert now.error.code == "poison"


async def test_files_and_payloads_of_jobs_long_ended_are_dropped_and_the_row_stays(
    desk: Desk, sweeper: Sweeper
) -> None:
    job = await desk.run(await desk.submit("answer", files=(FileFormat.CSV,)))
    kept = await desk.run(await desk.submit("answer", files=(FileFormat.CSV,)))
    await set_back(desk, job, "finished_at = finished_at - interval '31 days'")
    await sweeper.prune()
    assert await desk.payload(job, "result") is None
    assert await desk.payload(kept, "result") is not None
    keys = [found.key async for found in desk.context.objects.list()]
    assert len(keys) == 1
    assert str(kept.id) in keys[0]
    assert (await desk.now(job)).objective == 1.0


async def test_objects_that_no_row_names_are_collected_when_they_are_old(
    desk: Desk, sweeper: Sweeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await desk.run(await desk.submit("answer", files=(FileFormat.CSV,)))
    orphan = object_key(desk.tenant, job.id, 7, "left.csv")
    await desk.context.objects.put(orphan, b"left behind")
    await sweeper.collect_orphans()
    kept = {found.key async for found in desk.context.objects.list()}
    assert orphan in kept, "it may be of an attempt that has not named it yet"
    kept.remove(orphan)
    assert len(kept) == 1
    monkeypatch.setattr(sweep, "ORPHAN_AGE", timedelta(0))
    await sweeper.collect_orphans()
    assert {found.key async for found in desk.context.objects.list()} == kept


async def test_a_step_that_fails_keeps_no_other_from_being_done(
    desk: Desk, rings: ArqRedis, sweeper: Sweeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unanswered() -> None:
        raise TransientError("database_unavailable", "")

    async def broken() -> None:
        raise ValueError

    monkeypatch.setattr(sweeper, "start_due", unanswered)
    monkeypatch.setattr(sweeper, "rescue", broken)
    job = await desk.submit("answer")
    await sweeper.sweep()
    assert await rings_of(rings, job) == [job.dispatch_no]


async def test_jobs_are_rescued_while_tidying_up_is_stuck(
    desk: Desk, sweeper: Sweeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    tidying = asyncio.Event()

    async def stuck() -> None:
        tidying.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(sweep, "PRUNE_SECONDS", 0.01)
    monkeypatch.setattr(sweep, "ORPHANS_SECONDS", 0.01)
    monkeypatch.setattr(sweeper, "prune", stuck)
    monkeypatch.setattr(sweeper, "collect_orphans", stuck)
    sweeping = asyncio.create_task(sweeper.run())
    async with asyncio.timeout(60):
        await tidying.wait()
    job = await desk.submit("answer")
    await claim(desk, job)
    await set_back(desk, job, "lease_until = now() - interval '1 second'")
    await desk.reaches(job, JobState.QUEUED)
    sweeping.cancel()
