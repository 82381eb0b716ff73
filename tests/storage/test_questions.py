"""A job made by a question about another one keeps the question."""

from uuid import UUID

import asyncpg

from milpa.jobs import JobError, JobState
from storage.rows import Ending
from storage.transaction import Database
from tests.storage.steps import claim, finish, new_job, payload, submit

ASKED = b'{"force":{"deal_id":"D"}}'


async def test_a_question_is_kept_sealed_beside_the_input(
    database: Database, tenant: UUID, owner: asyncpg.Connection
) -> None:
    job = await submit(database, tenant, question=ASKED)
    assert await payload(database, job, "question") == ASKED
    kept = await owner.fetchval("SELECT data FROM payloads WHERE job_id = $1 AND name = 'question'", job.id)
    assert b"deal_id" not in kept


async def test_a_job_that_answers_no_question_keeps_none(database: Database, tenant: UUID) -> None:
    assert await payload(database, await submit(database, tenant), "question") is None


async def test_the_jobs_of_a_batch_keep_their_own_questions(database: Database, tenant: UUID) -> None:
    asked = [b"1", None, b"3"]
    async with database.transaction(tenant) as tx:
        batch = await tx.jobs.submit_batch(None, [new_job(question=question) for question in asked])
    assert [await payload(database, job, "question") for job in batch.jobs] == asked


async def test_a_job_tried_again_keeps_its_parent_and_its_question(database: Database, tenant: UUID) -> None:
    parent = await submit(database, tenant)
    job = await submit(database, tenant, parent_id=parent.id, question=ASKED)
    ref = (await claim(database, job)).ref
    assert await finish(database, ref, Ending(state=JobState.FAILED, error=JobError("boom", "It broke.")))
    async with database.transaction(tenant) as tx:
        again = await tx.jobs.resubmit(job.id)
    assert again is not None
    assert again.parent_id == parent.id
    assert await payload(database, again, "question") == ASKED
