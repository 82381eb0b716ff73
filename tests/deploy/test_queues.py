"""The operator's hand on the queues, over real PostgreSQL and Redis."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest

from deploy import queues
from milpa.errors import TransientError
from milpa.jobs import JobState, Priority
from milpa.settings import Settings
from storage.rows import ClaimRef, Ending, JobRow, NewJob, QueueRow
from storage.transaction import Database
from tests.deploy.operator import operators_deeds

MILPA = str(Path(sys.executable).with_name("milpa"))
BOTH = list(Priority)


@pytest.fixture(autouse=True)
async def alone(settings: Settings, database: Database) -> AsyncIterator[None]:
    """One worker alive, open queues, and no other test's jobs in the line; nothing is left to the tests that follow."""
    owner = await asyncpg.connect(settings.database_owner_url.reveal())
    clear = "TRUNCATE jobs, workers CASCADE; UPDATE queues SET paused_at = NULL"
    await owner.execute(clear)
    async with database.fleet() as fleet:
        await fleet.workers.seen(uuid4(), "test", 2, 1)
    yield
    await owner.execute(clear)
    await owner.close()


async def submit(database: Database, tenant: UUID, priority: Priority = Priority.BATCH) -> JobRow:
    async with database.transaction(tenant) as tx:
        return (await tx.jobs.submit(NewJob(kind="probe", kind_version=1, input=b"{}", priority=priority))).job


async def admit(database: Database) -> list[UUID]:
    async with database.fleet() as fleet:
        return [ring.job_id for ring in await fleet.jobs.admit()]


async def claim(database: Database, job: JobRow) -> ClaimRef | None:
    async with database.transaction(job.tenant_id) as tx:
        claim = await tx.jobs.claim(job.id, job.dispatch_no, uuid4(), 600)
    return claim.ref if claim else None


async def finish(database: Database, ref: ClaimRef) -> None:
    async with database.transaction(ref.tenant_id) as tx:
        assert await tx.jobs.finish(ref, Ending(state=JobState.SUCCEEDED))


def hold_tongue(_: Sequence[QueueRow]) -> None:
    """Listen to nothing."""


async def test_a_paused_queue_starts_nothing_until_it_is_resumed(
    settings: Settings, database: Database, tenant: UUID
) -> None:
    batch = await submit(database, tenant)
    person = await submit(database, tenant, Priority.INTERACTIVE)
    interactive_row, batch_row = await queues.pause(settings, [Priority.BATCH])
    assert (interactive_row.paused_at, batch_row.paused_at is None) == (None, False)
    assert await admit(database) == [person.id]
    assert all(row.paused_at is None for row in await queues.resume(settings, BOTH))
    assert await admit(database) == [batch.id]


async def test_every_tenant_is_told_who_held_its_jobs(settings: Settings, database: Database, tenant: UUID) -> None:
    async with database.fleet() as fleet:
        other = (await fleet.tenants.create(f"other-{uuid4()}")).id
    await queues.pause(settings, [Priority.BATCH])
    await queues.resume(settings, BOTH)
    await queues.drain(settings, BOTH, 60, hold_tongue)
    both = [queue.value for queue in BOTH]
    for one in (tenant, other):
        assert await operators_deeds(database, one) == [
            ("pause_queue", both), ("resume_queue", both), ("pause_queue", ["batch"]),
        ]  # fmt: skip


async def test_pausing_twice_keeps_the_first_time(settings: Settings) -> None:
    first = [row.paused_at for row in await queues.pause(settings, BOTH)]
    assert None not in first
    assert [row.paused_at for row in await queues.pause(settings, BOTH)] == first


async def test_no_ring_follows_a_pause_even_where_an_admission_was_under_way(
    settings: Settings, database: Database, tenant: UUID
) -> None:
    await submit(database, tenant)
    async with database.fleet() as admitting:
        rings = await admitting.jobs.admit()
        pausing = asyncio.create_task(queues.pause(settings, BOTH))
        await asyncio.sleep(0.5)
        assert not pausing.done()
    paused = await pausing
    assert [row.rung for row in paused if row.name is Priority.BATCH] == [len(rings)] == [1]


async def test_drain_waits_for_what_runs_and_takes_back_what_was_only_rung_for(
    settings: Settings, database: Database, tenant: UUID
) -> None:
    running, rung = await submit(database, tenant), await submit(database, tenant)
    await admit(database)
    ref = await claim(database, running)
    assert ref is not None
    told: list[int] = []
    draining = asyncio.create_task(
        queues.drain(settings, [Priority.BATCH], 60, lambda rows: told.append(rows[0].running + rows[0].rung))
    )
    while not told:  # noqa: ASYNC110  the other task changes it
        await asyncio.sleep(0.05)
    assert told == [1]
    assert not draining.done()
    assert await claim(database, rung) is None, "its ring is stale"
    assert await admit(database) == []
    await finish(database, ref)
    await draining
    assert told[-1] == 0
    assert [row.waiting for row in await queues.status(settings)] == [0, 1]
    await queues.resume(settings, BOTH)
    assert await admit(database) == [rung.id]


async def test_drain_gives_up_in_time_and_leaves_the_pause(
    settings: Settings, database: Database, tenant: UUID
) -> None:
    job = await submit(database, tenant)
    await admit(database)
    assert await claim(database, job) is not None
    with pytest.raises(TransientError, match="1 jobs still run") as given_up:
        await queues.drain(settings, BOTH, 0, hold_tongue)
    assert given_up.value.code == "not_drained"
    assert all(row.paused_at is not None for row in await queues.status(settings))


async def test_drain_of_one_queue_minds_the_other_not(settings: Settings, database: Database, tenant: UUID) -> None:
    person, next_one = [await submit(database, tenant, Priority.INTERACTIVE) for _ in range(2)]
    await admit(database)
    assert await claim(database, person) is not None
    await queues.drain(settings, [Priority.BATCH], 60, hold_tongue)
    interactive, batch = await queues.status(settings)
    assert (interactive.paused_at, interactive.running) == (None, 1)
    assert await claim(database, next_one) is not None, "its ring is as good as before"
    assert batch.paused_at is not None


def milpa(settings: Settings, *words: str, code: int = 0) -> str:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MILPA_")}
    for name in ("database_url", "redis_url", "seal_keys", "signing_key"):
        environ[f"MILPA_{name.upper()}"] = getattr(settings, name).reveal()
    done = subprocess.run(
        [MILPA, "queue", *words],
        env=environ | {"COLUMNS": "120"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == code, done.stdout
    return done.stdout


async def test_the_commands(settings: Settings, database: Database, tenant: UUID) -> None:
    for _ in range(4):
        await submit(database, tenant)
    await admit(database)
    said = milpa(settings, "pause", "batch")
    header, _, interactive, batch = said.strip().splitlines()
    assert header.split() == ["queue", "scheduled", "waiting", "rung", "running", "slots", "paused", "since"]
    assert interactive.split() == ["interactive", "0", "0", "0", "0", "2"]
    assert batch.split()[:6] == ["batch", "0", "2", "2", "0", "1"]
    assert batch.endswith("UTC")
    assert milpa(settings, "status") == said
    assert [row["waiting"] for row in json.loads(milpa(settings, "status", "--json"))] == [0, 2]
    drained = milpa(settings, "drain", "--timeout", "60")
    assert "batch: 0 running, 4 waiting" in drained
    assert "Nothing runs" in drained
    assert "UTC" not in milpa(settings, "resume")
    assert "'sideways'" in milpa(settings, "pause", "sideways", code=2)


async def test_a_fleet_without_workers_is_said(settings: Settings, database: Database) -> None:
    async with database.fleet() as fleet:
        for worker in await fleet.workers.list():
            await fleet.workers.leave(worker.id)
    assert "No worker is alive." in milpa(settings, "status")
