"""A lease ends by our own clock before it ends by the database's; nothing is written after that."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest

from milpa.errors import TransientError
from milpa.jobs import EventType, JobProgress
from storage.jobs import JobStore
from storage.rows import ClaimRef, Ending, Heartbeat, JobState
from tests.support.waiting import until
from tests.workers.conftest import Desk
from workers.lease import Lease, Verdict


async def claimed(desk: Desk) -> Lease:
    job = await desk.submit("answer")
    taken_at = time.monotonic()
    async with desk.context.database.transaction(desk.tenant) as tenant:
        claim = await tenant.jobs.claim(job.id, job.dispatch_no, desk.context.id, desk.context.settings.lease_seconds)
    assert claim is not None
    return Lease(desk.context.database, desk.context.settings, claim.ref, taken_at)


@asynccontextmanager
async def silence(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """PostgreSQL does not answer."""

    @asynccontextmanager
    async def away(tenant: UUID) -> AsyncIterator[None]:
        raise TransientError("database_unavailable", str(tenant))
        yield

    with monkeypatch.context() as patched:
        patched.setattr(desk.context.database, "transaction", away)
        yield


async def test_heartbeats_keep_it_for_longer_than_it_was_taken(desk: Desk) -> None:
    lease = await claimed(desk)
    keeping = asyncio.create_task(lease.keep())
    await asyncio.sleep(desk.context.settings.lease_seconds * 1.5)
    assert not keeping.done()
    assert lease.seconds_left > 0
    keeping.cancel()


async def test_it_ends_before_the_databases(desk: Desk) -> None:
    lease = await claimed(desk)
    keeping = asyncio.create_task(lease.keep())
    await asyncio.sleep(1.0)
    left = lease.seconds_left
    async with desk.context.database.fleet() as fleet:
        statement = "SELECT extract(epoch FROM lease_until - clock_timestamp()) FROM jobs WHERE id = $1"
        in_database = (await fleet.connection.exec_driver_sql(statement, (lease.ref.job_id,))).scalar_one()
    assert left - 0.05 <= float(in_database) + 0.05
    keeping.cancel()


async def test_it_counts_from_before_a_heartbeat_was_sent(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    lease, beat = await claimed(desk), Lease._beat

    async def slow(lease: Lease) -> Heartbeat | None:
        answer = await beat(lease)
        await asyncio.sleep(0.5)  # on its way back
        return answer

    monkeypatch.setattr(Lease, "_beat", slow)
    keeping = asyncio.create_task(lease.keep())
    lease.beat_now()
    taken = lease._deadline

    async def renewed() -> bool:
        return lease._deadline > taken

    await until(renewed)
    assert lease.seconds_left < desk.context.settings.lease_seconds - 0.4
    keeping.cancel()


async def test_it_outlives_a_short_silence_of_the_database(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = await claimed(desk)
    keeping = asyncio.create_task(lease.keep())
    async with silence(desk, monkeypatch):
        await asyncio.sleep(1.0)
    await asyncio.sleep(desk.context.settings.lease_seconds)
    assert not keeping.done()
    keeping.cancel()


async def test_it_is_lost_by_our_own_clock_when_the_database_stays_silent(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = await claimed(desk)
    async with silence(desk, monkeypatch), asyncio.timeout(30):
        assert await lease.keep() is Verdict.LOST
    assert not await lease.write(lambda jobs: jobs.finish(lease.ref, Ending(state=JobState.FAILED)))
    async with desk.context.database.transaction(desk.tenant) as tenant:
        job = await tenant.jobs.get(lease.ref.job_id)
    assert job is not None
    assert job.state is JobState.RUNNING


async def test_the_write_that_ends_an_attempt_waits_for_the_database(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = await claimed(desk)
    async with silence(desk, monkeypatch):
        writing = asyncio.create_task(
            lease.write(lambda jobs: jobs.finish(lease.ref, Ending(state=JobState.CANCELLED)))
        )
        await asyncio.sleep(0.3)
        assert not writing.done()
    assert await writing


async def test_it_is_lost_when_another_attempt_has_the_job(desk: Desk) -> None:
    lease = await claimed(desk)
    async with desk.context.database.transaction(desk.tenant) as tenant:
        assert await tenant.jobs.release(lease.ref)
    lease.beat_now()
    async with asyncio.timeout(30):
        assert await lease.keep() is Verdict.LOST


@pytest.mark.parametrize(
    ("reports", "events"),
    [
        ([], []),
        ([JobProgress(phase="build")], [EventType.PHASE]),
        ([JobProgress(phase="build"), JobProgress(phase="solve", objective=1.0)], [EventType.INCUMBENT]),
        ([JobProgress(), JobProgress()], []),
    ],
)
async def test_progress_is_told_once_and_the_newest_wins(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, reports: list[JobProgress], events: list[EventType]
) -> None:
    told: list[tuple[JobProgress | None, EventType | None]] = []
    heartbeat = JobStore.heartbeat

    async def listen(
        store: JobStore, ref: ClaimRef, seconds: float, progress: JobProgress | None, event: EventType | None
    ) -> object:
        told.append((progress, event))
        return await heartbeat(store, ref, seconds, progress, event)

    monkeypatch.setattr(JobStore, "heartbeat", listen)
    lease = await claimed(desk)
    keeping = asyncio.create_task(lease.keep())
    for progress in reports:
        lease.report(progress)
    await asyncio.sleep(1.5)
    keeping.cancel()
    assert [event for _, event in told if event is not None] == events
    assert [progress for progress, _ in told if progress is not None] == reports[-1:]
