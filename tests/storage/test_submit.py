"""Submitting: what a job starts as, one job per idempotency key, batches, reuse, and trying again."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Never
from uuid import UUID

import asyncpg
import pytest

from milpa.errors import UsageError
from milpa.jobs import FileFormat, JobError, JobOptions, JobState, Outcome, Priority
from storage.rows import Ending, Idempotency, JobRow, SubmittedBatch
from storage.transaction import Database
from tests.storage.steps import (
    DONE,
    add_tenant,
    break_off,
    claim,
    events,
    finish,
    look,
    new_job,
    payload,
    submit,
    succeeded,
    types,
    warning,
)


async def test_a_submitted_job_waits_with_all_it_was_given(database: Database, tenant: UUID) -> None:
    given = new_job(
        options=JobOptions(time_limit_seconds=7, seed=3),
        files=[FileFormat.XLSX, FileFormat.PDF],
        name="Q3 Überblick",
        tags=["board", "q3"],
        priority=Priority.BATCH,
        webhook_url="https://example.org/hook",
        warnings=[warning("cap_never_binds")],
    )
    async with database.transaction(tenant) as tx:
        submitted = await tx.jobs.submit(given)
    job = submitted.job
    assert not submitted.replayed
    assert job == await look(database, job)
    for name in ("kind", "kind_version", "options", "files", "name", "tags", "priority", "webhook_url", "warnings"):
        assert getattr(job, name) == getattr(given, name)
    assert (job.state, job.attempt, job.last_seq, job.outcome) == (JobState.QUEUED, 0, 1, None)
    assert await types(database, job) == ["queued"]
    assert await payload(database, job, "input") == given.input


async def test_what_the_outside_sees_of_a_job_is_the_contract_of_the_api(database: Database, tenant: UUID) -> None:
    job = await succeeded(database, tenant)
    seen = job.public({"self": "/v1/jobs/1"})
    assert (seen.id, seen.state, seen.objective, seen.links) == (job.id, "succeeded", 12.5, {"self": "/v1/jobs/1"})
    assert not hasattr(seen, "tenant_id")


async def test_nothing_is_kept_of_a_submit_that_breaks_off(database: Database, tenant: UUID) -> Never:
    with pytest.raises(InterruptedError):
        await break_off(database, tenant, idempotency=Idempotency("key", b"body"))
    async with database.transaction(tenant) as tx:
        assert await tx.jobs.list() == []
        assert not (await tx.jobs.submit(new_job(idempotency=Idempotency("key", b"other body")))).replayed


async def test_the_payload_is_sealed_in_the_database(
    database: Database, tenant: UUID, owner: asyncpg.Connection
) -> None:
    job = await submit(database, tenant, input=b"a very secret marker " * 50)
    stored = await owner.fetchval("SELECT data FROM payloads WHERE job_id = $1", job.id)
    assert b"secret" not in stored
    assert len(stored) < 200


async def test_a_job_for_later_is_scheduled_and_queued_when_its_time_comes(
    database: Database, tenant: UUID, owner: asyncpg.Connection
) -> None:
    job = await submit(database, tenant, run_at=datetime.now(UTC) + timedelta(hours=1))
    assert (job.state, job.last_seq) == (JobState.SCHEDULED, 0)
    async with database.fleet() as fleet:
        assert await fleet.jobs.start_due() == 0
    await owner.execute("UPDATE jobs SET run_at = now() - interval '1 second'")
    async with database.fleet() as fleet:
        assert await fleet.jobs.start_due() == 1
        assert await fleet.jobs.start_due() == 0
    assert (await look(database, job)).state is JobState.QUEUED
    assert await types(database, job) == ["queued"]


async def test_a_job_for_a_time_gone_by_is_queued_at_once(database: Database, tenant: UUID) -> None:
    job = await submit(database, tenant, run_at=datetime.now(UTC) - timedelta(hours=1))
    assert job.state is JobState.QUEUED


@pytest.mark.parametrize("given", [{"name": "a\0b"}, {"tags": ["\0"]}, {"idempotency": Idempotency("\0", b"")}])
async def test_a_text_that_can_not_be_stored_is_the_callers_error(
    database: Database, tenant: UUID, given: dict[str, Any]
) -> None:
    with pytest.raises(UsageError) as refused:
        await submit(database, tenant, **given)
    assert refused.value.code == "bad_text"


async def test_a_problem_may_hold_any_character_and_its_warnings_too(database: Database, tenant: UUID) -> None:
    job = await submit(database, tenant, input=b'{"id":"\\u0000"}', warnings=[warning(message="deal a\0b")])
    assert job.warnings == [warning(message="deal a\ufffdb")]
    assert await payload(database, job, "input") == b'{"id":"\\u0000"}'


# Idempotency


async def test_the_same_key_and_body_give_the_same_job_as_it_is_now(database: Database, tenant: UUID) -> None:
    first = await submit(database, tenant, idempotency=Idempotency("key", b"body"))
    held = await claim(database, first)
    async with database.transaction(tenant) as tx:
        again = await tx.jobs.submit(new_job(idempotency=Idempotency("key", b"body")))
        assert len(await tx.jobs.list()) == 1
    assert (again.job.id, again.replayed, again.job.state) == (first.id, True, JobState.RUNNING)
    assert held.ref.job_id == first.id


async def test_the_same_key_with_another_body_is_refused(database: Database, tenant: UUID) -> None:
    await submit(database, tenant, idempotency=Idempotency("key", b"body"))
    with pytest.raises(UsageError) as refused:
        await submit(database, tenant, idempotency=Idempotency("key", b"other"))
    assert refused.value.code == "idempotency_conflict"
    async with database.transaction(tenant) as tx:
        assert len(await tx.jobs.list()) == 1


async def test_a_key_belongs_to_one_tenant(database: Database, tenant: UUID) -> None:
    mine = await submit(database, tenant, idempotency=Idempotency("key", b"body"))
    other = await submit(database, await add_tenant(database), idempotency=Idempotency("key", b"other"))
    assert mine.id != other.id


async def test_many_submits_at_once_with_one_key_make_one_job(database: Database, tenant: UUID) -> None:
    made = await asyncio.gather(*(submit(database, tenant, idempotency=Idempotency("key", b"body")) for _ in range(12)))
    assert len({job.id for job in made}) == 1
    async with database.transaction(tenant) as tx:
        assert len(await tx.jobs.list()) == 1


async def test_a_submit_behind_one_that_breaks_off_takes_the_key(database: Database, tenant: UUID) -> None:
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def breaks_off() -> Never:
        async with database.transaction(tenant) as tx:
            await tx.jobs.submit(new_job(idempotency=Idempotency("key", b"body")))
            inside.set()
            await go_on.wait()
            raise InterruptedError

    broken = asyncio.create_task(breaks_off())
    await inside.wait()
    second = asyncio.create_task(submit(database, tenant, idempotency=Idempotency("key", b"other body")))
    await asyncio.sleep(0.05)
    assert not second.done()
    go_on.set()
    assert (await second).state is JobState.QUEUED
    with pytest.raises(InterruptedError):
        await broken


async def test_a_key_ends_after_its_time(database: Database, tenant: UUID, owner: asyncpg.Connection) -> None:
    first = await submit(database, tenant, idempotency=Idempotency("key", b"body"))
    left = await owner.fetchval("SELECT expires_at - now() FROM idempotency_keys")
    assert timedelta(hours=23, minutes=50) < left <= timedelta(hours=24)
    await owner.execute("UPDATE idempotency_keys SET expires_at = now()")
    second = await submit(database, tenant, idempotency=Idempotency("key", b"other"))
    assert first.id != second.id
    assert await owner.fetchval("SELECT count(*) FROM idempotency_keys") == 1


async def test_a_key_is_free_again_once_its_job_is_erased(database: Database, tenant: UUID) -> None:
    job = await submit(database, tenant, idempotency=Idempotency("key", b"body"))
    async with database.transaction(tenant) as tx:
        await tx.jobs.request_cancel(job.id)
        await tx.jobs.delete(job.id)
    assert (await submit(database, tenant, idempotency=Idempotency("key", b"other"))).id != job.id


# Batches


async def test_a_batch_makes_its_jobs_in_order_and_counts_them(database: Database, tenant: UUID) -> None:
    async with database.transaction(tenant) as tx:
        made = await tx.jobs.submit_batch(
            "night", [new_job(name=f"job {number}", priority=Priority.BATCH) for number in range(5)], "https://e.org/"
        )
    assert [job.name for job in made.jobs] == [f"job {number}" for number in range(5)]
    assert {job.batch_id for job in made.jobs} == {made.batch_id}
    await finish(database, (await claim(database, made.jobs[1])).ref)
    async with database.transaction(tenant) as tx:
        batch = await tx.batches.get(made.batch_id)
        assert await tx.batches.get(made.jobs[0].id) is None
    assert (batch.name, batch.size, batch.webhook_url) == ("night", 5, "https://e.org/")
    assert batch.counts == {JobState.QUEUED: 4, JobState.SUCCEEDED: 1}
    assert await types(database, made.jobs[4]) == ["queued"]
    assert await payload(database, made.jobs[4], "input") == new_job().input


async def test_a_batch_of_a_thousand_is_one_transaction(database: Database, tenant: UUID) -> None:
    async with database.transaction(tenant) as tx:
        made = await tx.jobs.submit_batch(None, [new_job() for _ in range(1000)])
    async with database.transaction(tenant) as tx:
        assert (await tx.batches.get(made.batch_id)).counts == {JobState.QUEUED: 1000}


@pytest.mark.parametrize("size", [0, 1001])
async def test_a_batch_of_none_or_too_many_is_refused(database: Database, tenant: UUID, size: int) -> None:
    with pytest.raises(UsageError) as refused:
        async with database.transaction(tenant) as tx:
            await tx.jobs.submit_batch(None, [new_job()] * size)
    assert refused.value.code == "batch_size"


async def test_a_batch_is_made_once_for_its_key(database: Database, tenant: UUID) -> None:
    async def submit_batch(body: bytes) -> SubmittedBatch:
        async with database.transaction(tenant) as tx:
            return await tx.jobs.submit_batch("night", [new_job(), new_job()], idempotency=Idempotency("key", body))

    first, *more = await asyncio.gather(*(submit_batch(b"body") for _ in range(4)))
    assert sorted(made.replayed for made in (first, *more)) == [False, True, True, True]
    assert {made.batch_id for made in more} == {first.batch_id}
    assert [job.id for job in more[0].jobs] == [job.id for job in first.jobs]
    with pytest.raises(UsageError):
        await submit_batch(b"other")
    with pytest.raises(UsageError):
        await submit(database, tenant, idempotency=Idempotency("key", b"body"))


# Reuse


async def test_reuse_answers_with_an_earlier_result_of_the_same_problem(database: Database, tenant: UUID) -> None:
    first = await succeeded(database, tenant, files=["xlsx", "pdf"])
    again = await submit(database, tenant, reuse=True, files=["pdf"])
    assert (again.state, again.reused_from, again.attempt) == (JobState.SUCCEEDED, first.id, 0)
    for name in ("outcome", "objective", "verified", "solve_seconds", "warnings"):
        assert getattr(again, name) == getattr(first, name)
    assert again.finished_at is not None
    assert await payload(database, again, "result") == DONE.result
    assert await payload(database, again, "report") == DONE.report
    assert await types(database, again) == ["queued", "succeeded"]
    assert (await events(database, again))[1].data["reused_from"] == str(first.id)
    async with database.transaction(tenant) as tx:
        assert [file.name for file in await tx.files.list(again.id)] == ["deals.pdf"]
        assert await tx.files.requested(again.id) is None


async def test_reuse_has_the_formats_made_that_the_earlier_job_lacks(database: Database, tenant: UUID) -> None:
    await succeeded(database, tenant, files=["xlsx"])
    again = await submit(database, tenant, reuse=True, files=["xlsx", "pdf"])
    async with database.transaction(tenant) as tx:
        assert [file.format for file in await tx.files.list(again.id)] == ["xlsx"]
        assert (await tx.files.requested(again.id)).formats == ["pdf"]


@pytest.mark.parametrize(
    "other",
    [
        {"kind": "leasing-mix"},
        {"kind_version": 2},
        {"input": b'{"deals":[1]}'},
        {"options": JobOptions(seed=1)},
        {"options": JobOptions(relative_gap=0.01)},
    ],
)
async def test_reuse_needs_the_same_kind_version_problem_and_options(
    database: Database, tenant: UUID, other: dict[str, Any]
) -> None:
    await succeeded(database, tenant)
    assert (await submit(database, tenant, reuse=True, **other)).state is JobState.QUEUED


@pytest.mark.parametrize("outcome", [Outcome.FEASIBLE, Outcome.NO_SOLUTION, Outcome.UNBOUNDED])
async def test_only_proven_answers_are_reused(database: Database, tenant: UUID, outcome: Outcome) -> None:
    await succeeded(database, tenant, Ending(state=JobState.SUCCEEDED, outcome=outcome, result=b"{}"))
    assert (await submit(database, tenant, reuse=True)).state is JobState.QUEUED


async def test_an_infeasible_answer_is_reused_too(database: Database, tenant: UUID) -> None:
    ending = Ending(state=JobState.SUCCEEDED, outcome=Outcome.INFEASIBLE, result=b"{}")
    first = await succeeded(database, tenant, ending)
    assert (await submit(database, tenant, reuse=True)).reused_from == first.id


async def test_nothing_is_reused_unasked_or_from_another_tenant(database: Database, tenant: UUID) -> None:
    await succeeded(database, tenant)
    assert (await submit(database, tenant)).state is JobState.QUEUED
    assert (await submit(database, await add_tenant(database), reuse=True)).state is JobState.QUEUED


async def test_in_a_batch_those_that_can_be_reused_end_at_once(database: Database, tenant: UUID) -> None:
    first = await succeeded(database, tenant)
    async with database.transaction(tenant) as tx:
        made = await tx.jobs.submit_batch(None, [new_job(), new_job(reuse=True), new_job(input=b"other", reuse=True)])
    assert [job.state for job in made.jobs] == ["queued", "succeeded", "queued"]
    assert made.jobs[1].reused_from == first.id


async def test_reuse_and_erasing_the_original_at_once_leave_no_dangling_file(database: Database, tenant: UUID) -> None:
    first = await succeeded(database, tenant, files=["xlsx"])
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def reuse() -> JobRow:
        async with database.transaction(tenant) as tx:
            made = (await tx.jobs.submit(new_job(reuse=True, files=["xlsx"]))).job
            inside.set()
            await go_on.wait()
            return made

    async def erase() -> Sequence[str] | None:
        async with database.transaction(tenant) as tx:
            return await tx.jobs.delete(first.id)

    reusing = asyncio.create_task(reuse())
    await inside.wait()
    erasing = asyncio.create_task(erase())
    await asyncio.sleep(0.05)
    assert not erasing.done()
    go_on.set()
    made = await reusing
    assert await erasing == []
    async with database.transaction(tenant) as tx:
        (file,) = await tx.files.list(made.id)
        assert await tx.jobs.delete(made.id) == [file.object_key]


# Trying again


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED])
async def test_a_job_that_failed_or_was_cancelled_is_tried_again_as_a_new_one(
    database: Database, tenant: UUID, state: JobState
) -> None:
    job = await submit(database, tenant, name="try", tags=["a"], files=["pdf"], options=JobOptions(seed=9))
    await finish(database, (await claim(database, job)).ref, Ending(state=state, error=JobError("code", "why")))
    async with database.transaction(tenant) as tx:
        again = await tx.jobs.resubmit(job.id)
    assert again.id != job.id
    assert (again.state, again.error, again.error_count) == (JobState.QUEUED, None, 0)
    for name in ("kind", "kind_version", "name", "tags", "files", "options", "priority", "input_hash"):
        assert getattr(again, name) == getattr(job, name)
    assert await payload(database, again, "input") == new_job().input


async def test_other_jobs_are_not_tried_again(database: Database, tenant: UUID) -> None:
    waiting, done = await submit(database, tenant), await succeeded(database, tenant)
    for job in (waiting, done):
        with pytest.raises(UsageError) as refused:
            async with database.transaction(tenant) as tx:
                await tx.jobs.resubmit(job.id)
        assert refused.value.code == "not_retryable"
