"""Attempts at a job: one winner, guards against late messages, and every way an attempt can end."""

# ruff: noqa: S608  the names in these statements are those of our own tables

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from msgspec.structs import replace

from milpa.errors import UsageError
from milpa.jobs import EventType, JobError, JobProgress, JobState, LimitReached, Outcome
from storage.rows import Claim, ClaimRef, Ending, Heartbeat, JobRow
from storage.transaction import Database
from tests.storage.steps import (
    DONE,
    LEASE,
    WORKER,
    claim,
    events,
    finish,
    look,
    new_file,
    payload,
    submit,
    succeeded,
    types,
    warning,
)

Verb = Callable[[Database, ClaimRef], Coroutine[Any, Any, Any]]

AWAY = JobError("database_unavailable", "The database does not answer.")


async def expire(owner: asyncpg.Connection, job: JobRow) -> None:
    """Let the lease run out."""
    await owner.execute("UPDATE jobs SET lease_until = now() - interval '1 second' WHERE id = $1", job.id)


async def rescue(database: Database) -> list[JobRow]:
    async with database.fleet() as fleet:
        return await fleet.jobs.rescue()


async def heartbeat(
    database: Database, ref: ClaimRef, progress: JobProgress | None = None, event: EventType | None = None
) -> Heartbeat | None:
    async with database.transaction(ref.tenant_id) as tx:
        return await tx.jobs.heartbeat(ref, LEASE, progress, event)


async def retry(database: Database, ref: ClaimRef, delay: float = 0.0) -> bool:
    async with database.transaction(ref.tenant_id) as tx:
        return await tx.jobs.retry(ref, AWAY, delay)


async def crash(database: Database, ref: ClaimRef) -> bool:
    async with database.transaction(ref.tenant_id) as tx:
        return await tx.jobs.crash(ref)


async def release(database: Database, ref: ClaimRef) -> bool:
    async with database.transaction(ref.tenant_id) as tx:
        return await tx.jobs.release(ref)


async def ask(database: Database, job: JobRow, what: str) -> JobRow:
    async with database.transaction(job.tenant_id) as tx:
        return await getattr(tx.jobs, f"request_{what}")(job.id)


# Claim


async def test_a_claim_takes_the_job_and_all_that_its_worker_needs(database: Database, tenant: UUID) -> None:
    job = await submit(database, tenant, input=b"the problem")
    held = await claim(database, job)
    assert held.input == b"the problem"
    assert held.warm_start is None
    assert held.ref.attempt == 1
    running = await look(database, job)
    assert running == held.job
    assert (running.state, running.worker_id) == (JobState.RUNNING, WORKER)
    assert timedelta(seconds=0) < running.lease_until - running.started_at <= timedelta(seconds=LEASE)
    assert (await events(database, job))[-1].data == {"attempt": 1}


async def test_a_child_is_claimed_with_its_parents_result(database: Database, tenant: UUID) -> None:
    parent = await succeeded(database, tenant)
    child = await submit(database, tenant, parent_id=parent.id)
    assert (await claim(database, child)).warm_start == DONE.result


async def test_of_many_that_claim_at_once_one_wins(database: Database, tenant: UUID) -> None:
    job = await submit(database, tenant)

    async def attempt() -> Claim | None:
        async with database.transaction(tenant) as tx:
            return await tx.jobs.claim(job.id, job.dispatch_no, WORKER, LEASE)

    claims = await asyncio.gather(*(attempt() for _ in range(20)))
    assert sum(claim is not None for claim in claims) == 1
    assert await types(database, job) == ["queued", "started"]


async def test_a_stale_ring_claims_nothing(database: Database, tenant: UUID) -> None:
    job = await submit(database, tenant)
    await release(database, (await claim(database, job)).ref)
    async with database.transaction(tenant) as tx:
        assert await tx.jobs.claim(job.id, job.dispatch_no, WORKER, LEASE) is None
    assert (await look(database, job)).dispatch_no == job.dispatch_no + 1


# Heartbeat


async def test_a_heartbeat_renews_the_lease_and_keeps_the_newest_progress(database: Database, tenant: UUID) -> None:
    job = await submit(database, tenant)
    held = await claim(database, job, lease=1)
    progress = JobProgress(phase="solve", fraction=0.5, objective=1.0, bound=2.0, gap=1.0)
    assert await heartbeat(database, held.ref, progress) == Heartbeat(stop=False, cancel=False)
    assert await heartbeat(database, held.ref) == Heartbeat(stop=False, cancel=False)
    now = await look(database, job)
    assert now.progress == progress
    assert now.lease_until - held.job.lease_until > timedelta(seconds=LEASE - 5)
    assert await types(database, job) == ["queued", "started"]


async def test_progress_is_logged_at_most_once_a_second(
    database: Database, tenant: UUID, owner: asyncpg.Connection
) -> None:
    job = await submit(database, tenant)
    held = await claim(database, job)
    await heartbeat(database, held.ref, JobProgress(phase="build"), EventType.PHASE)
    for objective in (1.0, 2.0, 3.0):
        await heartbeat(database, held.ref, JobProgress(phase="solve", objective=objective), EventType.INCUMBENT)
    assert await types(database, job) == ["queued", "started", "phase"]
    assert (await look(database, job)).progress.objective == 3.0
    await owner.execute("UPDATE jobs SET progress_logged_at = progress_logged_at - interval '1 second'")
    await heartbeat(database, held.ref, JobProgress(phase="solve", objective=4.0), EventType.INCUMBENT)
    *_, last = await events(database, job)
    assert (last.type, last.seq, last.data) == (EventType.INCUMBENT, 4, {"phase": "solve", "objective": 4.0})


async def test_infinite_figures_of_a_solver_do_not_break_a_heartbeat(database: Database, tenant: UUID) -> None:
    held = await claim(database, await submit(database, tenant))
    await heartbeat(database, held.ref, JobProgress(objective=float("inf"), bound=float("nan")), EventType.INCUMBENT)
    assert (await look(database, held.job)).progress == JobProgress()


# Finish


async def test_finishing_keeps_everything_at_once(database: Database, tenant: UUID) -> None:
    job = await submit(database, tenant, warnings=[warning("from_check")])
    held = await claim(database, job)
    ending = replace(
        DONE,
        limit_reached=LimitReached.TIME,
        outcome=Outcome.FEASIBLE,
        warnings=[warning("from_solve")],
        progress=JobProgress(phase="render", fraction=1.0),
        files=[new_file(held.ref, "deals.xlsx"), new_file(held.ref, "deals.pdf")],
    )
    assert await finish(database, held.ref, ending)
    done = await look(database, job)
    for name in ("state", "outcome", "limit_reached", "objective", "verified", "solve_seconds", "progress"):
        assert getattr(done, name) == getattr(ending, name)
    assert done.warnings == [warning("from_check"), warning("from_solve")]
    assert done.finished_at is not None
    assert done.lease_until is None
    for name in ("result", "report", "log"):
        assert await payload(database, job, name) == getattr(ending, name)
    async with database.transaction(tenant) as tx:
        files = await tx.files.list(job.id)
        assert await tx.files.get(job.id, "deals.pdf") == files[0]
    assert [(file.name, file.object_key) for file in files] == [
        (name, f"{tenant}/{job.id}/1/{name}") for name in ("deals.pdf", "deals.xlsx")
    ]
    log = await events(database, job)
    assert [event.type for event in log] == ["queued", "started", "file", "file", "succeeded"]
    assert [event.seq for event in log] == [1, 2, 3, 4, 5] == list(range(1, done.last_seq + 1))
    assert log[2].data == {"name": "deals.xlsx", "format": "xlsx", "size": 4}
    assert log[-1].data == {
        "outcome": "feasible",
        "limit_reached": "time",
        "objective": 12.5,
        "verified": True,
        "solve_seconds": 0.25,
    }


async def test_a_failure_keeps_its_error_and_its_log(database: Database, tenant: UUID) -> None:
    job = await submit(database, tenant)
    error = JobError("memory_limit", "The solver needed more memory than it may have.")
    await finish(database, (await claim(database, job)).ref, Ending(state=JobState.FAILED, error=error, log=b"oom"))
    failed = await look(database, job)
    assert (failed.state, failed.error, failed.outcome) == (JobState.FAILED, error, None)
    assert await payload(database, job, "log") == b"oom"
    assert (await events(database, job))[-1].data == {"error": {"code": error.code, "message": error.message}}


async def test_finishing_twice_at_once_keeps_one_result(database: Database, tenant: UUID) -> None:
    held = await claim(database, await submit(database, tenant))
    endings = [replace(DONE, objective=float(number), result=str(number).encode()) for number in range(10)]
    kept = await asyncio.gather(*(finish(database, held.ref, ending) for ending in endings))
    assert sum(kept) == 1
    done = await look(database, held.job)
    assert done.objective == kept.index(True)
    assert await payload(database, held.job, "result") == str(kept.index(True)).encode()


async def test_a_cancelled_job_keeps_nothing_however_good_its_result(database: Database, tenant: UUID) -> None:
    held = await claim(database, await submit(database, tenant))
    assert (await ask(database, held.job, "cancel")).state is JobState.RUNNING
    assert (await heartbeat(database, held.ref)).cancel
    assert await finish(database, held.ref, replace(DONE, files=[new_file(held.ref)]))
    gone = await look(database, held.job)
    assert (gone.state, gone.outcome, gone.objective) == (JobState.CANCELLED, None, None)
    assert await payload(database, held.job, "result") is None
    async with database.transaction(tenant) as tx:
        assert await tx.files.list(held.job.id) == []
    assert await types(database, held.job) == ["queued", "started", "cancelled"]


async def test_a_stopped_job_keeps_the_best_it_has(database: Database, tenant: UUID) -> None:
    held = await claim(database, await submit(database, tenant))
    await ask(database, held.job, "stop")
    assert await heartbeat(database, held.ref) == Heartbeat(stop=True, cancel=False)
    assert await finish(database, held.ref, replace(DONE, outcome=Outcome.FEASIBLE, limit_reached="stopped"))
    assert (await look(database, held.job)).limit_reached == "stopped"


# Late messages


@pytest.fixture(params=["expired", "rescued", "claimed again", "ended"])
async def late(request: pytest.FixtureRequest, database: Database, tenant: UUID, owner: asyncpg.Connection) -> ClaimRef:
    """An attempt whose worker comes back late, in every way it can be late."""
    held = await claim(database, await submit(database, tenant))
    if request.param == "ended":
        assert await finish(database, held.ref)
        return held.ref
    await expire(owner, held.job)
    if request.param != "expired":
        (rescued,) = await rescue(database)
        if request.param == "claimed again":
            await claim(database, rescued)
    return held.ref


@pytest.mark.parametrize("verb", [heartbeat, finish, retry, crash, release])
async def test_a_late_message_changes_nothing(
    database: Database, owner: asyncpg.Connection, late: ClaimRef, verb: Verb
) -> None:
    tables = ("jobs", "job_events", "payloads", "files")
    before = [await owner.fetch(f"SELECT * FROM {table}") for table in tables]
    assert not await verb(database, late)
    assert [await owner.fetch(f"SELECT * FROM {table}") for table in tables] == before


# Going back


async def test_a_transient_error_sends_the_job_back_after_a_delay(database: Database, tenant: UUID) -> None:
    held = await claim(database, await submit(database, tenant))
    assert await retry(database, held.ref, delay=60)
    waiting = await look(database, held.job)
    assert (waiting.state, waiting.error_count, waiting.crash_count) == (JobState.QUEUED, 1, 0)
    assert waiting.run_at - held.job.run_at > timedelta(seconds=59)
    assert (waiting.dispatch_no, waiting.rung_at, waiting.lease_until) == (2, None, None)
    assert (await events(database, held.job))[-1].data == {
        "attempt": 1,
        "delay_seconds": 60,
        "error": {"code": AWAY.code, "message": AWAY.message},
    }


async def test_the_last_error_allowed_fails_the_job(database: Database, tenant: UUID) -> None:
    job = await submit(database, tenant)
    for _ in range(3):
        await retry(database, (await claim(database, await look(database, job))).ref)
    failed = await look(database, job)
    assert (failed.state, failed.error, failed.error_count) == (JobState.FAILED, AWAY, 3)
    assert await types(database, job) == [
        "queued",
        *("started", "retrying"),
        *("started", "retrying"),
        *("started", "failed"),
    ]


@pytest.mark.parametrize("how", ["lease", "child"])
async def test_the_third_crash_makes_a_job_poison(
    database: Database, tenant: UUID, owner: asyncpg.Connection, how: str
) -> None:
    job = await submit(database, tenant)
    for crashes in range(1, 4):
        held = await claim(database, await look(database, job))
        if how == "lease":
            await expire(owner, job)
            (back,) = await rescue(database)
        else:
            assert await crash(database, held.ref)
            back = await look(database, job)
        assert (back.crash_count, back.dispatch_no) == (crashes, crashes + 1)
    assert (back.state, back.error.code) == (JobState.FAILED, "poison")
    log = await events(database, job)
    assert [event.data.get("error", {}).get("code") for event in log[1:]] == [None, None, None, None, None, "poison"]
    again = "rescued" if how == "lease" else "retrying"
    assert await types(database, job) == ["queued", "started", again, "started", again, "started", "failed"]


async def test_a_release_counts_nothing_and_keeps_the_jobs_place(database: Database, tenant: UUID) -> None:
    held = await claim(database, await submit(database, tenant))
    assert await release(database, held.ref)
    waiting = await look(database, held.job)
    assert (waiting.state, waiting.error_count, waiting.crash_count) == (JobState.QUEUED, 0, 0)
    assert waiting.run_at == held.job.run_at
    assert await types(database, held.job) == ["queued", "started", "queued"]
    again = await claim(database, waiting)
    assert (again.job.attempt, again.job.started_at) == (2, held.job.started_at), "started once, for the first time"


async def test_rescue_takes_only_expired_leases_and_only_once(
    database: Database, tenant: UUID, owner: asyncpg.Connection
) -> None:
    held, healthy = [await claim(database, await submit(database, tenant)) for _ in range(2)]
    await expire(owner, held.job)
    rescued = await asyncio.gather(*(rescue(database) for _ in range(5)))
    assert [[job.id for job in jobs] for jobs in rescued if jobs] == [[held.job.id]]
    assert (await look(database, healthy.job)).state is JobState.RUNNING


@pytest.mark.parametrize("back", [retry, crash, release, "rescue"])
@pytest.mark.parametrize(("asked", "state"), [("stop", JobState.SUCCEEDED), ("cancel", JobState.CANCELLED)])
async def test_a_job_asked_to_end_does_not_go_back_to_the_queue(  # noqa: PLR0917  fixtures and cases
    database: Database, tenant: UUID, owner: asyncpg.Connection, back: Verb | str, asked: str, state: JobState
) -> None:
    held = await claim(database, await submit(database, tenant))
    await ask(database, held.job, asked)
    if back == "rescue":
        await expire(owner, held.job)
        await rescue(database)
    else:
        assert await back(database, held.ref)
    ended = await look(database, held.job)
    assert ended.state is state
    assert (ended.outcome, ended.limit_reached) == (
        (Outcome.NO_SOLUTION, "stopped") if asked == "stop" else (None, None)
    )
    assert await types(database, held.job) == ["queued", "started", state]


# Asking to end


@pytest.mark.parametrize(("asked", "state"), [("stop", JobState.SUCCEEDED), ("cancel", JobState.CANCELLED)])
async def test_a_job_that_does_not_run_yet_ends_at_once(
    database: Database, tenant: UUID, asked: str, state: JobState
) -> None:
    job = await submit(database, tenant)
    ended = await ask(database, job, asked)
    assert ended == await look(database, job)
    assert ended.state is state
    assert ended.outcome == (Outcome.NO_SOLUTION if asked == "stop" else None)
    assert await types(database, job) == ["queued", state]
    async with database.transaction(tenant) as tx:
        assert await tx.jobs.claim(job.id, job.dispatch_no, WORKER, LEASE) is None


@pytest.mark.parametrize("asked", ["stop", "cancel"])
async def test_an_ended_job_can_not_be_asked_to_end(database: Database, tenant: UUID, asked: str) -> None:
    job = await succeeded(database, tenant)
    with pytest.raises(UsageError) as refused:
        await ask(database, job, asked)
    assert refused.value.code == "job_ended"


async def test_asking_twice_keeps_the_first_time(database: Database, tenant: UUID) -> None:
    held = await claim(database, await submit(database, tenant))
    first = await ask(database, held.job, "stop")
    assert (await ask(database, held.job, "stop")).stop_requested_at == first.stop_requested_at


# Erasing


async def test_an_ended_job_is_erased_with_all_that_belongs_to_it(
    database: Database, tenant: UUID, owner: asyncpg.Connection
) -> None:
    job = await succeeded(database, tenant, files=["xlsx"])
    async with database.transaction(tenant) as tx:
        await tx.files.request(job.id, ["pdf"])
    async with database.transaction(tenant) as tx:
        assert await tx.jobs.delete(job.id) == [f"{tenant}/{job.id}/1/deals.xlsx"]
    for table in ("jobs", "job_events", "payloads", "files", "file_requests"):
        assert await owner.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_a_job_that_has_not_ended_is_not_erased(database: Database, tenant: UUID) -> None:
    for job in (await submit(database, tenant), (await claim(database, await submit(database, tenant))).job):
        with pytest.raises(UsageError) as refused:
            async with database.transaction(tenant) as tx:
                await tx.jobs.delete(job.id)
        assert refused.value.code == "job_not_ended"
