"""Retention: payloads, files and the log end after their time; the job's row and its closing event stay."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from milpa.errors import UsageError
from milpa.jobs import JobError, JobState
from storage.ledger import check_ledger
from storage.rows import Ending, Idempotency, Pruned
from storage.transaction import Database
from tests.storage.steps import add_tenant, add_worker, claim, finish, look, payload, submit, succeeded, types


async def age(owner: asyncpg.Connection, *jobs: Any, days: float = 31) -> None:
    await owner.execute(
        "UPDATE jobs SET finished_at = finished_at - make_interval(days => $2) WHERE id = ANY ($1)",
        [job.id for job in jobs],
        days,
    )


async def prune(database: Database, days: float = 30.0) -> Pruned:
    async with database.fleet() as fleet:
        return await fleet.jobs.prune(days)


async def test_what_is_older_than_its_time_is_dropped_and_the_figures_stay(
    database: Database, tenant: UUID, owner: asyncpg.Connection
) -> None:
    old, young = [await succeeded(database, tenant, files=["xlsx"]) for _ in range(2)]
    other = await succeeded(database, await add_tenant(database), files=["pdf"])
    await age(owner, old, other)
    pruned = await prune(database)
    assert pruned.jobs == 2
    assert sorted(pruned.object_keys) == sorted(
        [f"{tenant}/{old.id}/1/deals.xlsx", f"{other.tenant_id}/{other.id}/1/deals.pdf"]
    )
    assert (await prune(database)).jobs == 0
    left = await look(database, old)
    assert (left.objective, left.state, left.pruned_at is not None) == (12.5, JobState.SUCCEEDED, True)
    assert await types(database, old) == ["succeeded"]
    assert await types(database, young) == ["queued", "started", "file", "succeeded"]
    for name in ("input", "result", "report", "log"):
        assert await payload(database, old, name) is None
        assert await payload(database, young, name) is not None
    async with database.transaction(tenant) as tx:
        assert await tx.files.list(old.id) == []
        assert len(await tx.files.list(young.id)) == 1
    assert (await check_ledger(database)).ok


async def test_jobs_that_have_not_ended_are_never_pruned(
    database: Database, tenant: UUID, owner: asyncpg.Connection
) -> None:
    waiting, running = await submit(database, tenant), (await claim(database, await submit(database, tenant))).job
    await owner.execute("UPDATE jobs SET created_at = now() - interval '1 year', run_at = now() - interval '1 year'")
    assert (await prune(database, days=0)).jobs == 0
    assert await payload(database, waiting, "input") == await payload(database, running, "input") != None  # noqa: E711


async def test_an_object_that_a_younger_job_reuses_is_kept(
    database: Database, tenant: UUID, owner: asyncpg.Connection
) -> None:
    old = await succeeded(database, tenant, files=["xlsx"])
    again = await submit(database, tenant, reuse=True, files=["xlsx"])
    await age(owner, old)
    assert (await prune(database)).object_keys == []
    await age(owner, again)
    assert (await prune(database)).object_keys == [f"{tenant}/{old.id}/1/deals.xlsx"]


_GATE = """
CREATE FUNCTION pass_gate() RETURNS boolean LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN true; END $$;
CREATE POLICY gate ON jobs AS RESTRICTIVE FOR SELECT TO milpa_fleet USING (pass_gate());
"""
"""Holds a statement of the fleet's up where it looks at jobs: after its snapshot, before it locks one."""

_AT_GATE = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)"


@pytest.fixture
async def gate(owner: asyncpg.Connection) -> AsyncIterator[None]:
    await owner.execute(_GATE)
    yield
    await owner.execute("DROP POLICY gate ON jobs; DROP FUNCTION pass_gate")


@pytest.mark.usefixtures("gate")
async def test_an_object_that_was_reused_while_its_job_was_looked_up_is_kept(
    database: Database, tenant: UUID, owner: asyncpg.Connection
) -> None:
    old = await succeeded(database, tenant, files=["xlsx"])
    await age(owner, old)
    await owner.execute("SELECT pg_advisory_lock(1)")
    pruning = asyncio.create_task(prune(database))
    async with asyncio.timeout(30):
        while not await owner.fetchval(_AT_GATE):  # noqa: ASYNC110  another session changes it
            await asyncio.sleep(0.01)
    again = await submit(database, tenant, reuse=True, files=["xlsx"])
    await owner.execute("SELECT pg_advisory_unlock(1)")
    pruned = await pruning
    assert (pruned.jobs, pruned.object_keys) == (1, [])
    async with database.transaction(tenant) as tx:
        assert [file.object_key for file in await tx.files.list(again.id)] == [f"{tenant}/{old.id}/1/deals.xlsx"]


async def test_objects_shared_by_jobs_pruned_together_are_named_once(
    database: Database, tenant: UUID, owner: asyncpg.Connection
) -> None:
    old = await succeeded(database, tenant, files=["xlsx"])
    again = await submit(database, tenant, reuse=True, files=["xlsx"])
    await age(owner, old, again)
    assert (await prune(database)).object_keys == [f"{tenant}/{old.id}/1/deals.xlsx"]


async def test_a_pruned_job_is_not_reused_retried_or_rendered(
    database: Database, tenant: UUID, owner: asyncpg.Connection
) -> None:
    done = await succeeded(database, tenant)
    failed = await submit(database, tenant, input=b"other")
    await finish(database, (await claim(database, failed)).ref, Ending(state=JobState.FAILED, error=JobError("c", "m")))
    await age(owner, done, failed)
    await prune(database)
    assert (await submit(database, tenant, reuse=True)).state is JobState.QUEUED
    async with database.transaction(tenant) as tx:
        with pytest.raises(UsageError) as refused:
            await tx.jobs.resubmit(failed.id)
        assert refused.value.code == "input_gone"
        with pytest.raises(UsageError) as refused:
            await tx.files.request(done.id, ["pdf"])
        assert refused.value.code == "report_gone"


async def test_expired_keys_and_workers_long_gone_are_dropped(
    database: Database, tenant: UUID, owner: asyncpg.Connection
) -> None:
    await submit(database, tenant, idempotency=Idempotency("old", b"body"))
    await owner.execute("UPDATE idempotency_keys SET expires_at = now()")
    await submit(database, tenant, idempotency=Idempotency("young", b"body"))
    gone, alive = await add_worker(database), await add_worker(database)
    await owner.execute("UPDATE workers SET seen_at = now() - interval '2 days' WHERE id = $1", gone)
    await prune(database)
    assert await owner.fetch("SELECT key FROM idempotency_keys") == [("young",)]
    assert await owner.fetch("SELECT id FROM workers") == [(alive,)]


async def test_a_pruned_log_still_tells_how_the_job_ended(
    database: Database, tenant: UUID, owner: asyncpg.Connection
) -> None:
    job = await succeeded(database, tenant)
    await age(owner, job)
    await prune(database)
    async with database.transaction(tenant) as tx:
        (closing,) = await tx.events.after(job.id)
        assert (closing.seq, closing.type, closing.data["objective"]) == (job.last_seq, "succeeded", 12.5)
        assert await tx.events.after(job.id, 1) == [closing], "who resumes in the middle hears it too"
        assert await tx.events.heads([job.id]) == {job.id: closing.seq}


async def test_objects_that_no_row_names_are_told_from_the_others(database: Database, tenant: UUID) -> None:
    job = await succeeded(database, tenant, files=["xlsx"])
    named = f"{tenant}/{job.id}/1/deals.xlsx"
    async with database.fleet() as fleet:
        assert await fleet.jobs.unnamed([named, "orphan"]) == ["orphan"]
        assert await fleet.jobs.unnamed([]) == []
