"""Files made later: one request per job, made once, tried again, and closed."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from milpa.errors import UsageError
from milpa.jobs import JobState
from storage.rows import Ending, FileRequest, JobRow, NewFile
from storage.transaction import Database
from tests.storage.steps import DONE, claim, finish, new_file, submit, succeeded, types


async def request(database: Database, job: JobRow, *formats: Any) -> FileRequest | None:
    async with database.transaction(job.tenant_id) as tx:
        return await tx.files.request(job.id, list(formats))


async def claim_files(database: Database, asked: FileRequest, tenant: UUID) -> FileRequest | None:
    async with database.transaction(tenant) as tx:
        return await tx.files.claim(asked.job_id, asked.dispatch_no)


async def requested(database: Database, job: JobRow) -> FileRequest | None:
    async with database.transaction(job.tenant_id) as tx:
        return await tx.files.requested(job.id)


def made(job: JobRow, name: str) -> NewFile:
    """A file made later: its key names no attempt."""
    row = new_file(_Later(job), name)
    return replace(row, object_key=f"{job.tenant_id}/{job.id}/later-1/{name}")


class _Later:
    def __init__(self, job: JobRow) -> None:
        self.tenant_id, self.job_id, self.attempt = job.tenant_id, job.id, 0


async def test_files_are_made_once_and_without_an_event(database: Database, tenant: UUID) -> None:
    job = await succeeded(database, tenant, files=["xlsx"])
    asked = await request(database, job, "pdf", "xlsx", "pdf")
    assert asked.formats == ["pdf"], "it has the other already"
    assert await requested(database, job) == asked
    taken = await claim_files(database, asked, tenant)
    assert taken == asked
    assert await claim_files(database, asked, tenant) is None, "its files are being made"
    async with database.transaction(tenant) as tx:
        assert await tx.files.finish(taken, [made(job, "deals.pdf")])
        assert not await tx.files.finish(taken, [made(job, "deals.pdf")])
        assert [file.name for file in await tx.files.list(job.id)] == ["deals.pdf", "deals.xlsx"]
    assert await requested(database, job) is None
    assert await request(database, job, "pdf", "xlsx") is None
    assert await types(database, job) == ["queued", "started", "file", "succeeded"]


async def test_asking_for_more_takes_the_request_over(database: Database, tenant: UUID) -> None:
    job = await succeeded(database, tenant)
    first = await claim_files(database, await request(database, job, "pdf"), tenant)
    more = await request(database, job, "csv")
    assert (more.formats, more.dispatch_no) == (["csv", "pdf"], first.dispatch_no + 1)
    async with database.transaction(tenant) as tx:
        assert not await tx.files.finish(first, [made(job, "deals.pdf")])
        assert await tx.files.list(job.id) == []
    assert await claim_files(database, more, tenant) == more


async def test_many_who_ask_at_once_share_one_request(database: Database, tenant: UUID) -> None:
    job = await succeeded(database, tenant)
    await asyncio.gather(*(request(database, job, format_) for format_ in ("pdf", "csv", "png", "xlsx")))
    assert (await requested(database, job)).formats == ["csv", "pdf", "png", "xlsx"]


async def test_a_failure_is_tried_again_until_the_last_error_allowed(database: Database, tenant: UUID) -> None:
    job = await succeeded(database, tenant)
    asked = await request(database, job, "pdf")
    for errors in (1, 2, 3):
        taken = await claim_files(database, asked, tenant)
        async with database.transaction(tenant) as tx:
            assert await tx.files.fail(taken)
            assert not await tx.files.fail(taken), "it was given back already"
        asked = await requested(database, job)
        assert errors == 3 or (asked.error_count, asked.dispatch_no) == (errors, errors + 1)
    assert asked is None
    assert await request(database, job, "pdf") is not None, "one may ask again"


async def test_a_job_without_a_report_has_no_files_to_make(database: Database, tenant: UUID) -> None:
    waiting = await submit(database, tenant)
    failed = (await claim(database, await submit(database, tenant))).job
    await finish(database, (await claim(database, await submit(database, tenant))).ref)
    bare = await succeeded(database, tenant, replace(DONE, report=None))
    async with database.transaction(tenant) as tx:
        await tx.jobs.request_cancel(failed.id)
    for job in (waiting, failed, bare):
        with pytest.raises(UsageError) as refused:
            await request(database, job, "pdf")
        assert refused.value.code == "job_without_report"


async def test_a_failed_job_has_none_either(database: Database, tenant: UUID) -> None:
    job = await submit(database, tenant)
    await finish(database, (await claim(database, job)).ref, Ending(state=JobState.FAILED))
    with pytest.raises(UsageError):
        await request(database, job, "pdf")


async def test_a_request_given_back_is_taken_at_once_by_another_worker(database: Database, tenant: UUID) -> None:
    job = await succeeded(database, tenant)
    taken = await claim_files(database, await request(database, job, "pdf"), tenant)
    async with database.transaction(tenant) as tx:
        assert await tx.files.release(taken)
        assert not await tx.files.release(taken), "it was given back already"
    async with database.fleet() as fleet:
        (ring,) = await fleet.jobs.admit()
    again = await requested(database, job)
    assert again is not None
    assert (again.dispatch_no, again.error_count) == (ring.dispatch_no, 0)
    assert await claim_files(database, again, tenant) == again
