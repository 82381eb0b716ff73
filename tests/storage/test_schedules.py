"""Schedules: every due time becomes one run, whoever competes, dies or was away. The clock is the database's."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from msgspec.structs import replace

from milpa.errors import FatalError, TransientError, UsageError
from milpa.jobs import FileFormat, JobOptions, JobState, Priority
from milpa.settings import Secret, Settings
from storage.rows import JobFilter, JobRow, NewJob
from storage.schedule_rows import NewSchedule, Overlap, RunRow, RunState, ScheduleChanges, ScheduleRow
from storage.transaction import Database
from tests.storage.steps import add_tenant, claim, finish, new_job, payload, warning
from tests.support.clock import Clock, hung_clock

TUESDAY = "2026-06-02T12:00:00+03:00"


@pytest.fixture
async def clock(settings: Settings) -> AsyncIterator[Clock]:
    async with hung_clock(settings) as clock:
        await clock.show(TUESDAY)
        yield clock


@pytest.fixture
async def database(clock: Clock) -> AsyncIterator[Database]:
    """The database as API and workers see it, under the clock on the wall."""
    database = await Database.connect(clock.settings)
    yield database
    await database.close()


async def make(database: Database, tenant: UUID, **changes: Any) -> ScheduleRow:
    """Every night at two in Riyadh, like any other."""
    fields = {
        "name": "night",
        "cron": "0 2 * * *",
        "timezone": "Asia/Riyadh",
        "jobs": [new_job(), new_job()],
        **changes,
    }
    async with database.transaction(tenant) as tx:
        return (await tx.schedules.create(NewSchedule(**fields))).schedule


async def change(database: Database, schedule: ScheduleRow, **changes: Any) -> ScheduleRow:
    async with database.transaction(schedule.tenant_id) as tx:
        row = await tx.schedules.update(schedule.id, ScheduleChanges(**changes))
    assert row is not None
    return row


async def run_due(database: Database, schedule: ScheduleRow) -> int:
    """Do all that is due, as a scheduler would; returns in how many steps."""
    steps = 0
    while True:
        async with database.transaction(schedule.tenant_id) as tx:
            if not await tx.schedules.run_due(schedule.id):
                return steps
        steps += 1


async def runs(database: Database, schedule: ScheduleRow) -> list[RunRow]:
    """Its runs, the oldest due first."""
    async with database.transaction(schedule.tenant_id) as tx:
        found = await tx.schedules.runs(schedule.id, 1000)
    return sorted(found, key=lambda run: run.due_at or run.created_at)


async def jobs(database: Database, tenant: UUID, batch: UUID | None = None) -> list[JobRow]:
    async with database.transaction(tenant) as tx:
        return list(await tx.jobs.list(JobFilter(batch_id=batch), 10_000))


async def end(database: Database, tenant: UUID) -> None:
    for job in await jobs(database, tenant):
        if not job.state.ended:
            assert await finish(database, (await claim(database, job)).ref)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def test_a_due_time_becomes_one_batch_of_its_jobs(database: Database, tenant: UUID, clock: Clock) -> None:
    given = [
        new_job(name="first", input=b"1", tags=["a"], priority=Priority.BATCH),
        new_job(name="second", input=b"2", files=[FileFormat.PDF], options=JobOptions(seed=7)),
    ]
    schedule = await make(database, tenant, jobs=given, webhook_url="https://example.com/hook")
    assert (schedule.size, schedule.next_due_at) == (2, at("2026-06-03T02:00:00+03:00"))
    assert await run_due(database, schedule) == 0
    await clock.show("2026-06-03T02:00:01+03:00")
    assert await run_due(database, schedule) == 1
    (run,) = await runs(database, schedule)
    assert (run.state, run.due_at, run.size) == (RunState.STARTED, at("2026-06-03T02:00:00+03:00"), 2)
    assert run.counts == {JobState.QUEUED: 2}
    second, first = await jobs(database, tenant, run.batch_id)
    assert [await payload(database, job, "input") for job in (first, second)] == [b"1", b"2"]
    assert (first.name, first.tags, first.priority) == ("first", ["a"], Priority.BATCH)
    assert (second.files, second.options.seed) == ([FileFormat.PDF], 7)
    async with database.transaction(tenant) as tx:
        batch = await tx.batches.get(run.batch_id)
        kept = await tx.schedules.get(schedule.id)
    assert (batch.name, batch.webhook_url) == ("night", "https://example.com/hook")
    assert kept.next_due_at == at("2026-06-04T02:00:00+03:00")


async def test_three_schedulers_that_compete_make_one_run_of_each_due_time(clock: Clock) -> None:
    databases = [await Database.connect(clock.settings) for _ in range(3)]
    first = databases[0]
    tenant = await add_tenant(first)
    schedule = await make(first, tenant, cron="* * * * *", overlap=Overlap.QUEUE, jobs=[new_job()])
    start = at(TUESDAY)
    for minute in (1, 2, 10, 25):
        await clock.show(start + timedelta(minutes=minute, seconds=1))
        await asyncio.gather(*(run_due(database, schedule) for database in databases for _ in range(3)))
        assert await run_due(first, schedule) == 0
    due = [run.due_at for run in await runs(first, schedule)]
    assert due == [start + timedelta(minutes=minute) for minute in range(1, 26)]
    batches = {run.batch_id for run in await runs(first, schedule)}
    assert (len(batches), len(await jobs(first, tenant))) == (25, 25)
    for database in databases:
        await database.close()


async def test_a_due_time_that_comes_again_after_the_clock_was_set_back_is_not_run_again(
    database: Database, tenant: UUID, clock: Clock
) -> None:
    schedule = await make(database, tenant)
    await clock.show("2026-06-03T02:00:01+03:00")
    await run_due(database, schedule)
    await end(database, tenant)
    await clock.show("2026-06-03T01:55:00+03:00")
    moved = await change(database, schedule, cron="0 2 * * 1-5")
    assert moved.next_due_at == at("2026-06-03T02:00:00+03:00")
    await clock.show("2026-06-03T02:00:02+03:00")
    await run_due(database, schedule)
    assert len(await runs(database, schedule)) == 1
    assert len(await jobs(database, tenant)) == 2


async def test_no_second_row_for_a_due_time_whatever_the_code_believes(
    database: Database, tenant: UUID, clock: Clock, owner: asyncpg.Connection
) -> None:
    schedule = await make(database, tenant)
    await clock.show("2026-06-03T02:00:01+03:00")
    await run_due(database, schedule)
    with pytest.raises(asyncpg.UniqueViolationError):
        await owner.execute(
            "INSERT INTO schedule_runs (tenant_id, id, schedule_id, due_at, state)"
            " SELECT tenant_id, gen_random_uuid(), schedule_id, due_at, 'skipped' FROM schedule_runs"
        )


class DiedError(Exception):
    pass


async def die_at_work(database: Database, schedule: ScheduleRow) -> None:
    async with database.transaction(schedule.tenant_id) as tx:
        assert await tx.schedules.run_due(schedule.id)
        raise DiedError


async def be_cut_off_at_work(database: Database, schedule: ScheduleRow, owner: asyncpg.Connection) -> None:
    async with database.transaction(schedule.tenant_id) as tx:
        assert await tx.schedules.run_due(schedule.id)
        pid = (await tx.connection.exec_driver_sql("SELECT pg_backend_pid()")).scalar()
        await owner.execute("SELECT pg_terminate_backend($1)", pid)


async def test_a_scheduler_that_dies_before_its_commit_leaves_the_due_time_to_the_next(
    database: Database, tenant: UUID, clock: Clock
) -> None:
    schedule = await make(database, tenant)
    await clock.show("2026-06-03T02:00:01+03:00")
    with pytest.raises(DiedError):
        await die_at_work(database, schedule)
    assert (await runs(database, schedule), await jobs(database, tenant)) == ([], [])
    assert await run_due(database, schedule) == 1
    assert len(await jobs(database, tenant)) == 2


async def test_a_scheduler_whose_connection_is_cut_in_the_middle_leaves_it_too(
    database: Database, tenant: UUID, clock: Clock, owner: asyncpg.Connection
) -> None:
    schedule = await make(database, tenant)
    await clock.show("2026-06-03T02:00:01+03:00")
    with pytest.raises(TransientError):
        await be_cut_off_at_work(database, schedule, owner)
    assert await run_due(database, schedule) == 1
    assert len(await runs(database, schedule)) == 1
    assert len(await jobs(database, tenant)) == 2


async def test_after_downtime_the_window_is_made_up_for_and_the_rest_is_noted_as_missed(
    database: Database, tenant: UUID, clock: Clock
) -> None:
    schedule = await make(database, tenant, cron="0 * * * *", catch_up_minutes=150, overlap=Overlap.QUEUE)
    await clock.show("2026-06-02T18:10:00+03:00")
    await run_due(database, schedule)
    found = [(run.due_at.astimezone(at(TUESDAY).tzinfo).hour, run.state) for run in await runs(database, schedule)]
    assert found == [
        *((hour, RunState.MISSED) for hour in (13, 14, 15)),
        *((hour, RunState.STARTED) for hour in (16, 17, 18)),
    ]
    assert len(await jobs(database, tenant)) == 6


async def test_the_edge_of_the_window_is_inside(database: Database, tenant: UUID, clock: Clock) -> None:
    schedule = await make(database, tenant, catch_up_minutes=30)
    await clock.show("2026-06-03T02:30:00+03:00")
    await run_due(database, schedule)
    assert [run.state for run in await runs(database, schedule)] == [RunState.STARTED]
    await clock.show("2026-06-04T02:30:00.000001+03:00")
    await run_due(database, schedule)
    assert [run.state for run in await runs(database, schedule)] == [RunState.STARTED, RunState.MISSED]


async def test_long_downtime_of_a_busy_schedule_is_noted_in_bites(
    database: Database, tenant: UUID, clock: Clock
) -> None:
    schedule = await make(database, tenant, cron="* * * * *", catch_up_minutes=1)
    await clock.show("2026-06-02T19:00:30+03:00")
    assert await run_due(database, schedule) > 4
    found = await runs(database, schedule)
    assert [run.state for run in found] == [RunState.MISSED] * 419 + [RunState.STARTED]
    assert len({run.due_at for run in found}) == 420


async def test_skip_leaves_out_due_times_while_the_run_before_has_not_ended(
    database: Database, tenant: UUID, clock: Clock
) -> None:
    schedule = await make(database, tenant, overlap=Overlap.SKIP)
    for day in (3, 4, 5):
        await clock.show(f"2026-06-0{day}T02:00:01+03:00")
        await run_due(database, schedule)
    await end(database, tenant)
    await clock.show("2026-06-06T02:00:01+03:00")
    await run_due(database, schedule)
    states = [run.state for run in await runs(database, schedule)]
    assert states == [RunState.STARTED, RunState.SKIPPED, RunState.SKIPPED, RunState.STARTED]
    assert len(await jobs(database, tenant)) == 4


async def test_queue_lines_up_behind_the_run_before(database: Database, tenant: UUID, clock: Clock) -> None:
    schedule = await make(database, tenant, overlap=Overlap.QUEUE)
    for day in (3, 4):
        await clock.show(f"2026-06-0{day}T02:00:01+03:00")
        await run_due(database, schedule)
    first, second = await runs(database, schedule)
    assert (first.state, second.state) == (RunState.STARTED, RunState.STARTED)
    async with database.fleet() as fleet:
        await fleet.workers.seen(uuid4(), "test", 10, 10)
        rings = await fleet.jobs.admit()
    order = [(await one(database, tenant, ring.job_id)).batch_id for ring in rings]
    assert order == [first.batch_id] * 2 + [second.batch_id] * 2


async def one(database: Database, tenant: UUID, job_id: UUID) -> JobRow:
    async with database.transaction(tenant) as tx:
        found = await tx.jobs.get(job_id)
    assert found is not None
    return found


@pytest.mark.parametrize("due", ["2026-03-29T03:00:00+02:00", "2026-10-25T02:30:00+02:00"])
async def test_the_night_the_clocks_change_in_berlin_has_one_run(
    database: Database, tenant: UUID, clock: Clock, due: str
) -> None:
    noon = at(due) - timedelta(hours=12)
    await clock.show(noon)
    schedule = await make(database, tenant, cron="30 2 * * *", timezone="Europe/Berlin")
    for quarter in range(4 * 24):
        await clock.show(noon + timedelta(minutes=15 * quarter))
        await run_due(database, schedule)
    assert [run.due_at for run in await runs(database, schedule)] == [at(due)]


async def test_a_schedule_that_is_not_enabled_is_never_due_and_starts_from_now_when_it_is(
    database: Database, tenant: UUID, clock: Clock
) -> None:
    schedule = await make(database, tenant, enabled=False)
    assert schedule.next_due_at is None
    await clock.show("2026-06-05T12:00:00+03:00")
    assert await run_due(database, schedule) == 0
    assert (await change(database, schedule, enabled=True)).next_due_at == at("2026-06-06T02:00:00+03:00")
    assert await run_due(database, schedule) == 0
    assert (await change(database, schedule, enabled=False)).next_due_at is None
    await clock.show("2026-06-06T02:00:01+03:00")
    assert await run_due(database, schedule) == 0


@pytest.mark.parametrize(
    ("changes", "due"),
    [
        ({"cron": "30 14 * * *"}, "2026-06-02T14:30:00+03:00"),
        ({"timezone": "UTC"}, "2026-06-03T02:00:00+00:00"),
        ({"cron": "0 0 1 1 *", "timezone": "Europe/Berlin"}, "2027-01-01T00:00:00+01:00"),
    ],
)
async def test_another_time_or_place_moves_the_next_due_time(
    database: Database, tenant: UUID, changes: dict[str, str], due: str
) -> None:
    schedule = await make(database, tenant)
    assert (await change(database, schedule, **changes)).next_due_at == at(due)


async def test_a_change_that_is_not_about_time_keeps_what_is_due(
    database: Database, tenant: UUID, clock: Clock
) -> None:
    schedule = await make(database, tenant, webhook_url="https://example.com/a")
    await clock.show("2026-06-03T02:00:01+03:00")
    changed = await change(database, schedule, name="other", webhook_url=None, overlap=Overlap.QUEUE, jobs=[new_job()])
    assert (changed.next_due_at, changed.name, changed.webhook_url) == (schedule.next_due_at, "other", None)
    assert (changed.overlap, changed.size, changed.catch_up_minutes) == (Overlap.QUEUE, 1, 60)
    assert await run_due(database, schedule) == 1
    assert len(await jobs(database, tenant)) == 1


async def test_run_now_starts_a_batch_whatever_the_state_and_moves_nothing(database: Database, tenant: UUID) -> None:
    schedule = await make(database, tenant, enabled=False, overlap=Overlap.SKIP)
    made = []
    for _ in range(2):
        async with database.transaction(tenant) as tx:
            made.append(await tx.schedules.run_now(schedule.id))
    assert [(run.run.state, run.run.due_at, run.run.size, run.replayed) for run in made] == [
        (RunState.STARTED, None, 2, False)
    ] * 2
    assert len(await jobs(database, tenant)) == 4
    async with database.transaction(tenant) as tx:
        assert (await tx.schedules.get(schedule.id)).next_due_at is None


async def test_run_now_with_one_key_is_one_run(database: Database, tenant: UUID) -> None:
    schedule, other = await make(database, tenant), await make(database, tenant)
    made = []
    for _ in range(2):
        async with database.transaction(tenant) as tx:
            made.append(await tx.schedules.run_now(schedule.id, "key"))
    assert [run.replayed for run in made] == [False, True]
    assert made[0].run == made[1].run
    with pytest.raises(UsageError, match="idempotency key"):
        async with database.transaction(tenant) as tx:
            await tx.schedules.run_now(other.id, "key")


async def test_a_run_by_hand_that_has_not_ended_holds_the_next_due_time_up_where_overlap_is_skip(
    database: Database, tenant: UUID, clock: Clock
) -> None:
    schedule = await make(database, tenant)
    async with database.transaction(tenant) as tx:
        await tx.schedules.run_now(schedule.id)
    await clock.show("2026-06-03T02:00:01+03:00")
    await run_due(database, schedule)
    assert [run.state for run in await runs(database, schedule) if run.due_at] == [RunState.SKIPPED]


async def test_the_jobs_are_kept_sealed_and_come_back_as_given(
    database: Database, tenant: UUID, owner: asyncpg.Connection
) -> None:
    given = [new_job(input=b"a very secret number", name="n", tags=["t"], warnings=[warning()])]
    schedule = await make(database, tenant, jobs=given)
    assert b"secret" not in await owner.fetchval("SELECT jobs FROM schedules")
    async with database.transaction(tenant) as tx:
        (kept,) = await tx.schedules.jobs(schedule.id)
    assert isinstance(kept, NewJob)
    assert (kept.input, kept.name, list(kept.tags), list(kept.warnings)) == (
        given[0].input,
        "n",
        ["t"],
        [warning()],
    )


async def test_jobs_moved_to_another_schedules_row_do_not_open(
    database: Database, tenant: UUID, owner: asyncpg.Connection
) -> None:
    schedule, _ = await make(database, tenant), await make(database, tenant)
    await owner.execute(
        "UPDATE schedules SET jobs = (SELECT jobs FROM schedules WHERE id <> $1) WHERE id = $1", schedule.id
    )
    with pytest.raises(FatalError):
        async with database.transaction(tenant) as tx:
            await tx.schedules.jobs(schedule.id)


async def test_deleting_a_schedule_keeps_the_batches_it_started(database: Database, tenant: UUID, clock: Clock) -> None:
    schedule = await make(database, tenant)
    await clock.show("2026-06-03T02:00:01+03:00")
    await run_due(database, schedule)
    async with database.transaction(tenant) as tx:
        assert await tx.schedules.delete(schedule.id)
        assert not await tx.schedules.delete(schedule.id)
        assert await tx.schedules.get(schedule.id) is None
    assert await runs(database, schedule) == []
    assert len(await jobs(database, tenant)) == 2


async def test_schedules_are_listed_newest_first_page_by_page(database: Database, tenant: UUID) -> None:
    made = [(await make(database, tenant, name=str(number))).name for number in range(5)]
    seen: list[str] = []
    before = None
    async with database.transaction(tenant) as tx:
        while page := await tx.schedules.list(2, before):
            seen += [row.name for row in page]
            before = (page[-1].created_at, page[-1].id)
    assert seen == made[::-1]


async def test_a_foreign_schedule_is_a_missing_one(database: Database, tenant: UUID) -> None:
    schedule = await make(database, tenant)
    async with database.transaction(await add_tenant(database)) as tx:
        assert await tx.schedules.get(schedule.id) is None
        assert await tx.schedules.list(10) == []
        assert await tx.schedules.jobs(schedule.id) is None
        assert await tx.schedules.update(schedule.id, ScheduleChanges(name="mine")) is None
        assert await tx.schedules.run_now(schedule.id) is None
        assert not await tx.schedules.run_due(schedule.id)
        assert await tx.schedules.runs(schedule.id, 10) == []
        assert not await tx.schedules.delete(schedule.id)


async def test_the_fleet_sees_that_something_is_due_and_never_what(
    database: Database, tenant: UUID, clock: Clock, owner: asyncpg.Connection
) -> None:
    later, sooner = await make(database, tenant), await make(database, await add_tenant(database), cron="0 1 * * *")
    await make(database, tenant, cron="0 3 * * *")
    await clock.show("2026-06-03T02:00:01+03:00")
    async with database.fleet() as fleet:
        assert [due.id for due in await fleet.schedules.due(100)] == [sooner.id, later.id]
    for column in ("jobs", "name", "webhook_url"):
        assert not await owner.fetchval("SELECT has_column_privilege('milpa_fleet', 'schedules', $1, 'SELECT')", column)


async def test_old_runs_are_forgotten_and_new_ones_kept(
    database: Database, tenant: UUID, owner: asyncpg.Connection
) -> None:
    schedule = await make(database, tenant)
    for _ in range(2):
        async with database.transaction(tenant) as tx:
            await tx.schedules.run_now(schedule.id)
    old, new = await runs(database, schedule)
    await owner.execute("UPDATE schedule_runs SET created_at = created_at - interval '31 days' WHERE id = $1", old.id)
    await owner.execute("TRUNCATE clock.hands")
    async with database.fleet() as fleet:
        assert await fleet.schedules.prune(30) == 1
    assert [run.id for run in await runs(database, schedule)] == [new.id]


async def test_a_schedule_sealed_with_a_lost_key_starts_nothing_and_waits(
    database: Database, tenant: UUID, clock: Clock
) -> None:
    schedule = await make(database, tenant)
    keyless = await Database.connect(replace(clock.settings, seal_keys=Secret("other:" + "A" * 43 + "=")))
    await clock.show("2026-06-03T02:00:01+03:00")
    with pytest.raises(FatalError):
        await run_due(keyless, schedule)
    await keyless.close()
    assert await runs(database, schedule) == []
    assert await run_due(database, schedule) == 1


async def test_the_clock_of_the_machine_is_never_asked(database: Database, tenant: UUID, clock: Clock) -> None:
    await clock.show(datetime.now(UTC) + timedelta(days=3650))
    schedule = await make(database, tenant)
    assert schedule.next_due_at - datetime.now(UTC) > timedelta(days=3649)
