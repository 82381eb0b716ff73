"""The ledger finds every broken promise, and none where there is none."""

from uuid import UUID

import asyncpg
import pytest

from milpa.jobs import JobError, JobState, new_id
from storage.ledger import check_ledger
from storage.rows import Ending, JobRow
from storage.transaction import Database
from tests.storage.steps import add_tenant, add_worker, admit, claim, finish, submit, succeeded

BROKEN = [
    ("lost", "DELETE FROM payloads WHERE job_id = $1", "running"),
    ("without_terminal_event", "DELETE FROM job_events WHERE job_id = $1 AND type = 'succeeded'", "done"),
    ("without_terminal_event", "UPDATE job_events SET type = 'failed' WHERE job_id = $1 AND seq = 4", "done"),
    (
        "several_terminal_events",
        "UPDATE job_events SET type = 'failed' WHERE job_id = $1 AND seq = 2",
        "running",
    ),
    ("duplicate_results", "UPDATE jobs SET state = 'failed' WHERE id = $1", "done"),
    (
        "duplicate_results",
        """INSERT INTO files
        SELECT tenant_id, job_id, 'other', '', '', 0, '', replace(object_key, '/1/', '/2/') FROM files
        WHERE job_id = $1""",
        "done",
    ),
    ("stuck", "UPDATE jobs SET lease_until = now() - interval '61 seconds' WHERE id = $1", "running"),
    ("stuck", "UPDATE jobs SET run_at = now() - interval '91 seconds' WHERE id = $1", "waiting"),
    (
        "stuck",
        "UPDATE jobs SET run_at = now() - interval '91 seconds', rung_at = now(), dispatch_no = 5 WHERE id = $1",
        "waiting",
    ),
    ("stuck", "UPDATE jobs SET run_at = now() - interval '91 seconds', state = 'scheduled' WHERE id = $1", "waiting"),
    ("seq_gaps", "UPDATE job_events SET seq = 9 WHERE job_id = $1 AND seq = 1", "running"),
    ("seq_gaps", "DELETE FROM job_events WHERE job_id = $1 AND seq = 1", "running"),
    ("seq_gaps", "UPDATE job_events SET seq = seq - 1 WHERE job_id = $1", "pruned"),
    ("without_terminal_event", "DELETE FROM job_events WHERE job_id = $1", "pruned"),
    ("seq_gaps", "UPDATE jobs SET pruned_at = now() WHERE id = $1", "done"),
    ("seq_gaps", "UPDATE jobs SET last_seq = last_seq + 1 WHERE id = $1", "waiting"),
]


async def every_state(database: Database, tenant: UUID) -> dict[str, JobRow]:
    """One job of each sort, all in order."""
    await add_worker(database, interactive=3)
    pruned = await succeeded(database, tenant)
    async with database.fleet() as fleet:
        await fleet.jobs.prune(retention_days=0)
    done = await succeeded(database, tenant, files=["xlsx"])
    await submit(database, tenant, reuse=True, files=["xlsx"])
    failed = await claim(database, await submit(database, tenant))
    await finish(database, failed.ref, Ending(state=JobState.FAILED, error=JobError("code", "why")))
    cancelled = await submit(database, tenant)
    async with database.transaction(tenant) as tx:
        await tx.jobs.request_cancel(cancelled.id)
    running = (await claim(database, await submit(database, tenant))).job
    return {"done": done, "pruned": pruned, "running": running, "waiting": await submit(database, tenant)}


async def test_a_house_in_order_has_a_clean_ledger(database: Database, tenant: UUID) -> None:
    assert (await check_ledger(database)).ok
    jobs = await every_state(database, tenant)
    report = await check_ledger(database, [job.id for job in jobs.values()])
    assert report.ok
    assert (report.jobs, report.ended) == (7, 5)


@pytest.mark.parametrize(("promise", "damage", "which"), BROKEN)
async def test_a_broken_promise_is_found(  # noqa: PLR0917  fixtures and cases
    database: Database, tenant: UUID, owner: asyncpg.Connection, promise: str, damage: str, which: str
) -> None:
    jobs = await every_state(database, tenant)
    async with owner.transaction():
        await owner.execute("SET LOCAL session_replication_role = replica")
        await owner.execute(damage, jobs[which].id)
    report = await check_ledger(database)
    assert getattr(report, promise) == 1, report
    assert not report.ok


async def test_an_accepted_job_without_a_row_is_lost(database: Database, tenant: UUID) -> None:
    job = await submit(database, tenant)
    assert (await check_ledger(database, [job.id, new_id()])).lost == 1


async def test_jobs_that_wait_for_good_reason_are_not_stuck(
    database: Database, tenant: UUID, owner: asyncpg.Connection
) -> None:
    late = "UPDATE jobs SET run_at = now() - interval '1 hour', rung_at = rung_at - interval '1 hour'"
    await submit(database, tenant)
    await owner.execute(late)
    assert (await check_ledger(database)).stuck == 0, "there is no worker"
    await add_worker(database, interactive=1)
    assert (await check_ledger(database)).stuck == 1
    async with database.fleet() as fleet:
        await fleet.jobs.pause("interactive")
    assert (await check_ledger(database)).stuck == 0, "the queue is paused"
    async with database.fleet() as fleet:
        await fleet.jobs.resume("interactive")
        await fleet.tenants.set_max_running(tenant, 0)
    other = await add_tenant(database)
    await submit(database, other)
    assert (await check_ledger(database)).stuck == 1, "a cap of none at all is no reason"


async def test_a_tenant_at_its_cap_and_a_fleet_at_work_are_good_reasons(
    database: Database, tenant: UUID, owner: asyncpg.Connection
) -> None:
    await add_worker(database, interactive=2)
    async with database.fleet() as fleet:
        await fleet.tenants.set_max_running(tenant, 1)
    first, second = await submit(database, tenant), await submit(database, tenant)
    await admit(database)
    await claim(database, first)
    await owner.execute("UPDATE jobs SET run_at = now() - interval '1 hour' WHERE id = $1", second.id)
    assert (await check_ledger(database)).stuck == 0
    async with database.fleet() as fleet:
        await fleet.tenants.set_max_running(tenant, None)
    assert (await check_ledger(database)).stuck == 1
    await claim(database, await submit(database, tenant))
    assert (await check_ledger(database)).stuck == 0, "every slot is at work"
