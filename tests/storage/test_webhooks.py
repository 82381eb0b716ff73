"""Webhooks in the database: who is told of which end, exactly once, and what becomes of each delivery."""

import asyncio
import contextlib
import importlib
from collections import Counter
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest

from milpa.errors import UsageError
from milpa.jobs import JobError, JobState
from storage.rows import BatchRow, Ending, Idempotency, JobRow
from storage.transaction import Database
from storage.webhook_rows import (
    Attempted,
    DeliveryFilter,
    DeliveryRef,
    DeliveryRow,
    DeliveryState,
    DisabledReason,
    EndpointChanges,
    EndpointRow,
    NewEndpoint,
    Parcel,
    WebhookEvent,
)
from tests.storage.steps import LEASE, add_tenant, add_worker, admit, claim, finish, look, new_job, submit, succeeded

URL = "https://example.org/hook"
OK = Attempted(delivered=True, seconds=0.1, status=200, response="thanks")
FAILED = Attempted(delivered=False, seconds=0.1, status=500, retry_seconds=0.0)
GIVEN_UP = Attempted(delivered=False, seconds=0.1, status=500)
GONE = Attempted(delivered=False, seconds=0.1, status=410, gone=True)


async def endpoint(database: Database, tenant: UUID, **wanted: Any) -> EndpointRow:
    async with database.transaction(tenant) as tx:
        return (await tx.webhooks.create(NewEndpoint(**{"url": URL, **wanted})))[0]


async def deliveries(database: Database, tenant: UUID, **which: Any) -> list[DeliveryRow]:
    async with database.transaction(tenant) as tx:
        return list(await tx.webhooks.deliveries(DeliveryFilter(**which), limit=2000))


async def told(database: Database, tenant: UUID, **which: Any) -> list[str]:
    return sorted(delivery.type for delivery in await deliveries(database, tenant, **which))


async def take(
    database: Database, limit: int = 1000, each: int = 1000, share: int = 1000, lease: float = 60.0
) -> list[DeliveryRef]:
    async with database.fleet() as fleet:
        return await fleet.deliveries.take(limit, each=each, share=share, lease_seconds=lease)


async def opened(database: Database, ref: DeliveryRef) -> Parcel | None:
    async with database.transaction(ref.tenant_id) as tx:
        return await tx.deliveries.open(ref)


async def record(database: Database, ref: DeliveryRef, attempted: Attempted) -> None:
    async with database.transaction(ref.tenant_id) as tx:
        await tx.deliveries.record(ref, attempted)


async def delivery(database: Database, ref: DeliveryRef) -> DeliveryRow:
    async with database.transaction(ref.tenant_id) as tx:
        found = await tx.webhooks.delivery(ref.delivery_id)
    assert found is not None
    return found


async def batch_of(database: Database, tenant: UUID, size: int, **more: Any) -> tuple[UUID, list[JobRow]]:
    async with database.transaction(tenant) as tx:
        batch = await tx.jobs.submit_batch("night", [new_job() for _ in range(size)], **more)
    return batch.batch_id, list(batch.jobs)


async def batch_row(database: Database, tenant: UUID, batch_id: UUID) -> BatchRow:
    async with database.transaction(tenant) as tx:
        row = await tx.batches.get(batch_id)
    assert row is not None
    return row


# Who is told of a job's end


async def end_by_success(database: Database, job: JobRow) -> None:
    assert await finish(database, (await claim(database, job)).ref)


async def end_by_failure(database: Database, job: JobRow) -> None:
    ending = Ending(state=JobState.FAILED, error=JobError("boom", "It broke."))
    assert await finish(database, (await claim(database, job)).ref, ending)


async def end_by_cancel_while_queued(database: Database, job: JobRow) -> None:
    async with database.transaction(job.tenant_id) as tx:
        await tx.jobs.request_cancel(job.id)


async def end_by_stop_while_queued(database: Database, job: JobRow) -> None:
    async with database.transaction(job.tenant_id) as tx:
        await tx.jobs.request_stop(job.id)


async def end_by_cancel_while_running(database: Database, job: JobRow) -> None:
    ref = (await claim(database, job)).ref
    async with database.transaction(job.tenant_id) as tx:
        await tx.jobs.request_cancel(job.id)
    assert await finish(database, ref)


async def end_by_errors(database: Database, job: JobRow) -> None:
    for _ in range(database.settings.max_errors):
        ref = (await claim(database, await look(database, job))).ref
        async with database.transaction(job.tenant_id) as tx:
            await tx.jobs.retry(ref, JobError("away", "Away."), 0)


async def end_by_poison(database: Database, job: JobRow) -> None:
    await add_worker(database)
    for _ in range(database.settings.max_crashes):
        await admit(database)
        await claim(database, await look(database, job), lease=0)
        async with database.fleet() as fleet:
            assert len(await fleet.jobs.rescue()) == 1


@pytest.mark.parametrize(
    ("end", "event"),
    [
        (end_by_success, "job.succeeded"),
        (end_by_failure, "job.failed"),
        (end_by_cancel_while_queued, "job.cancelled"),
        (end_by_stop_while_queued, "job.succeeded"),
        (end_by_cancel_while_running, "job.cancelled"),
        (end_by_errors, "job.failed"),
        (end_by_poison, "job.failed"),
    ],
)
async def test_every_way_to_end_a_job_makes_one_delivery_to_each_who_asked(
    database: Database, tenant: UUID, end: Any, event: str
) -> None:
    ends = [await endpoint(database, tenant), await endpoint(database, tenant, events=[event])]
    await endpoint(database, tenant, events=["batch.finished"])
    await endpoint(database, await add_tenant(database))
    job = await submit(database, tenant, webhook_url="https://jobs.example.org/mine")
    await end(database, job)
    made = await deliveries(database, tenant)
    assert {(one.endpoint_id, one.url) for one in made} == {
        (ends[0].id, URL),
        (ends[1].id, URL),
        (None, "https://jobs.example.org/mine"),
    }
    assert len(made) == 3
    assert {(one.type, one.job_id, one.state) for one in made} == {(event, job.id, DeliveryState.PENDING)}


async def test_an_answer_by_reuse_is_told_as_well(database: Database, tenant: UUID) -> None:
    await succeeded(database, tenant)
    await endpoint(database, tenant)
    again = await submit(database, tenant, reuse=True)
    assert again.state is JobState.SUCCEEDED
    assert await told(database, tenant, job_id=again.id) == ["job.succeeded"]


async def test_nothing_is_told_of_an_end_that_was_rolled_back(database: Database, tenant: UUID) -> None:
    await endpoint(database, tenant)
    job = await submit(database, tenant)
    with contextlib.suppress(InterruptedError):
        async with database.transaction(tenant) as tx:
            await tx.jobs.request_cancel(job.id)
            raise InterruptedError
    assert not (await look(database, job)).state.ended
    assert await deliveries(database, tenant) == []


async def test_a_job_that_goes_on_is_told_of_to_nobody(database: Database, tenant: UUID) -> None:
    await endpoint(database, tenant)
    ref = (await claim(database, await submit(database, tenant))).ref
    async with database.transaction(tenant) as tx:
        await tx.jobs.heartbeat(ref, LEASE)
        await tx.jobs.release(ref)
    assert await deliveries(database, tenant) == []


@pytest.mark.parametrize(
    ("wanted", "is_told"),
    [
        ({}, True),
        ({"events": ["job.succeeded", "job.failed"]}, True),
        ({"events": ["job.failed"]}, False),
        ({"kinds": ["deal-picker"]}, True),
        ({"kinds": ["debt-stack"]}, False),
        ({"tags": ["board", "other"]}, True),
        ({"tags": ["other"]}, False),
        ({"events": ["job.succeeded"], "kinds": ["deal-picker"], "tags": ["other"]}, False),
    ],
)
async def test_filters_let_through_what_all_of_them_let_through(
    database: Database, tenant: UUID, wanted: dict[str, Any], is_told: bool
) -> None:
    await endpoint(database, tenant, **wanted)
    await succeeded(database, tenant, tags=["board", "q3"])
    assert len(await deliveries(database, tenant)) == is_told


async def test_erasing_a_job_erases_what_was_to_tell_of_it(database: Database, tenant: UUID) -> None:
    await endpoint(database, tenant)
    job = await succeeded(database, tenant)
    (ref,) = await take(database)
    async with database.transaction(tenant) as tx:
        await tx.jobs.delete(job.id)
    assert await opened(database, ref) is None
    assert await deliveries(database, tenant) == []


# Batches


async def test_a_batch_is_closed_once_by_the_last_of_its_jobs(database: Database, tenant: UUID) -> None:
    asked = await endpoint(database, tenant, events=["batch.finished"])
    batch_id, jobs = await batch_of(database, tenant, 3, webhook_url="https://batches.example.org/")
    for job in jobs[:2]:
        await end_by_success(database, job)
    assert (await batch_row(database, tenant, batch_id)).finished_at is None
    assert await deliveries(database, tenant) == []
    await end_by_failure(database, jobs[2])
    row = await batch_row(database, tenant, batch_id)
    assert row.finished_at == (await look(database, jobs[2])).finished_at
    assert row.counts == {JobState.SUCCEEDED: 2, JobState.FAILED: 1}
    made = await deliveries(database, tenant)
    assert {(one.endpoint_id, one.type, one.batch_id) for one in made} == {
        (asked.id, "batch.finished", batch_id),
        (None, "batch.finished", batch_id),
    }
    assert len(made) == 2


async def test_a_batch_whose_jobs_end_at_the_same_time_is_closed_once(database: Database, tenant: UUID) -> None:
    await endpoint(database, tenant, events=["batch.finished"])
    for size in (2, 2, 2, 8, 8):
        batch_id, jobs = await batch_of(database, tenant, size)
        claims = [await claim(database, job) for job in jobs]
        assert all(await asyncio.gather(*(finish(database, held.ref) for held in claims)))
        assert await told(database, tenant, batch_id=batch_id) == ["batch.finished"]
        assert (await batch_row(database, tenant, batch_id)).finished_at is not None


async def test_a_batch_answered_by_reuse_is_closed_when_it_is_made(database: Database, tenant: UUID) -> None:
    await succeeded(database, tenant)
    await endpoint(database, tenant, events=["batch.finished"])
    async with database.transaction(tenant) as tx:
        batch = await tx.jobs.submit_batch(None, [new_job(reuse=True), new_job(reuse=True)])
    assert await told(database, tenant) == ["batch.finished"]
    assert (await batch_row(database, tenant, batch.batch_id)).finished_at is not None


async def test_a_batch_is_cancelled_whole(database: Database, tenant: UUID) -> None:
    await endpoint(database, tenant, events=["batch.finished"])
    batch_id, jobs = await batch_of(database, tenant, 20)
    await end_by_success(database, jobs[0])
    held = await claim(database, jobs[1])
    async with database.transaction(tenant) as tx:
        assert await tx.jobs.cancel_batch(batch_id) == 19
    assert (await batch_row(database, tenant, batch_id)).counts == {
        JobState.SUCCEEDED: 1,
        JobState.RUNNING: 1,
        JobState.CANCELLED: 18,
    }
    assert await deliveries(database, tenant) == []
    assert await finish(database, held.ref)
    assert (await look(database, jobs[1])).state is JobState.CANCELLED
    assert await told(database, tenant) == ["batch.finished"]
    async with database.transaction(tenant) as tx:
        assert await tx.jobs.cancel_batch(batch_id) == 0
        assert await tx.jobs.cancel_batch(uuid4()) is None


async def test_two_who_cancel_a_batch_at_once_close_it_once(database: Database, tenant: UUID) -> None:
    await endpoint(database, tenant, events=["batch.finished"])
    batch_id, _ = await batch_of(database, tenant, 50)

    async def cancel() -> int | None:
        async with database.transaction(tenant) as tx:
            return await tx.jobs.cancel_batch(batch_id)

    assert sum(count or 0 for count in await asyncio.gather(*(cancel() for _ in range(4)))) == 50
    assert await told(database, tenant) == ["batch.finished"]


async def test_the_failed_jobs_of_a_batch_are_retried_as_a_new_batch(database: Database, tenant: UUID) -> None:
    async with database.transaction(tenant) as tx:
        jobs = [new_job(input=b'{"n":%d}' % number, name=str(number)) for number in range(4)]
        first = await tx.jobs.submit_batch("night", jobs, "https://batches.example.org/")
    for number, job in enumerate(first.jobs):
        await (end_by_failure if number % 2 else end_by_success)(database, job)
    for _ in range(2):
        async with database.transaction(tenant) as tx:
            again = await tx.jobs.retry_batch(first.batch_id, Idempotency("again", b"hash"))
    assert again is not None
    assert again.replayed
    assert [job.name for job in again.jobs] == ["1", "3"]
    async with database.transaction(tenant) as tx:
        assert [await tx.jobs.payload(job.id, "input") for job in again.jobs] == [b'{"n":1}', b'{"n":3}']
    row = await batch_row(database, tenant, again.batch_id)
    assert (row.name, row.webhook_url, row.size) == ("night", "https://batches.example.org/", 2)


async def test_a_batch_without_failures_has_nothing_to_retry(database: Database, tenant: UUID) -> None:
    batch_id, _ = await batch_of(database, tenant, 1)
    async with database.transaction(tenant) as tx:
        with pytest.raises(UsageError, match="No job"):
            await tx.jobs.retry_batch(batch_id)
        assert await tx.jobs.retry_batch(uuid4()) is None


async def test_batches_made_before_they_were_counted_are_counted_by_the_migration(
    database: Database, tenant: UUID, owner: asyncpg.Connection
) -> None:
    statements = importlib.import_module("migrations.versions.0004_webhooks").COUNT_ENDED
    done, done_jobs = await batch_of(database, tenant, 2)
    half, half_jobs = await batch_of(database, tenant, 2)
    for job in (*done_jobs, half_jobs[0]):
        await end_by_success(database, job)
    await owner.execute("UPDATE batches SET ended = 0, finished_at = NULL")
    for statement in statements:
        await owner.execute(statement)
    rows = {
        row["id"]: row for row in await owner.fetch("SELECT id, ended, finished_at IS NOT NULL AS done FROM batches")
    }
    assert (rows[done]["ended"], rows[done]["done"]) == (2, True)
    assert (rows[half]["ended"], rows[half]["done"]) == (1, False)


# Taking, opening, recording


async def test_a_delivery_is_taken_by_one_of_many_and_opened_with_all_it_needs(
    database: Database, tenant: UUID
) -> None:
    async with database.transaction(tenant) as tx:
        _, secret = await tx.webhooks.create(NewEndpoint(url=URL))
    jobs = [await succeeded(database, tenant) for _ in range(10)]
    taken = [ref for some in await asyncio.gather(*(take(database) for _ in range(5))) for ref in some]
    assert len(taken) == 10
    assert len({ref.delivery_id for ref in taken}) == 10
    parcels = [await opened(database, ref) for ref in taken]
    assert {parcel.job.id for parcel in parcels if parcel and parcel.job} == {job.id for job in jobs}
    assert {(parcel.url, parcel.type, *parcel.secrets) for parcel in parcels if parcel} == {
        (URL, WebhookEvent.JOB_SUCCEEDED, secret)
    }
    assert await take(database) == []


async def test_a_delivery_whose_taker_died_is_taken_again_and_the_late_one_changes_nothing(
    database: Database, tenant: UUID
) -> None:
    await endpoint(database, tenant)
    await succeeded(database, tenant)
    (dead,) = await take(database, lease=0)
    (alive,) = await take(database)
    assert (alive.delivery_id, alive.number) == (dead.delivery_id, dead.number + 1)
    assert await opened(database, dead) is None
    await record(database, dead, GIVEN_UP)
    assert (await delivery(database, alive)).state is DeliveryState.PENDING
    await record(database, alive, OK)
    now = await delivery(database, alive)
    assert now.state is DeliveryState.DELIVERED
    assert [(one.number, one.status, one.response) for one in now.attempts] == [(1, 500, None), (2, 200, "thanks")]


async def test_what_is_given_back_is_due_at_once(database: Database, tenant: UUID) -> None:
    await endpoint(database, tenant)
    await succeeded(database, tenant)
    held = await take(database)
    async with database.fleet() as fleet:
        await fleet.deliveries.release(held)
    assert [ref.delivery_id for ref in await take(database)] == [ref.delivery_id for ref in held]


async def test_no_address_has_more_under_way_than_its_share(database: Database, tenant: UUID) -> None:
    slow = await endpoint(database, tenant, tags=["slow"])
    for _ in range(5):
        await succeeded(database, tenant, tags=["slow"], webhook_url="https://Shared.example.org/a?b=c")
    await succeeded(database, tenant, webhook_url="https://shared.example.org/other")
    taken = await take(database, each=2)
    rows = [await delivery(database, ref) for ref in taken]
    assert sum(row.endpoint_id == slow.id for row in rows) == 2
    assert sum(row.endpoint_id is None for row in rows) == 2, "addresses of one host are one"
    assert await take(database, each=2) == []
    await record(database, taken[0], OK)
    assert len(await take(database, each=2)) == 1


async def test_no_tenant_has_more_under_way_than_its_share_however_many_its_addresses(
    database: Database, tenant: UUID
) -> None:
    other = await add_tenant(database)
    for _ in range(4):
        await endpoint(database, tenant)
    await endpoint(database, other)
    for one in (tenant, tenant, other, other):
        await succeeded(database, one)
    first = await take(database, share=3)
    assert sorted(Counter(ref.tenant_id for ref in first).items()) == sorted([(tenant, 3), (other, 2)])
    rows = [await delivery(database, ref) for ref in first if ref.tenant_id == tenant]
    assert len({row.endpoint_id for row in rows}) == 3, "none has its second before another has its first"
    assert await take(database, share=3) == []
    await record(database, next(ref for ref in first if ref.tenant_id == tenant), OK)
    assert [ref.tenant_id for ref in await take(database, share=3)] == [tenant]
    assert len(await take(database, share=8)) == 4


async def test_everybodys_first_comes_before_anybodys_second(database: Database, tenant: UUID) -> None:
    others = [await add_tenant(database) for _ in range(3)]
    for one, count in [(tenant, 20), *((other, 1) for other in others)]:
        await endpoint(database, one)
        for _ in range(count):
            await succeeded(database, one)
    assert {ref.tenant_id for ref in await take(database, limit=4)} == {tenant, *others}


async def test_a_failure_is_put_off_and_the_last_one_ends_it(database: Database, tenant: UUID) -> None:
    await endpoint(database, tenant)
    await succeeded(database, tenant)
    (ref,) = await take(database)
    later = msgspec.structs.replace(FAILED, retry_seconds=3600.0)
    await record(database, ref, later)
    now = await delivery(database, ref)
    assert now.state is DeliveryState.PENDING
    assert 3590 < (now.next_at - now.attempts[0].at).total_seconds() <= 3600
    assert await take(database) == []
    async with database.transaction(tenant) as tx:
        await tx.webhooks.redeliver(ref.delivery_id)
    (ref,) = await take(database)
    assert ref.failures == 0
    await record(database, ref, GIVEN_UP)
    assert (await delivery(database, ref)).state is DeliveryState.FAILED


async def test_an_endpoint_that_is_gone_is_disabled_and_the_others_are_told(database: Database, tenant: UUID) -> None:
    gone = await endpoint(database, tenant, events=["job.succeeded"])
    other = await endpoint(database, tenant, events=["webhook.disabled"])
    for _ in range(3):
        await succeeded(database, tenant)
    await record(database, (await take(database))[0], GONE)
    async with database.transaction(tenant) as tx:
        row = await tx.webhooks.get(gone.id)
    assert row is not None
    assert row.disabled_reason is DisabledReason.GONE
    assert {one.state for one in await deliveries(database, tenant, endpoint_id=gone.id)} == {DeliveryState.FAILED}
    (news,) = await take(database)
    parcel = await opened(database, news)
    assert parcel is not None
    assert (await delivery(database, news)).endpoint_id == other.id
    assert (parcel.type, parcel.data) == ("webhook.disabled", {"webhook_id": str(gone.id), "reason": "gone"})
    await succeeded(database, tenant)
    assert len(await deliveries(database, tenant, endpoint_id=gone.id)) == 3


async def test_only_days_of_nothing_but_failures_disable_an_endpoint(
    database: Database, tenant: UUID, owner: asyncpg.Connection
) -> None:
    made = await endpoint(database, tenant)
    other = await endpoint(database, tenant, events=["webhook.disabled"])

    async def attempt(attempted: Attempted, days: float) -> EndpointRow | None:
        await succeeded(database, tenant)
        (ref,) = await take(database)
        await owner.execute(
            "UPDATE webhook_endpoints SET failing_since = failing_since - make_interval(days => $1)", days
        )
        await record(database, ref, attempted)
        async with database.transaction(tenant) as tx:
            return await tx.webhooks.get(made.id)

    for attempted, days, failing, reason in [
        (GIVEN_UP, 0, True, None),
        (GIVEN_UP, 4, True, None),
        (OK, 0, False, None),
        (GIVEN_UP, 0, True, None),
        (GIVEN_UP, 6, True, DisabledReason.FAILING),
    ]:
        row = await attempt(attempted, days)
        assert row is not None
        assert (row.failing_since is not None, row.disabled_reason) == (failing, reason)
    (news,) = await take(database)
    parcel = await opened(database, news)
    assert parcel is not None
    assert (await delivery(database, news)).endpoint_id == other.id
    assert (parcel.type, parcel.data) == ("webhook.disabled", {"webhook_id": str(made.id), "reason": "failing"})


# The owner's own verbs


async def test_a_new_secret_signs_beside_the_old_one_for_a_while(
    database: Database, tenant: UUID, owner: asyncpg.Connection
) -> None:
    async with database.transaction(tenant) as tx:
        made, first = await tx.webhooks.create(NewEndpoint(url=URL))
        second = await tx.webhooks.rotate(made.id, 3600)
        assert await tx.webhooks.rotate(uuid4(), 3600) is None
    await succeeded(database, tenant)
    (ref,) = await take(database)
    parcel = await opened(database, ref)
    assert parcel is not None
    assert parcel.secrets == [second, first]
    await owner.execute("UPDATE webhook_secrets SET expires_at = now() WHERE expires_at IS NOT NULL")
    parcel = await opened(database, ref)
    assert parcel is not None
    assert parcel.secrets == [second]


async def test_secrets_are_sealed(database: Database, tenant: UUID, owner: asyncpg.Connection) -> None:
    async with database.transaction(tenant) as tx:
        _, secret = await tx.webhooks.create(NewEndpoint(url=URL))
    (kept,) = await owner.fetch("SELECT secret FROM webhook_secrets")
    assert secret.startswith("whsec_")
    assert secret.encode() not in kept["secret"]
    assert secret.removeprefix("whsec_").encode() not in kept["secret"]


async def test_addresses_that_jobs_name_have_a_secret_of_their_tenant(database: Database, tenant: UUID) -> None:
    await endpoint(database, tenant)
    await succeeded(database, tenant, webhook_url="https://jobs.example.org/")
    refs = await take(database)
    (mine,) = [ref for ref in refs if (await delivery(database, ref)).endpoint_id is None]
    parcel = await opened(database, mine)
    assert parcel is not None
    assert parcel.secrets == []
    async with database.transaction(tenant) as tx:
        secret = await tx.webhooks.rotate(None, 0)
    parcel = await opened(database, mine)
    assert parcel is not None
    assert parcel.secrets == [secret]


async def test_changes_hold_for_what_is_pending_too(database: Database, tenant: UUID) -> None:
    made = await endpoint(database, tenant, tags=["a"])
    await succeeded(database, tenant, tags=["a"])
    async with database.transaction(tenant) as tx:
        changed = await tx.webhooks.update(made.id, EndpointChanges(url="https://new.example.org/", tags=[]))
        assert await tx.webhooks.update(uuid4(), EndpointChanges(url=URL)) is None
    assert changed is not None
    assert (changed.url, changed.tags, changed.events) == ("https://new.example.org/", [], [])
    (pending,) = await deliveries(database, tenant)
    assert pending.url == "https://new.example.org/"


async def test_a_disabled_endpoint_is_told_nothing_until_it_is_enabled(database: Database, tenant: UUID) -> None:
    made = await endpoint(database, tenant)
    await succeeded(database, tenant)
    async with database.transaction(tenant) as tx:
        row = await tx.webhooks.update(made.id, EndpointChanges(enabled=False))
    assert row is not None
    assert row.disabled_reason is DisabledReason.ASKED
    await succeeded(database, tenant)
    (missed,) = await deliveries(database, tenant)
    assert missed.state is DeliveryState.FAILED
    for refused in ("test", "redeliver", "range"):
        async with database.transaction(tenant) as tx:
            with pytest.raises(UsageError, match="disabled"):
                await {
                    "test": lambda: tx.webhooks.test(made.id),
                    "redeliver": lambda: tx.webhooks.redeliver(missed.id),
                    "range": lambda: tx.webhooks.redeliver_range(made.id, None, None, None),
                }[refused]()
    async with database.transaction(tenant) as tx:
        row = await tx.webhooks.update(made.id, EndpointChanges(enabled=True))
        assert row is not None
        assert (row.disabled_at, row.failing_since) == (None, None)
        assert await tx.webhooks.redeliver_range(made.id, None, None, DeliveryState.FAILED) == 1
    assert [ref.delivery_id for ref in await take(database)] == [missed.id]


async def test_a_range_is_redelivered_and_what_is_under_way_goes_on(
    database: Database, tenant: UUID, owner: asyncpg.Connection
) -> None:
    made = await endpoint(database, tenant)
    jobs = [await succeeded(database, tenant) for _ in range(4)]
    rows = {row.job_id: row for row in await deliveries(database, tenant)}
    await owner.execute(
        "UPDATE webhook_deliveries SET created_at = created_at - interval '1 day' WHERE job_id = $1", jobs[0].id
    )
    taken = {ref.delivery_id: ref for ref in await take(database)}
    for job in jobs[:3]:
        await record(database, taken[rows[job.id].id], OK)
    since = rows[jobs[1].id].created_at
    async with database.transaction(tenant) as tx:
        assert await tx.webhooks.redeliver_range(made.id, since, None, None) == 2
        assert await tx.webhooks.redeliver_range(uuid4(), None, None, None) is None
    assert {ref.delivery_id for ref in await take(database)} == {rows[job.id].id for job in jobs[1:3]}


async def test_a_test_goes_to_the_endpoint_asked_for_only(database: Database, tenant: UUID) -> None:
    made = await endpoint(database, tenant, events=["job.failed"])
    await endpoint(database, tenant)
    async with database.transaction(tenant) as tx:
        sent = await tx.webhooks.test(made.id)
        assert await tx.webhooks.test(uuid4()) is None
    assert sent is not None
    assert (sent.type, sent.endpoint_id) == (WebhookEvent.WEBHOOK_TEST, made.id)
    assert len(await deliveries(database, tenant)) == 1


async def test_a_foreign_webhook_is_a_missing_one(database: Database, tenant: UUID) -> None:
    made = await endpoint(database, tenant)
    await succeeded(database, tenant)
    (mine,) = await deliveries(database, tenant)
    async with database.transaction(await add_tenant(database)) as tx:
        assert await tx.webhooks.get(made.id) is None
        assert await tx.webhooks.list() == []
        assert await tx.webhooks.update(made.id, EndpointChanges(enabled=False)) is None
        assert await tx.webhooks.rotate(made.id, 0) is None
        assert await tx.webhooks.test(made.id) is None
        assert await tx.webhooks.redeliver(mine.id) is None
        assert await tx.webhooks.redeliver_range(made.id, None, None, None) is None
        assert await tx.webhooks.deliveries(DeliveryFilter()) == []
        assert not await tx.webhooks.delete(made.id)


async def test_an_endpoint_is_erased_with_its_log(database: Database, tenant: UUID) -> None:
    made = await endpoint(database, tenant)
    await succeeded(database, tenant)
    async with database.transaction(tenant) as tx:
        assert await tx.webhooks.delete(made.id)
        assert await tx.webhooks.list() == []
    assert await deliveries(database, tenant) == []


async def test_there_is_an_end_to_endpoints(database: Database, tenant: UUID) -> None:
    for _ in range(50):
        await endpoint(database, tenant)
    with pytest.raises(UsageError, match="50"):
        await endpoint(database, tenant)


async def test_the_log_ends_after_its_time(database: Database, tenant: UUID, owner: asyncpg.Connection) -> None:
    await endpoint(database, tenant)
    old, young = await succeeded(database, tenant), await succeeded(database, tenant)
    for ref in await take(database):
        await record(database, ref, OK)
    await owner.execute(
        "UPDATE webhook_deliveries SET created_at = created_at - interval '31 days' WHERE job_id = $1", old.id
    )
    async with database.fleet() as fleet:
        assert await fleet.deliveries.prune(30) == 1
    (left,) = await deliveries(database, tenant)
    assert left.job_id == young.id
    assert await owner.fetchval("SELECT count(*) FROM webhook_attempts") == 1


async def test_what_is_still_to_be_delivered_outlives_the_retention_of_the_log(
    database: Database, tenant: UUID, owner: asyncpg.Connection
) -> None:
    await endpoint(database, tenant)
    await succeeded(database, tenant)
    (ref,) = await take(database)
    await record(database, ref, msgspec.structs.replace(FAILED, retry_seconds=3 * 86_400.0))
    await owner.execute("UPDATE webhook_deliveries SET created_at = created_at - interval '2 days'")
    async with database.fleet() as fleet:
        assert await fleet.deliveries.prune(1) == 0
    (left,) = await deliveries(database, tenant)
    assert left.state is DeliveryState.PENDING


@pytest.mark.parametrize("direct", [False, True], ids=["endpoint", "addresses of jobs"])
async def test_of_two_rotations_at_once_the_later_ends_the_secret_of_the_earlier(
    database: Database, tenant: UUID, owner: asyncpg.Connection, direct: bool
) -> None:
    made = None if direct else (await endpoint(database, tenant)).id

    async def rotate() -> None:
        async with database.transaction(tenant) as tx:
            await tx.webhooks.rotate(made, 3600)

    async with database.transaction(tenant) as tx:
        await tx.webhooks.rotate(made, 3600)
        later = asyncio.create_task(rotate())
        await asyncio.sleep(0.3)
    await later
    assert await owner.fetchval("SELECT count(*) FROM webhook_secrets WHERE expires_at IS NULL") == 1
