"""Schedules under fire: three schedulers compete, die and lose their database, and every due time still has one run."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random
from signal import SIGQUIT
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import text

from deploy.local.servers import Servers
from milpa.jobs import JobState, Priority
from storage.rows import JobFilter, NewJob
from storage.schedule_rows import NewSchedule, Overlap, RunRow, RunState, ScheduleRow
from tests.faults.crew import PATIENCE, Crew
from tests.faults.form import rounds, times
from tests.faults.load import load
from tests.faults.servers import away

SCHEDULERS = 3
ZONE = "Europe/Berlin"
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


async def overdue(crew: Crew, since: datetime, **fields: object) -> ScheduleRow:
    """A schedule that has been due since then, while nobody was there."""
    probe = NewJob(kind="probe", kind_version=1, input=msgspec.json.encode({"act": "answer"}), priority=Priority.BATCH)
    new = NewSchedule(**{"timezone": ZONE, "jobs": [probe] * 3, "overlap": Overlap.QUEUE, **fields})
    async with crew.database.transaction(crew.tenant) as tenant:
        schedule = (await tenant.schedules.create(new)).schedule
        set_back = "UPDATE schedules SET next_due_at = :since WHERE id = :id"
        await tenant.connection.execute(text(set_back), {"since": since, "id": schedule.id})
    return schedule


async def runs(crew: Crew, schedule: ScheduleRow) -> Sequence[RunRow]:
    async with crew.database.transaction(crew.tenant) as tenant:
        return await tenant.schedules.runs(schedule.id, 100_000)


async def caught_up(crew: Crew, schedule: ScheduleRow) -> list[datetime]:
    """Wait until nothing is overdue; return the due times that have a run, each as often as it has one."""
    async with asyncio.timeout(PATIENCE):
        while True:
            async with crew.database.transaction(crew.tenant) as tenant:
                row = await tenant.schedules.get(schedule.id)
            assert row is not None
            if row.next_due_at is not None and row.next_due_at > datetime.now(UTC):
                return sorted(run.due_at for run in await runs(crew, schedule) if run.due_at is not None)
            await asyncio.sleep(0.05)


async def in_disorder(crew: Crew, dice: Random, servers: Servers) -> None:
    """Kill and replace schedulers at random, and restart their database."""
    for _ in rounds(1, 6):
        await asyncio.sleep(dice.uniform(0, 0.3))
        await dice.choice(crew.alive).kill()
        await crew.start(batch_slots=1)
    async with away(servers, "PostgreSQL", SIGQUIT):
        await asyncio.sleep(dice.uniform(0, 0.5))


async def accept_all(crew: Crew) -> None:
    """Let no more become due, and count what the schedules have submitted as accepted."""
    async with crew.database.transaction(crew.tenant) as tenant:
        await tenant.connection.execute(text("UPDATE schedules SET next_due_at = NULL, enabled = false"))
        jobs = await tenant.jobs.list(JobFilter(), 100_000)
    crew.accepted += [job.id for job in jobs]
    for job in jobs:
        assert (await crew.ended(job.id)).state is JobState.SUCCEEDED


async def test_three_schedulers_that_die_and_restart_run_each_due_time_once(
    crew: Crew, dice: Random, servers: Servers
) -> None:
    await asyncio.gather(*(crew.start(batch_slots=1) for _ in range(SCHEDULERS)))
    minutes = times(10, 300)
    async with load(crew, dice):
        since = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=minutes)
        schedule = await overdue(crew, since, name="minutely", cron="* * * * *", catch_up_minutes=10_000)
        await in_disorder(crew, dice, servers)
        due = await caught_up(crew, schedule)
        await accept_all(crew)
    assert due[0] == since
    assert {later - earlier for earlier, later in pairwise(due)} == {timedelta(minutes=1)}
    assert len(due) >= minutes
    found = await runs(crew, schedule)
    assert {run.state for run in found} == {RunState.STARTED}
    assert len({run.batch_id for run in found}) == len(found)


async def test_three_schedulers_have_one_run_for_each_due_time_across_a_change_of_the_clocks(
    crew: Crew, dice: Random, servers: Servers
) -> None:
    await asyncio.gather(*(crew.start(batch_slots=1) for _ in range(SCHEDULERS)))
    change = last_change()
    async with load(crew, dice):
        since = (change - 2 * DAY).replace(minute=30)
        hourly = await overdue(crew, since, name="hourly", cron="30 * * * *")
        nightly = await overdue(crew, night(change - 2 * DAY), name="nightly", cron="30 2 * * *")
        await in_disorder(crew, dice, servers)
        due, nights = await caught_up(crew, hourly), await caught_up(crew, nightly)
        await accept_all(crew)
    assert due[0] == since
    assert {later - earlier for earlier, later in pairwise(due)} == {HOUR}, "an hour is an hour"
    days = [moment.astimezone(ZoneInfo(ZONE)).date() for moment in nights]
    assert {later - earlier for earlier, later in pairwise(days)} == {DAY}, "every night once"
    assert days[0] < change.date() < days[-1]


def last_change() -> datetime:
    """Return the hour in which the zone last changed its clocks."""
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - 3 * DAY
    zone = ZoneInfo(ZONE)
    while hour.astimezone(zone).utcoffset() == (hour - HOUR).astimezone(zone).utcoffset():
        hour -= HOUR
    return hour


def night(day: datetime) -> datetime:
    """Return half past two of the zone's day."""
    return day.astimezone(ZoneInfo(ZONE)).replace(hour=2, minute=30, second=0, microsecond=0)
