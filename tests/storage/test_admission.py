"""Admission: shallow queues, fair turns, caps, pauses, and speed that does not depend on how much waits."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from milpa.jobs import JobError, Priority, new_id
from storage.admission import ADMIT
from storage.rows import JobRow, Ring
from storage.transaction import Database
from tests.storage.steps import add_tenant, add_worker, admit, claim, finish, new_job, submit


async def submit_many(database: Database, tenant: UUID, count: int, **changes: Any) -> Sequence[JobRow]:
    async with database.transaction(tenant) as tx:
        return (await tx.jobs.submit_batch(None, [new_job(**changes) for _ in range(count)])).jobs


def ids(rings: list[Ring]) -> list[UUID]:
    return [ring.job_id for ring in rings]


async def test_nothing_is_rung_without_a_worker(database: Database, tenant: UUID) -> None:
    await submit(database, tenant)
    assert await admit(database) == []


async def test_a_worker_gone_silent_or_gone_for_good_has_no_slots(
    database: Database, tenant: UUID, owner: asyncpg.Connection
) -> None:
    await submit_many(database, tenant, 9)
    silent, leaving = await add_worker(database), await add_worker(database)
    await owner.execute("UPDATE workers SET seen_at = now() - interval '31 seconds' WHERE id = $1", silent)
    async with database.fleet() as fleet:
        await fleet.workers.leave(leaving)
        assert await fleet.workers.list() == []
    assert await admit(database) == []


async def test_a_worker_is_registered_once_however_often_it_is_seen(database: Database) -> None:
    worker = uuid4()
    async with database.fleet() as fleet:
        await fleet.workers.seen(worker, "a", 2, 1)
    async with database.fleet() as fleet:
        await fleet.workers.seen(worker, "a", 3, 1)
        (row,) = await fleet.workers.list()
    assert (row.id, row.interactive_slots, row.seen_at > row.started_at) == (worker, 3, True)


async def test_twice_the_slots_are_outstanding_at_most(database: Database, tenant: UUID) -> None:
    await add_worker(database, interactive=2, batch=1)
    await add_worker(database, interactive=1, batch=0)
    jobs = await submit_many(database, tenant, 20)
    first = await admit(database)
    assert ids(first) == [job.id for job in jobs[:6]]
    assert await admit(database) == []
    held = await claim(database, jobs[0])
    assert await admit(database) == []
    await finish(database, held.ref)
    assert ids(await admit(database)) == [jobs[6].id]


async def test_a_ring_names_what_a_claim_needs(database: Database, tenant: UUID) -> None:
    await add_worker(database)
    job = await submit(database, tenant, priority=Priority.BATCH)
    (ring,) = await admit(database)
    assert (ring.tenant_id, ring.job_id, ring.dispatch_no, ring.priority, ring.task) == (
        *(tenant, job.id, job.dispatch_no, Priority.BATCH),
        "run_job",
    )


async def test_dispatchers_that_admit_at_once_do_not_ring_too_much_or_twice(database: Database, tenant: UUID) -> None:
    await add_worker(database, interactive=4)
    await submit_many(database, tenant, 50)
    rings = [ring for rings in await asyncio.gather(*(admit(database) for _ in range(8))) for ring in rings]
    assert len(rings) == len(set(ids(rings))) == 8


async def test_the_queues_do_not_share_slots(database: Database, tenant: UUID) -> None:
    await add_worker(database, interactive=1, batch=2)
    await submit_many(database, tenant, 10, priority=Priority.BATCH)
    await submit_many(database, tenant, 10)
    rings = await admit(database)
    assert Counter(ring.priority for ring in rings) == {Priority.INTERACTIVE: 2, Priority.BATCH: 4}
    assert [ring.priority for ring in rings] == ["interactive"] * 2 + ["batch"] * 4


async def test_tenants_take_turns_however_much_one_of_them_has_queued(database: Database) -> None:
    await add_worker(database, interactive=3)
    greedy, second, third = [await add_tenant(database) for _ in range(3)]
    await submit_many(database, greedy, 100)
    await submit_many(database, second, 2)
    await submit_many(database, third, 1)
    rings = await admit(database)
    assert [ring.tenant_id for ring in rings] == [greedy, second, third, greedy, second, greedy]


async def test_whoever_has_less_outstanding_comes_first(database: Database) -> None:
    await add_worker(database, interactive=2)
    greedy, late = await add_tenant(database), await add_tenant(database)
    await submit_many(database, greedy, 10)
    rung = await admit(database)
    assert {ring.tenant_id for ring in rung} == {greedy}
    await submit_many(database, late, 10)
    for ring in rung[:2]:
        async with database.transaction(greedy) as tx:
            await tx.jobs.request_cancel(ring.job_id)
    assert [ring.tenant_id for ring in await admit(database)] == [late, late]


async def test_no_tenant_passes_its_cap_over_both_queues(database: Database) -> None:
    await add_worker(database, interactive=5, batch=5)
    capped, free = await add_tenant(database, max_running=3), await add_tenant(database)
    for priority in Priority:
        await submit_many(database, capped, 10, priority=priority)
        await submit_many(database, free, 2, priority=priority)
    rings = await admit(database)
    assert Counter(ring.tenant_id for ring in rings) == {capped: 3, free: 4}
    assert {ring.priority for ring in rings if ring.tenant_id == capped} == {Priority.INTERACTIVE}
    assert await admit(database) == []
    async with database.fleet() as fleet:
        await fleet.tenants.set_max_running(capped, 5)
    assert len(await admit(database)) == 2
    async with database.fleet() as fleet:
        await fleet.tenants.set_max_running(capped, None)
    assert len(await admit(database)) == 11


async def test_a_tenant_with_cap_zero_waits_without_holding_up_others(database: Database) -> None:
    await add_worker(database, interactive=1)
    barred, free = await add_tenant(database, max_running=0), await add_tenant(database)
    await submit_many(database, barred, 5)
    await submit_many(database, free, 5)
    assert {ring.tenant_id for ring in await admit(database)} == {free}


async def test_a_paused_queue_is_not_rung_and_the_other_is(database: Database, tenant: UUID) -> None:
    await add_worker(database)
    await submit(database, tenant)
    await submit(database, tenant, priority=Priority.BATCH)
    async with database.fleet() as fleet:
        await fleet.jobs.pause(Priority.BATCH)
    assert [ring.priority for ring in await admit(database)] == [Priority.INTERACTIVE]
    async with database.fleet() as fleet:
        assert [queue.paused_at is None for queue in await fleet.jobs.queues()] == [True, False]
        await fleet.jobs.resume(Priority.BATCH)
    assert [ring.priority for ring in await admit(database)] == [Priority.BATCH]


async def test_a_job_waits_for_the_end_of_its_delay(
    database: Database, tenant: UUID, owner: asyncpg.Connection
) -> None:
    await add_worker(database)
    job = await submit(database, tenant)
    async with database.transaction(tenant) as tx:
        held = await tx.jobs.claim(job.id, job.dispatch_no, uuid4(), 30)
        await tx.jobs.retry(held.ref, JobError("code", "why"), 60)
    assert await admit(database) == []
    await owner.execute("UPDATE jobs SET run_at = now()")
    assert ids(await admit(database)) == [job.id]


async def test_a_released_job_is_first_in_its_tenants_line(database: Database, tenant: UUID) -> None:
    await add_worker(database, interactive=1)
    first, *_ = await submit_many(database, tenant, 5)
    await admit(database)
    held = await claim(database, first)
    async with database.transaction(tenant) as tx:
        await tx.jobs.release(held.ref)
    assert ids(await admit(database)) == [first.id]


async def test_scheduled_jobs_are_not_rung(database: Database, tenant: UUID) -> None:
    await add_worker(database)
    await submit(database, tenant, run_at=datetime.now(UTC) + timedelta(hours=1))
    assert await admit(database) == []


async def test_the_state_of_the_queues_is_counted_by_step(database: Database, tenant: UUID) -> None:
    await add_worker(database, interactive=2, batch=1)
    jobs = await submit_many(database, tenant, 9)
    await submit(database, tenant, run_at=datetime.now(UTC) + timedelta(hours=1))
    await admit(database)
    await claim(database, jobs[0])
    async with database.fleet() as fleet:
        interactive, batch = await fleet.jobs.queues()
    assert (interactive.scheduled, interactive.waiting, interactive.rung, interactive.running, interactive.slots) == (
        *(1, 5, 3),
        *(1, 2),
    )
    assert (batch.waiting, batch.slots) == (0, 1)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    waiting=st.lists(st.tuples(st.integers(0, 6), st.none() | st.integers(0, 4)), min_size=1, max_size=5),
    slots=st.integers(0, 4),
    rounds=st.integers(1, 3),
)
async def test_admission_is_fair_whatever_waits(
    database: Database, owner: asyncpg.Connection, waiting: list[tuple[int, int | None]], slots: int, rounds: int
) -> None:
    await owner.execute("TRUNCATE tenants, workers CASCADE")
    await add_worker(database, interactive=slots)
    tenants = {}
    for count, cap in waiting:
        tenant = await add_tenant(database, cap)
        tenants[tenant] = count if cap is None else min(count, cap)
        if count:
            await submit_many(database, tenant, count)
    rings = [ring for _ in range(rounds) for ring in await admit(database)]
    given_to = Counter(ring.tenant_id for ring in rings)
    assert len(rings) == min(2 * slots, sum(tenants.values()))
    for tenant, allowed in tenants.items():
        others = [given_to[other] for other in tenants]
        assert given_to[tenant] == allowed or given_to[tenant] >= max(others) - 1, (
            "who could have more has a fair share"
        )


@pytest.fixture
async def _long_lines(owner: asyncpg.Connection) -> None:
    """100,000 jobs that wait, of 50 tenants, one of which has most of them."""
    tenants = [new_id() for _ in range(50)]
    await owner.execute("INSERT INTO tenants (id, name) SELECT id, id::text FROM unnest($1::uuid[]) AS t (id)", tenants)
    await owner.execute(
        """
        INSERT INTO jobs (tenant_id, id, kind, kind_version, priority, input_hash, state, last_seq, run_at)
        SELECT $1[CASE WHEN n % 2 = 0 THEN 1 ELSE 1 + n % 50 END], gen_random_uuid(), 'k', 1, 'interactive', '', 'queued', 1,
            now() - make_interval(secs => 100000 - n)
        FROM generate_series(1, 100000) AS n
        """.replace("$1[", "($1::uuid[])["),
        tenants,
    )
    await owner.execute("VACUUM ANALYZE jobs")


@pytest.mark.usefixtures("_long_lines")
async def test_with_100_000_jobs_waiting_admission_still_reads_a_few_pages_only(database: Database) -> None:
    await add_worker(database, interactive=4)
    explained = text(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {ADMIT.text}")
    async with database.fleet() as fleet:
        plan = (await fleet.connection.execute(explained, {"alive": 30.0, "limit": 1000, "files": 100})).scalar()
    root = plan[0]["Plan"]
    assert pages(root) < 5_000, "a scan of all waiting jobs reads many times as many"
    assert "Seq Scan" not in {node["Node Type"] for node in nodes(root) if node.get("Relation Name") == "jobs"}


@pytest.mark.usefixtures("_long_lines")
async def test_with_100_000_jobs_waiting_a_submit_knows_from_a_few_pages_whether_it_may_ring(
    database: Database, tenant: UUID
) -> None:
    await add_worker(database, interactive=4)
    may_ring = text("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT may_ring(:queue, :tenant, 30.0)")
    for queue in Priority:  # all of them wait in the one, none in the other
        for _ in range(10):  # after a few times PostgreSQL plans once and for all
            async with database.transaction(tenant) as tx:
                plan = (await tx.connection.execute(may_ring, {"queue": queue, "tenant": tenant})).scalar()
            assert pages(plan[0]["Plan"]) < 1_000


def pages(root: dict[str, Any]) -> int:
    """How many pages the whole plan has touched."""
    return int(root["Shared Hit Blocks"] + root["Shared Read Blocks"])


def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", []):
        yield from nodes(child)
