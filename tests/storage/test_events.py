"""The log's readers: by job without gaps, and over all jobs without ever missing a row."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from milpa.errors import UsageError
from milpa.jobs import EventType, JobProgress
from storage.rows import StreamedEvent
from storage.transaction import Database
from tests.storage.steps import add_tenant, claim, finish, new_job, submit, succeeded


async def test_a_jobs_log_is_read_from_any_point(database: Database, tenant: UUID) -> None:
    job = await succeeded(database, tenant)
    async with database.transaction(tenant) as tx:
        everything = await tx.events.after(job.id)
        assert [event.seq for event in everything] == [1, 2, 3]
        assert await tx.events.after(job.id, 1) == everything[1:]
        assert await tx.events.after(job.id, 1, limit=1) == everything[1:2]
        assert await tx.events.after(job.id, 3) == []
        assert await tx.events.heads([job.id]) == {job.id: 3}


async def follow(database: Database, tenant: UUID, position: str, **where: Any) -> list[StreamedEvent]:
    async with database.transaction(tenant) as tx:
        return await tx.events.stream(position, **where)


async def start(database: Database, tenant: UUID) -> str:
    async with database.transaction(tenant) as tx:
        return await tx.events.now()


def told(rows: list[StreamedEvent]) -> list[tuple[UUID, str]]:
    return [(row.event.job_id, row.event.type.value) for row in rows]


async def test_the_stream_tells_state_changes_of_all_jobs_since_its_start(database: Database, tenant: UUID) -> None:
    await succeeded(database, tenant)
    position = await start(database, tenant)
    job = await submit(database, tenant)
    held = await claim(database, job)
    async with database.transaction(tenant) as tx:
        await tx.jobs.heartbeat(held.ref, 30, JobProgress(phase="solve"), EventType.PHASE)
    await finish(database, held.ref)
    rows = await follow(database, tenant, position)
    assert told(rows) == [(job.id, "queued"), (job.id, "started"), (job.id, "succeeded")]
    assert {row.kind for row in rows} == {"deal-picker"}
    assert told(await follow(database, tenant, rows[0].position)) == told(rows)[1:]
    assert await follow(database, tenant, rows[-1].position) == []
    chosen = await follow(database, tenant, position, job_ids=[job.id])
    assert [row.event.type for row in chosen] == ["queued", "started", "phase", "succeeded"]


async def test_the_stream_is_filtered_by_kind_and_cut_by_limit(database: Database, tenant: UUID) -> None:
    position = await start(database, tenant)
    await submit(database, tenant)
    other = await submit(database, tenant, kind="leasing-mix")
    assert told(await follow(database, tenant, position, kind="leasing-mix")) == [(other.id, "queued")]
    assert len(await follow(database, tenant, position, limit=1)) == 1


async def test_the_stream_waits_for_older_transactions_and_misses_nothing(database: Database, tenant: UUID) -> None:
    position = await start(database, tenant)
    early = await submit(database, tenant)
    async with database.transaction(tenant) as slow:
        late = (await slow.jobs.submit(new_job())).job
        quick = await submit(database, tenant)
        rows = await follow(database, tenant, position)
        assert told(rows) == [(early.id, "queued")], "the quick one waits behind the slow one"
        position = rows[-1].position
    assert told(await follow(database, tenant, position)) == [(late.id, "queued"), (quick.id, "queued")]


async def test_a_reader_between_many_writers_sees_every_row_once(database: Database, tenant: UUID) -> None:
    position = await start(database, tenant)
    seen, done = [], asyncio.Event()

    async def read() -> None:
        nonlocal position
        while True:
            last = done.is_set()
            rows = await follow(database, tenant, position, limit=7)
            seen.extend(told(rows))
            position = rows[-1].position if rows else position
            if last and not rows:
                return
            await asyncio.sleep(0.002)

    async def write(number: int) -> UUID:
        async with database.transaction(tenant) as tx:
            job = (await tx.jobs.submit(new_job())).job
            await asyncio.sleep(number % 5 / 100)
        return job.id

    reading = asyncio.create_task(read())
    written = []
    for _ in range(6):
        written += await asyncio.gather(*(write(number) for number in range(8)))
    done.set()
    await reading
    assert sorted(seen) == sorted((job, "queued") for job in written)


async def test_the_stream_of_one_tenant_tells_nothing_of_another(database: Database, tenant: UUID) -> None:
    position = await start(database, tenant)
    await submit(database, await add_tenant(database))
    assert await follow(database, tenant, position) == []


@pytest.mark.parametrize("position", ["", "1", "1.2.3", "x.00000000000000000000000000000000.0", "1.x.1.1"])
async def test_a_made_up_position_is_refused(database: Database, tenant: UUID, position: str) -> None:
    with pytest.raises(UsageError) as refused:
        await follow(database, tenant, position)
    assert refused.value.code == "bad_position"


async def test_the_stream_reads_its_index(database: Database, tenant: UUID) -> None:
    from storage.events import _STREAM

    await database.ping()
    plan = text(f"EXPLAIN {_STREAM.text}")
    async with database.transaction(tenant) as tx:
        await tx.connection.execute(text("SET LOCAL enable_seqscan = off"))
        values = {"written_by": 1, "job": str(tenant), "seq": 0, "jobs": [], "kind": None, "limit": 10}
        lines = (await tx.connection.execute(plan, values)).scalars().all()
    assert any("job_events_stream" in line for line in lines)
    assert not any("Sort" in line for line in lines)
