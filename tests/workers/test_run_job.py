"""One attempt at a job, against the real database, object store and children."""

import asyncio
import hashlib
import os
from datetime import timedelta

import msgspec
import pytest

from milpa.errors import TransientError
from milpa.jobs import FileFormat, JobOptions, JobState, Outcome, Priority
from milpa.settings import Settings
from solvers.limits import SolveLimits
from storage.rows import JobRow
from tests.workers.conftest import Desk
from workers.run_job import retry_delay

DEFAULTS = Settings()


async def test_a_solved_job_is_kept_with_all_there_is_to_know(desk: Desk) -> None:
    job = await desk.run(await desk.submit("print", text="hello", value=7.0))
    assert (job.state, job.outcome, job.limit_reached, job.attempt) == (JobState.SUCCEEDED, Outcome.OPTIMAL, None, 1)
    assert (job.objective, job.verified, job.error) == (7.0, True, None)
    assert job.solve_seconds is not None
    assert job.progress is not None
    assert (job.progress.fraction, job.progress.bound, job.progress.gap) == (1.0, 7.0, 0.0)
    assert [warning.pointer for warning in job.warnings] == ["/problem/act"]
    assert await desk.payload(job, "log") == b"hello\nand to stderr\n"
    assert await desk.payload(job, "report") is not None
    assert (await desk.solution(job))["value"] == 7.0
    assert await desk.events(job) == ["queued", "started", "succeeded"]


async def garble(desk: Desk, job: JobRow, name: str) -> None:
    async with desk.context.database.transaction(desk.tenant) as tenant:
        await tenant.connection.exec_driver_sql(
            "UPDATE payloads SET data = set_byte(data, length(data) - 1, 255 - get_byte(data, length(data) - 1))"
            " WHERE job_id = $1 AND name = $2",
            (job.id, name),
        )


async def test_a_job_whose_problem_cannot_be_opened_ends_and_says_so(desk: Desk) -> None:
    job = await desk.submit("answer")
    await garble(desk, job, "input")
    job = await desk.run(job)
    assert (job.state, job.attempt) == (JobState.FAILED, 1)
    assert job.error is not None
    assert job.error.code == "seal_broken"
    assert await desk.events(job) == ["queued", "started", "failed"]


async def test_a_parents_solution_that_cannot_be_opened_is_done_without(desk: Desk) -> None:
    parent = await desk.run(await desk.submit("answer"))
    await garble(desk, parent, "result")
    child = await desk.run(await desk.submit("answer", parent=parent.id))
    assert child.state is JobState.SUCCEEDED
    assert (await desk.solution(child))["warm"] is False


async def test_an_attempt_that_comes_back_late_takes_no_signal_from_its_successor(desk: Desk) -> None:
    job = await desk.submit("climb", limit=3600.0)
    late = asyncio.create_task(desk.run(job))
    await desk.reaches(job, JobState.RUNNING)
    successor = object()
    desk.context.leases[job.id] = successor  # type: ignore[assignment]  # the same worker has claimed it again
    desk.context.draining.set()
    await late
    assert desk.context.leases.pop(job.id) is successor


@pytest.mark.parametrize(
    ("options", "seconds", "threads"),
    [
        (JobOptions(), DEFAULTS.default_time_limit_seconds, DEFAULTS.solve_threads),
        (
            JobOptions(time_limit_seconds=9e9, relative_gap=0.25, threads=64, seed=77),
            DEFAULTS.max_time_limit_seconds,
            64,
        ),
    ],
)
async def test_a_job_is_solved_by_its_options_as_far_as_settings_and_machine_go(
    desk: Desk, options: JobOptions, seconds: float, threads: int
) -> None:
    ended = await desk.run(await desk.submit("tell_limits", options=options))
    assert msgspec.json.decode(await desk.payload(ended, "log") or b"", type=SolveLimits) == SolveLimits(
        seconds=seconds,
        relative_gap=options.relative_gap,
        threads=min(threads, os.cpu_count() or 1),
        seed=options.seed,
    )


async def test_a_stale_ring_is_dropped(desk: Desk) -> None:
    job = await desk.run(await desk.submit("answer"))
    again = await desk.run(job)
    assert (again.state, again.attempt) == (JobState.SUCCEEDED, 1)


async def test_files_are_uploaded_under_keys_of_the_attempt(desk: Desk) -> None:
    job = await desk.run(await desk.submit("answer", name="Q3", files=(FileFormat.CSV, FileFormat.XLSX)))
    async with desk.context.database.transaction(desk.tenant) as tenant:
        files = await tenant.files.list(job.id)
    assert [file.name for file in files] == ["probe-q3.csv", "probe-q3.xlsx"]
    for file in files:
        data = await desk.context.objects.get(file.object_key)
        *folders, secret, name = file.object_key.split("/")
        assert (folders, name) == ([str(desk.tenant), str(job.id), "1"], file.name)
        assert len(secret) == 32
        assert (file.size, file.sha256) == (len(data), hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize(
    ("act", "code"),
    [
        ("usage_error", "too_odd"),
        ("fatal_error", "broken_model"),
        ("bug", "internal_error"),
        ("lie", "verification_failed"),
    ],
)
async def test_an_error_that_would_come_again_fails_the_job_at_once(desk: Desk, act: str, code: str) -> None:
    job = await desk.run(await desk.submit(act))
    assert (job.state, job.attempt, job.outcome) == (JobState.FAILED, 1, None)
    assert job.error is not None
    assert job.error.code == code
    assert await desk.payload(job, "result") is None


async def test_a_failed_job_keeps_its_log(desk: Desk) -> None:
    job = await desk.run(await desk.submit("print_and_fail", seconds=12.5))
    assert job.state is JobState.FAILED
    assert await desk.payload(job, "log") == b"12.5\n"


async def test_a_failed_job_tells_nothing_of_our_stack(desk: Desk) -> None:
    job = await desk.run(await desk.submit("bug"))
    assert await desk.payload(job, "log") is None
    assert job.error is not None
    assert "Traceback" not in job.error.message


async def test_a_transient_error_is_tried_again_later_and_the_third_fails_the_job(desk: Desk) -> None:
    job = await desk.submit("transient_error")
    for errors in (1, 2):
        job = await desk.run(job)
        assert (job.state, job.error_count) == (JobState.QUEUED, errors)
        assert job.run_at - job.created_at < timedelta(seconds=10)
    job = await desk.run(job)
    assert (job.state, job.error_count) == (JobState.FAILED, 3)
    assert job.error is not None
    assert job.error.code == "busy"
    assert await desk.events(job) == ["queued", *["started", "retrying"] * 2, "started", "failed"]


async def test_an_object_store_that_is_away_is_a_transient_error(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(key: str, data: bytes) -> None:
        raise TransientError("object_store_unavailable", f"{key} {len(data)}")

    monkeypatch.setattr(desk.context.objects, "put", away)
    job = await desk.run(await desk.submit("answer", files=(FileFormat.CSV,)))
    assert (job.state, job.error_count) == (JobState.QUEUED, 1)


async def test_the_third_crash_of_a_solver_is_poison(desk: Desk) -> None:
    job = await desk.submit("segfault")
    for crashes in (1, 2):
        job = await desk.run(job)
        assert (job.state, job.crash_count) == (JobState.QUEUED, crashes)
    job = await desk.run(job)
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert job.error.code == "poison"


async def test_a_time_limit_is_held_even_against_a_deaf_solver(desk: Desk) -> None:
    job = await desk.run(await desk.submit("hang", limit=0.1))
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert job.error.code == "time_limit_ignored"


async def test_progress_reaches_the_log_not_more_than_once_a_second(desk: Desk) -> None:
    job = await desk.run(await desk.submit("climb", seconds=2.5))
    told = (await desk.events(job)).count("incumbent")
    assert 1 <= told <= 3


async def test_a_child_of_another_job_starts_from_its_parents_solution(desk: Desk) -> None:
    parent = await desk.run(await desk.submit("answer"))
    child = await desk.run(await desk.submit("answer", parent=parent.id))
    assert (await desk.solution(child))["warm"] is True


async def test_each_queue_has_its_own_children(desk: Desk) -> None:
    pids = {
        (await desk.solution(await desk.run(await desk.submit("answer", priority=priority))))["pid"]
        for priority in (Priority.INTERACTIVE, Priority.BATCH)
    }
    assert len(pids) == 2


async def test_a_control_signal_has_a_stop_heard_at_once(desk: Desk) -> None:
    job = await desk.submit("climb", limit=3600.0)
    running = asyncio.create_task(desk.run(job))
    await asyncio.sleep(0.2)
    async with desk.context.database.transaction(desk.tenant) as tenant:
        await tenant.jobs.request_stop(job.id)
    desk.context.on_control(str(job.id))
    stopped = await running
    assert (stopped.state, stopped.outcome, stopped.limit_reached) == (JobState.SUCCEEDED, Outcome.FEASIBLE, "stopped")
    assert (await desk.solution(stopped))["value"] == 1.0


async def test_a_cancel_is_found_by_the_heartbeat_without_any_signal(desk: Desk) -> None:
    job = await desk.submit("climb", limit=3600.0)
    running = asyncio.create_task(desk.run(job))
    await asyncio.sleep(0.2)
    async with desk.context.database.transaction(desk.tenant) as tenant:
        await tenant.jobs.request_cancel(job.id)
    cancelled = await running
    assert (cancelled.state, cancelled.outcome) == (JobState.CANCELLED, None)
    assert await desk.payload(job, "result") is None
    assert (await desk.events(job))[-1] == "cancelled"


async def test_a_draining_worker_gives_the_job_back_uncounted(desk: Desk) -> None:
    job = await desk.submit("climb", limit=3600.0)
    running = asyncio.create_task(desk.run(job))
    await asyncio.sleep(0.2)
    desk.context.draining.set()
    given_back = await running
    assert (given_back.state, given_back.error_count, given_back.crash_count) == (JobState.QUEUED, 0, 0)
    assert given_back.dispatch_no > job.dispatch_no
    assert desk.context.leases == {}


async def test_an_attempt_that_was_taken_over_writes_nothing(desk: Desk) -> None:
    job = await desk.submit("answer", seconds=1.0)
    running = asyncio.create_task(desk.run(job))
    await asyncio.sleep(0.2)
    async with desk.context.database.fleet() as fleet:
        await fleet.connection.exec_driver_sql(
            "UPDATE jobs SET lease_until = now() - interval '1 second' WHERE id = $1", (job.id,)
        )
        rescued = await fleet.jobs.rescue()
    assert job.id in [row.id for row in rescued]
    left = await running
    assert (left.state, left.crash_count) == (JobState.QUEUED, 1)
    assert await desk.payload(job, "result") is None


def test_a_retry_waits_a_random_time_that_doubles_up_to_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.run_job.random.uniform", lambda *ends: ends)
    assert [retry_delay(errors) for errors in (*range(8), 5000)] == [
        (0, most) for most in (1, 2, 4, 8, 16, 32, 60, 60, 60)
    ]
