"""The ledger finds who was not told, what is told twice, wrong batches, doubled runs and orphan objects."""

from datetime import timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from milpa.settings import Settings
from storage.ledger import LedgerReport, check_ledger
from storage.objects import ObjectStore
from storage.schedule_rows import NewSchedule
from storage.transaction import Database
from storage.webhook_rows import Attempted, EndpointChanges, NewEndpoint
from tests.storage.steps import add_worker, claim, finish, new_file, new_job, submit, succeeded

HOOK = "https://example.org/hook"
COPY = """
INSERT INTO webhook_deliveries (tenant_id, id, endpoint_id, url, target, type, event_at, job_id, batch_id)
SELECT tenant_id, uuidv7(), endpoint_id, url, target, type, event_at, job_id, batch_id FROM webhook_deliveries
WHERE type = $1 AND endpoint_id IS NULL
"""
LONG_DUE = (
    "UPDATE webhook_deliveries SET next_at = now() - interval '3 minutes' WHERE type = $1 AND endpoint_id IS NULL"
)
OTHER_LATE = "UPDATE jobs SET state = 'running', finished_at = NULL, lease_until = now() WHERE batch_id = $1"

BROKEN = [
    ("untold", "DELETE FROM webhook_deliveries WHERE type = 'job.succeeded' AND endpoint_id IS NULL", 1),
    ("untold", "DELETE FROM webhook_deliveries WHERE type = 'job.succeeded' AND endpoint_id IS NOT NULL", 3),
    ("untold", "DELETE FROM webhook_deliveries WHERE type = 'batch.finished'", 2),
    ("told_twice", COPY.replace("$1", "'job.succeeded'"), 1),
    ("told_twice", COPY.replace("$1", "'batch.finished'"), 1),
    ("deliveries_stuck", LONG_DUE.replace("$1", "'job.succeeded'"), 1),
    (
        "given_up_untried",
        "UPDATE webhook_deliveries SET state = 'failed', ended_at = now() WHERE type = 'batch.finished'",
        2,
    ),
    ("batches_miscounted", "UPDATE batches SET ended = ended - 1", 1),
    ("batches_miscounted", "UPDATE batches SET finished_at = NULL", 1),
    ("batches_miscounted", OTHER_LATE.replace("batch_id = $1", "batch_id IS NOT NULL"), 1),
    ("schedules_late", "UPDATE schedules SET next_due_at = now() - interval '91 seconds'", 1),
]


async def everyone_told(database: Database, tenant: UUID, owner: asyncpg.Connection) -> None:
    """An endpoint that has listened for long, a job and a batch with addresses of their own, and a schedule."""
    await add_worker(database, interactive=3)
    async with database.transaction(tenant) as tx:
        await tx.webhooks.create(NewEndpoint(url=HOOK))
        await tx.schedules.create(NewSchedule(name="night", cron="0 2 * * *", timezone="UTC", jobs=[new_job()]))
    await owner.execute("UPDATE webhook_endpoints SET updated_at = now() - interval '1 hour'")
    await succeeded(database, tenant, webhook_url=HOOK)
    async with database.transaction(tenant) as tx:
        batch = await tx.jobs.submit_batch("pair", [new_job(), new_job()], HOOK)
    for job in batch.jobs:
        assert await finish(database, (await claim(database, job)).ref)


async def test_where_everyone_was_told_the_ledger_is_clean(
    database: Database, tenant: UUID, owner: asyncpg.Connection
) -> None:
    await everyone_told(database, tenant, owner)
    report = await check_ledger(database)
    assert report.ok, report.broken
    assert (report.jobs, report.orphan_objects, report.orphan_solvers) == (3, None, None)


@pytest.mark.parametrize(("promise", "damage", "times"), BROKEN)
async def test_a_broken_promise_is_found(  # noqa: PLR0917  fixtures and cases
    database: Database, tenant: UUID, owner: asyncpg.Connection, promise: str, damage: str, times: int
) -> None:
    await everyone_told(database, tenant, owner)
    async with owner.transaction():
        await owner.execute("SET LOCAL session_replication_role = replica")
        await owner.execute(damage)
    report = await check_ledger(database)
    assert report.broken[promise] == times, report


async def test_a_due_time_with_two_runs_is_found(database: Database, tenant: UUID, owner: asyncpg.Connection) -> None:
    await everyone_told(database, tenant, owner)
    run = """INSERT INTO schedule_runs (tenant_id, id, schedule_id, due_at, state)
        SELECT tenant_id, uuidv7(), id, next_due_at - interval '1 day', 'missed' FROM schedules"""
    (unique,) = await owner.fetchrow("SELECT indexdef FROM pg_indexes WHERE indexname = 'schedule_runs_one_each'")
    await owner.execute("DROP INDEX schedule_runs_one_each")
    try:
        await owner.execute(run)
        assert (await check_ledger(database)).ok
        await owner.execute(run)
        assert (await check_ledger(database)).broken == {"runs_doubled": 1}
    finally:
        await owner.execute("TRUNCATE schedule_runs")
        await owner.execute(unique)


async def test_an_endpoint_need_not_be_told_of_what_it_does_not_listen_to(
    database: Database, tenant: UUID, owner: asyncpg.Connection
) -> None:
    await succeeded(database, tenant)
    async with database.transaction(tenant) as tx:
        other_kind, _ = await tx.webhooks.create(NewEndpoint(url=HOOK, kinds=["debt-stack"]))
        await tx.webhooks.create(NewEndpoint(url=HOOK, tags=["green"]))
        await tx.webhooks.create(NewEndpoint(url=HOOK, events=["job.failed"]))
        disabled, _ = await tx.webhooks.create(NewEndpoint(url=HOOK))
        await tx.webhooks.update(disabled.id, EndpointChanges(enabled=False))
    await owner.execute("UPDATE webhook_endpoints SET updated_at = now() - interval '1 hour'")
    assert (await check_ledger(database)).ok
    async with database.transaction(tenant) as tx:
        await tx.webhooks.update(other_kind.id, EndpointChanges(kinds=["deal-picker"]))
    assert (await check_ledger(database)).ok, "it listens to this kind only from now on"
    await owner.execute("UPDATE webhook_endpoints SET updated_at = now() - interval '1 hour'")
    assert (await check_ledger(database)).broken == {"untold": 1}


async def test_a_delivery_waits_for_good_reason_while_its_address_hangs_or_no_worker_is_there(
    database: Database, tenant: UUID, owner: asyncpg.Connection
) -> None:
    await succeeded(database, tenant, webhook_url=HOOK)
    await submit(database, tenant, webhook_url=HOOK)
    await owner.execute("UPDATE webhook_deliveries SET next_at = now() - interval '1 hour'")
    assert (await check_ledger(database)).ok, "there is no worker"
    await add_worker(database)
    assert (await check_ledger(database)).broken == {"deliveries_stuck": 1}
    await succeeded(database, tenant, webhook_url=HOOK)
    async with database.fleet() as fleet:
        (_,) = await fleet.deliveries.take(1, each=1, share=1, lease_seconds=60.0)
    await owner.execute("UPDATE webhook_deliveries SET next_at = now() - interval '1 hour' WHERE lease_until IS NULL")
    assert (await check_ledger(database)).ok, "the address has an attempt under way"


async def test_what_was_given_up_by_the_rules_is_in_order(
    database: Database, tenant: UUID, owner: asyncpg.Connection
) -> None:
    await everyone_told(database, tenant, owner)
    async with database.fleet() as fleet:
        taken = await fleet.deliveries.take(100, each=100, share=100, lease_seconds=60.0)
    for ref in taken[:2]:
        async with database.transaction(tenant) as tx:
            await tx.deliveries.record(ref, Attempted(delivered=False, seconds=0.1, status=500))
    async with database.transaction(tenant) as tx:
        (endpoint,) = await tx.webhooks.list()
        await tx.webhooks.update(endpoint.id, EndpointChanges(enabled=False))
    assert (await check_ledger(database)).ok
    async with database.transaction(tenant) as tx:
        await tx.webhooks.update(endpoint.id, EndpointChanges(enabled=True))
    assert (await check_ledger(database)).ok


async def test_objects_without_a_row_are_orphans_once_they_are_old(
    database: Database, tenant: UUID, tmp_path: Path
) -> None:
    objects = ObjectStore(Settings(object_store_url=tmp_path.as_uri()))
    job = await succeeded(database, tenant, files=["xlsx"])
    named = new_file((await claim(database, await submit(database, tenant))).ref).object_key
    kept = f"{tenant}/{job.id}/1/deals.xlsx"
    for key in (kept, named):
        await objects.put(key, b"data")
    assert (await check_ledger(database, objects=objects)).orphan_objects == 0, "still young"
    report = await check_ledger(database, objects=objects, orphan_grace=timedelta(0))
    assert report.broken == {"orphan_objects": 1}


def test_every_field_of_the_report_is_either_a_total_or_a_promise() -> None:
    nothing = LedgerReport(**dict.fromkeys(LedgerReport.__struct_fields__, 0))
    assert nothing.ok
    everything = LedgerReport(**dict.fromkeys(LedgerReport.__struct_fields__, 1))
    assert set(everything.broken) == set(LedgerReport.__struct_fields__) - {"jobs", "ended"}
