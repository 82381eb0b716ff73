"""Who gets the slots: people before the nightly run, tenants in turn, nobody beyond a cap, none of a paused queue."""

import asyncio
from collections.abc import Sequence
from uuid import UUID, uuid4

import msgspec

from deploy import queues
from milpa.jobs import EventType, JobState, Priority
from milpa.settings import Settings
from storage.rows import JobFilter, JobRow, NewJob
from storage.schedule_rows import NewSchedule
from tests.faults.crew import PATIENCE, Crew

NIGHTLY = 200
PEOPLE = 20
SMALL_SOLVE_SECONDS = 0.5
WORKERS = 2
SLOTS = 4
"""For people, of all workers."""
AT_ONCE = 2
"""How many jobs are rung for each slot: the one that runs and the one behind it."""


def probe(seconds: float, priority: Priority = Priority.INTERACTIVE) -> NewJob:
    problem = msgspec.json.encode({"act": "answer", "seconds": seconds})
    return NewJob(kind="probe", kind_version=1, input=problem, priority=priority)


async def started(crew: Crew, batch_id: UUID) -> list[JobRow]:
    async with crew.database.transaction(crew.tenant) as tenant:
        jobs = await tenant.jobs.list(JobFilter(batch_id=batch_id), 1000)
    return [job for job in jobs if job.started_at is not None]


async def test_a_nightly_batch_delays_no_person_by_more_than_one_small_solve(crew: Crew) -> None:
    nightly = NewSchedule(
        name="night", cron="0 2 * * *", timezone="UTC", jobs=[probe(SMALL_SOLVE_SECONDS, Priority.BATCH)] * NIGHTLY
    )
    async with crew.database.transaction(crew.tenant) as tenant:
        schedule = (await tenant.schedules.create(nightly)).schedule
        made = await tenant.schedules.run_now(schedule.id)
    assert made is not None
    assert made.run.batch_id is not None
    while not await started(crew, made.run.batch_id):  # noqa: ASYNC110  another process changes it
        await asyncio.sleep(0.02)
    people = [await crew.ended(await crew.submit("answer")) for _ in range(PEOPLE)]
    batch = await started(crew, made.run.batch_id)
    assert len(batch) < NIGHTLY, "the nightly run was still at work"
    for person in people:
        assert person.started_at is not None
        meanwhile = [
            job for job in batch if person.created_at < (job.started_at or person.created_at) < person.started_at
        ]
        assert len(meanwhile) <= WORKERS
    async with crew.database.transaction(crew.tenant) as tenant:
        await tenant.jobs.cancel_batch(made.run.batch_id)
        crew.accepted += [job.id for job in await tenant.jobs.list(JobFilter(batch_id=made.run.batch_id), 1000)]
    for job_id in crew.accepted:
        await crew.ended(job_id)


async def submit_for(crew: Crew, tenant_id: UUID, count: int, seconds: float = 0.01) -> list[UUID]:
    async with crew.database.transaction(tenant_id) as tenant:
        batch = await tenant.jobs.submit_batch(None, [probe(seconds)] * count)
    return [job.id for job in batch.jobs]


async def see_end(crew: Crew, tenant_id: UUID, job_ids: Sequence[UUID]) -> list[JobRow]:
    """Wait until the tenant's jobs have ended; return them in the order of their start."""
    async with asyncio.timeout(PATIENCE):
        while True:
            async with crew.database.transaction(tenant_id) as tenant:
                jobs = await tenant.jobs.get_many(job_ids)
            if all(job.state is JobState.SUCCEEDED for job in jobs):
                return sorted(jobs, key=lambda job: (job.started_at, job.id))
            await asyncio.sleep(0.05)


async def test_a_tenant_that_queues_much_holds_no_other_up(crew: Crew, settings: Settings) -> None:
    async with crew.database.fleet() as fleet:
        other = (await fleet.tenants.create(f"other-{uuid4()}")).id
    await queues.pause(settings, list(Priority))
    many = await submit_for(crew, crew.tenant, 60)
    few = await submit_for(crew, other, 5)
    await queues.resume(settings, list(Priority))
    theirs = await see_end(crew, crew.tenant, many)
    mine = await see_end(crew, other, few)
    order = sorted([*theirs, *mine], key=lambda job: (job.started_at, job.id))
    places = [place for place, job in enumerate(order) if job.tenant_id == other]
    assert places[-1] < 2 * len(few) + AT_ONCE * SLOTS, places


async def test_no_tenant_runs_more_than_its_cap_and_the_rest_of_the_slots_serve_the_others(crew: Crew) -> None:
    async with crew.database.fleet() as fleet:
        other = (await fleet.tenants.create(f"other-{uuid4()}")).id
        await fleet.tenants.set_max_running(crew.tenant, 1)
    capped = await submit_for(crew, crew.tenant, 8, seconds=0.15)
    free = await submit_for(crew, other, 8, seconds=0.15)
    assert most_at_once(await see_end(crew, crew.tenant, capped)) == 1
    assert most_at_once(await see_end(crew, other, free)) >= 2
    async with crew.database.fleet() as fleet:
        await fleet.tenants.set_max_running(crew.tenant, None)


def most_at_once(jobs: Sequence[JobRow]) -> int:
    """The largest number of jobs that ran at one time."""
    starts = [(job.started_at, 1) for job in jobs]
    ends = [(job.finished_at, -1) for job in jobs]
    running = most = 0
    for _, step in sorted([*starts, *ends], key=lambda change: (change[0], change[1])):
        running += step
        most = max(most, running)
    return most


async def test_a_paused_queue_starts_nothing_and_a_drained_one_runs_nothing(crew: Crew, settings: Settings) -> None:
    running = [await crew.submit("answer", seconds=1.0) for _ in range(SLOTS)]
    for job_id in running:
        await crew.event(job_id, EventType.STARTED)
    waiting = [await crew.submit("answer") for _ in range(5)]
    await queues.drain(settings, [Priority.INTERACTIVE], PATIENCE, lambda _: None)
    assert {(await crew.job(job_id)).state for job_id in running} == {JobState.SUCCEEDED}
    assert {(await crew.job(job_id)).state for job_id in waiting} == {JobState.QUEUED}
    await asyncio.sleep(1.5)  # sweepers have come by more than once
    assert {(await crew.job(job_id)).state for job_id in waiting} == {JobState.QUEUED}
    await queues.resume(settings, [Priority.INTERACTIVE])
    for job_id in waiting:
        assert (await crew.ended(job_id)).state is JobState.SUCCEEDED
