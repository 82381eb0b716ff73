"""What is due is submitted, by as many schedulers at once as there are, and never in a person's way."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from uuid import UUID

import asyncpg
import msgspec
import pytest
from arq.connections import ArqRedis
from sqlalchemy import text

from milpa.errors import TransientError
from milpa.jobs import JobOptions, JobState, Priority
from milpa.settings import Settings
from storage.rows import JobFilter, JobRow, NewJob
from storage.schedule_rows import NewSchedule, RunRow, RunState, ScheduleRow
from storage.schedules import ScheduleStore
from storage.transaction import Database
from tests.storage.steps import add_tenant
from tests.workers.conftest import Desk
from workers.nightly import Nightly
from workers.ring_worker import RingWorker

PROBE = NewJob(
    kind="probe",
    kind_version=1,
    input=msgspec.json.encode({"act": "answer"}),
    priority=Priority.BATCH,
)

ENDLESS = msgspec.structs.replace(
    PROBE, input=msgspec.json.encode({"act": "climb"}), options=JobOptions(time_limit_seconds=3600.0)
)
"""A job that holds its slot until the test is over."""


@pytest.fixture
def nightly(desk: Desk) -> Nightly:
    """A scheduler in a house where nobody else looks."""
    return Nightly(desk.context.settings, desk.context.database)


async def due_schedule(desk: Desk, jobs: Sequence[NewJob] = (PROBE,), ago: str = "1 second") -> ScheduleRow:
    """A schedule whose due time has just passed."""
    new = NewSchedule(name="night", cron="0 2 * * *", timezone="Asia/Riyadh", jobs=jobs)
    async with desk.context.database.transaction(desk.tenant) as tenant:
        schedule = (await tenant.schedules.create(new)).schedule
        set_back = text(
            "UPDATE schedules SET next_due_at = now() - CAST(CAST(:ago AS text) AS interval) WHERE id = :id"
        )
        await tenant.connection.execute(set_back, {"ago": ago, "id": schedule.id})
    return schedule


async def runs(desk: Desk, schedule: ScheduleRow) -> Sequence[RunRow]:
    async with desk.context.database.transaction(desk.tenant) as tenant:
        return await tenant.schedules.runs(schedule.id, 100)


async def jobs(desk: Desk, batch: UUID | None, *states: JobState) -> Sequence[JobRow]:
    async with desk.context.database.transaction(desk.tenant) as tenant:
        return await tenant.jobs.list(JobFilter(batch_id=batch, states=states), 2000)


async def test_what_is_due_becomes_one_batch_and_is_not_due_again(desk: Desk, nightly: Nightly) -> None:
    schedule = await due_schedule(desk, [PROBE, PROBE])
    await nightly.start_due()
    await nightly.start_due()
    (run,) = await runs(desk, schedule)
    assert run.state is RunState.STARTED
    assert [job.priority for job in await jobs(desk, run.batch_id)] == [Priority.BATCH] * 2


@pytest.mark.usefixtures("nightly")
async def test_schedulers_that_look_at_once_start_each_due_schedule_once(desk: Desk, quick: Settings) -> None:
    schedules = [await due_schedule(desk) for _ in range(8)]
    databases = [await Database.connect(quick) for _ in range(3)]
    await asyncio.gather(*(Nightly(quick, database).start_due() for database in databases))
    for database in databases:
        await database.close()
    for schedule in schedules:
        assert [run.state for run in await runs(desk, schedule)] == [RunState.STARTED]
    assert len(await jobs(desk, None)) == 8


async def test_a_schedule_that_is_broken_holds_no_other_up(desk: Desk, nightly: Nightly) -> None:
    broken = await due_schedule(desk, ago="2 minutes")
    sound = await due_schedule(desk)
    async with desk.context.database.transaction(desk.tenant) as tenant:
        await tenant.connection.execute(
            text("UPDATE schedules SET jobs = CAST('x' AS bytea) WHERE id = :id"), {"id": broken.id}
        )
    await nightly.start_due()
    assert await runs(desk, broken) == []
    assert len(await runs(desk, sound)) == 1


async def test_schedules_that_are_broken_hold_no_other_up_however_many_they_are(
    desk: Desk, nightly: Nightly, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.nightly.DUE_AT_ONCE", 2)
    for _ in range(3):
        await due_schedule(desk, ago="2 minutes")
    async with desk.context.database.transaction(desk.tenant) as tenant:
        await tenant.connection.execute(text("UPDATE schedules SET jobs = CAST('x' AS bytea)"))
    sound = await due_schedule(desk)
    async with asyncio.timeout(60):
        await nightly.start_due()
    assert len(await runs(desk, sound)) == 1


async def test_a_schedule_whose_own_statement_times_out_holds_no_other_up(
    desk: Desk, nightly: Nightly, owner: asyncpg.Connection
) -> None:
    stuck = await due_schedule(desk, ago="2 minutes")
    other = Desk(desk.context, await add_tenant(desk.context.database))
    sound = await due_schedule(other)
    async with owner.transaction():
        await owner.execute("SELECT FROM tenants WHERE id = $1 FOR UPDATE", desk.tenant)  # its batch waits for this
        await nightly.start_due()
    assert await runs(desk, stuck) == []
    assert len(await runs(other, sound)) == 1
    await nightly.start_due()
    assert len(await runs(desk, stuck)) == 1


async def test_no_schedule_is_tried_after_one_that_found_postgresql_away(
    desk: Desk, nightly: Nightly, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        await due_schedule(desk)
    tried = 0

    async def away(*_: object) -> bool:
        nonlocal tried
        tried += 1
        raise TransientError("database_unavailable", "")

    monkeypatch.setattr(ScheduleStore, "run_due", away)
    monkeypatch.setattr(desk.context.database, "ping", away)
    with pytest.raises(TransientError):
        await nightly.start_due()
    assert tried == 2, "one schedule, one ping"


async def test_a_scheduler_outlives_a_database_that_is_away(
    desk: Desk, nightly: Nightly, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = await due_schedule(desk)
    start_due, answers = nightly.start_due, iter([TransientError("database_unavailable", ""), RuntimeError()])

    async def late() -> None:
        if (error := next(answers, None)) is not None:
            raise error
        await start_due()

    monkeypatch.setattr(nightly, "start_due", late)
    running = asyncio.create_task(nightly.run())
    async with asyncio.timeout(60):
        while not await runs(desk, schedule):  # noqa: ASYNC110  the scheduler changes it
            await asyncio.sleep(0.05)
    running.cancel()


async def test_old_runs_are_forgotten_once_a_minute(
    desk: Desk, nightly: Nightly, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = await due_schedule(desk)
    await nightly.start_due()
    monkeypatch.setattr(nightly, "_settings", msgspec.structs.replace(desk.context.settings, retention_days=0.0))
    await nightly._prune()
    assert len(await runs(desk, schedule)) == 1
    nightly._pruned_at -= timedelta(hours=1).total_seconds()
    await nightly._prune()
    assert await runs(desk, schedule) == []


@pytest.fixture
async def roomy(desk: Desk) -> AsyncIterator[None]:
    """A fleet with room to ring, whatever other tests have left behind."""

    async def register() -> None:
        while True:
            async with desk.context.database.fleet() as fleet:
                await fleet.workers.seen(desk.context.id, "test", 2000, 2000)
            await asyncio.sleep(desk.context.settings.heartbeat_seconds)

    registering = asyncio.create_task(register())
    yield
    registering.cancel()


@pytest.mark.usefixtures("roomy")
async def test_people_are_answered_while_not_one_job_of_a_nightly_batch_of_1000_has_ended(
    desk: Desk, rings: ArqRedis, nightly: Nightly
) -> None:
    schedule = await due_schedule(desk, [ENDLESS] * 1000)
    workers = [RingWorker(priority, 1, rings, desk.context) for priority in Priority]
    serving = [asyncio.create_task(worker.serve(desk.context.draining)) for worker in workers]
    await nightly.start_due()
    (run,) = await runs(desk, schedule)
    async with asyncio.timeout(60):
        while not await jobs(desk, run.batch_id, JobState.RUNNING):  # noqa: ASYNC110  another process changes it
            await asyncio.sleep(0.01)
    for _ in range(3):
        await desk.reaches(await desk.submit("answer"), JobState.SUCCEEDED)
    assert len(await jobs(desk, run.batch_id, JobState.RUNNING)) == 1
    assert len(await jobs(desk, run.batch_id, JobState.QUEUED)) == 999
    desk.context.draining.set()
    await asyncio.gather(*serving)
