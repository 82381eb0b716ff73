"""Schedules under fire: three workers compete, one is killed, and every due time still has one run."""

import asyncio
import signal
from collections.abc import Sequence

import msgspec
from sqlalchemy import text

from milpa.jobs import JobState, Priority
from storage.rows import JobFilter, NewJob
from storage.schedule_rows import NewSchedule, Overlap, RunRow, RunState, ScheduleRow
from tests.faults.crew import Crew

DUE = 40
"""Minutes of downtime to make up for, one run each."""


async def overdue(crew: Crew) -> ScheduleRow:
    """A schedule that was due every minute while nobody was there."""
    probe = NewJob(kind="probe", kind_version=1, input=msgspec.json.encode({"act": "answer"}), priority=Priority.BATCH)
    new = NewSchedule(name="minutely", cron="* * * * *", timezone="UTC", jobs=[probe] * 3, overlap=Overlap.QUEUE)
    async with crew.database.transaction(crew.tenant) as tenant:
        schedule = (await tenant.schedules.create(new)).schedule
        set_back = "UPDATE schedules SET next_due_at = next_due_at - make_interval(mins => :due) WHERE id = :id"
        await tenant.connection.execute(text(set_back), {"due": DUE, "id": schedule.id})
    return schedule


async def runs(crew: Crew, schedule: ScheduleRow) -> Sequence[RunRow]:
    async with crew.database.transaction(crew.tenant) as tenant:
        return await tenant.schedules.runs(schedule.id, 1000)


async def test_three_workers_one_of_them_killed_run_each_due_time_once(crew: Crew) -> None:
    workers = await asyncio.gather(*(crew.start(batch_slots=1) for _ in range(3)))
    schedule = await overdue(crew)
    async with asyncio.timeout(60):
        while not await runs(crew, schedule):  # noqa: ASYNC110  other processes change it
            await asyncio.sleep(0.01)
    workers[0].send(signal.SIGKILL)
    async with asyncio.timeout(60):
        while len(await runs(crew, schedule)) < DUE:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    async with crew.database.transaction(crew.tenant) as tenant:
        await tenant.connection.execute(text("UPDATE schedules SET next_due_at = NULL, enabled = false"))
        jobs = await tenant.jobs.list(JobFilter(), 1000)
    crew.accepted += [job.id for job in jobs]
    for job in jobs:
        assert (await crew.ended(job.id)).state is JobState.SUCCEEDED
    found = await runs(crew, schedule)
    assert {run.state for run in found} == {RunState.STARTED}
    due = sorted(run.due_at for run in found if run.due_at is not None)
    assert len(due) == len(set(due)) == (due[-1] - due[0]).total_seconds() / 60 + 1
    assert len(jobs) == 3 * len(found)
