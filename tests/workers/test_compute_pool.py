"""A pool of real child processes: what a solve may do to its process, and what the worker makes of it."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import psutil
import pytest

from milpa.errors import FatalError
from milpa.issues import Issue, Severity
from milpa.jobs import FileFormat, JobProgress, Priority
from milpa.settings import Settings
from workers.child_process import ChildOptions, ChildProcess, Ended
from workers.compute_pool import ComputePool
from workers.protocol import Blame, Failed, Limits, Render, Rendered, Solve, Solved

KINDS = "tests.workers.kinds"
SETTINGS = Settings(
    interactive_slots=1, batch_slots=1, child_memory_bytes=800_000_000, stop_grace_seconds=0.4, child_max_jobs=1000
)


@pytest.fixture(scope="module")
async def pool() -> AsyncIterator[ComputePool]:
    pool = ComputePool(SETTINGS, kinds=KINDS)
    await pool.start()
    yield pool
    await pool.close()


def task(act: str, *, limit: float = 30.0, **problem: Any) -> Solve:
    return Solve(kind="probe", problem=msgspec.json.encode({"act": act, **problem}), limits=Limits(seconds=limit))


async def compute(
    pool: ComputePool,
    work: Solve | Render,
    *,
    priority: Priority = Priority.INTERACTIVE,
    stop_after: float | None = None,
    seen: list[JobProgress] | None = None,
) -> Ended:
    stop = asyncio.Event()
    if stop_after is not None:
        asyncio.get_running_loop().call_later(stop_after, stop.set)
    return await pool.compute(work, priority, on_progress=(seen if seen is not None else []).append, stop=stop)


async def solved(pool: ComputePool, work: Solve, **options: Any) -> Solved:
    ended = await compute(pool, work, **options)
    assert isinstance(ended.answer, Solved), ended
    return ended.answer


async def failed(pool: ComputePool, work: Solve, **options: Any) -> Failed:
    ended = await compute(pool, work, **options)
    assert isinstance(ended.answer, Failed), ended
    return ended.answer


def solution(answer: Solved) -> dict[str, Any]:
    assert answer.result is not None
    return dict(msgspec.json.decode(answer.result)["solution"])


async def pid(pool: ComputePool, priority: Priority = Priority.INTERACTIVE) -> int:
    return int(solution(await solved(pool, task("answer"), priority=priority))["pid"])


async def test_an_answer_holds_all_that_is_kept_of_a_job(pool: ComputePool) -> None:
    answer = await solved(pool, task("answer", value=3.5))
    assert (answer.outcome, answer.limit, answer.objective, answer.bound, answer.gap) == (
        "optimal",
        None,
        3.5,
        3.5,
        0.0,
    )
    assert answer.verified is True
    assert answer.warnings == [
        Issue(code="probed", pointer="/problem/act", message="This is a probe.", severity=Severity.WARNING)
    ]
    assert answer.solve_seconds is not None
    assert answer.result is not None
    assert answer.report is not None
    assert list(msgspec.json.decode(answer.result)) == [
        "outcome", "objective", "bound", "gap", "solution", "explanation", "stats",
    ]  # fmt: skip
    assert list(msgspec.json.decode(answer.report)) == [
        "title", "subtitle", "currency", "facts", "sentences", "tables", "charts",
    ]  # fmt: skip


async def test_a_warm_start_reaches_the_kind_and_a_strange_one_is_left_out(pool: ComputePool) -> None:
    first = await solved(pool, task("answer"))
    assert solution(first)["warm"] is False
    again = await solved(pool, msgspec.structs.replace(task("answer"), warm_start=first.result))
    assert solution(again)["warm"] is True
    strange = await solved(pool, msgspec.structs.replace(task("answer"), warm_start=b'{"solution": {"tree": 1}}'))
    assert solution(strange)["warm"] is False


async def test_asked_files_come_with_the_answer_and_can_be_made_later_from_what_was_kept(pool: ComputePool) -> None:
    work = msgspec.structs.replace(task("answer"), formats=[FileFormat.CSV, FileFormat.XLSX], title="Q3 Élan / list")
    answer = await solved(pool, work)
    assert [file.name for file in answer.files] == ["probe-q3-elan-list.csv", "probe-q3-elan-list.xlsx"]
    assert answer.report is not None
    assert msgspec.json.decode(answer.report)["title"] == "Q3 Élan / list"
    assert answer.result is not None
    later = await compute(
        pool,
        Render(kind="probe", problem=work.problem, result=answer.result, formats=[FileFormat.CSV], title=work.title),
    )
    assert isinstance(later.answer, Rendered)
    assert later.answer.files == answer.files[:1]


async def test_one_warm_child_serves_many_tasks(pool: ComputePool) -> None:
    answers = [solution(await solved(pool, task("answer"))) for _ in range(3)]
    assert len({answer["pid"] for answer in answers}) == 1
    counts = [answer["tasks"] for answer in answers]
    assert counts == list(range(counts[0], counts[0] + 3))


async def test_interactive_and_batch_have_children_of_their_own_and_batch_yields(pool: ComputePool) -> None:
    interactive, batch = await asyncio.gather(pid(pool), pid(pool, Priority.BATCH))
    assert psutil.Process(interactive).nice() == psutil.Process().nice()
    assert psutil.Process(batch).nice() == min(19, psutil.Process().nice() + 10)


@pytest.mark.parametrize(
    ("act", "blame", "code"),
    [
        ("usage_error", Blame.USAGE, "too_odd"),
        ("transient_error", Blame.TRANSIENT, "busy"),
        ("fatal_error", Blame.FATAL, "broken_model"),
        ("bug", Blame.FATAL, "internal_error"),
        ("lie", Blame.FATAL, "verification_failed"),
    ],
)
async def test_an_error_says_who_is_to_blame_and_the_child_lives_on(
    pool: ComputePool, act: str, blame: Blame, code: str
) -> None:
    before = await pid(pool)
    failure = await failed(pool, task(act))
    assert (failure.blame, failure.code) == (blame, code)
    assert await pid(pool) == before


async def test_a_bug_shows_where_it_is_and_nothing_of_the_problem(pool: ComputePool) -> None:
    failure = await failed(pool, task("bug", text="Riyadh Towers"))
    assert failure.detail.startswith("ValueError < model.py:")
    assert "Riyadh" not in failure.detail + failure.message


async def test_a_problem_that_does_not_fit_its_kind_is_the_callers(pool: ComputePool) -> None:
    failure = await failed(pool, msgspec.structs.replace(task("answer"), problem=b'{"act": 7}'))
    assert (failure.blame, failure.code) == (Blame.USAGE, "invalid_problem")


async def test_an_unknown_kind_is_ours(pool: ComputePool) -> None:
    failure = await failed(pool, msgspec.structs.replace(task("answer"), kind="perpetuum-mobile"))
    assert (failure.blame, failure.code) == (Blame.FATAL, "unknown_kind")


async def test_what_is_printed_is_the_log_of_its_own_task_only(pool: ComputePool) -> None:
    assert (await compute(pool, task("print", text="ünlü"))).log.decode() == "ünlü\nand to stderr\n"
    assert (await compute(pool, task("print_in_c", text="from C"))).log == b"from C\n"
    assert (await compute(pool, task("answer"))).log == b""


async def test_half_a_line_is_in_the_log_of_its_own_task_too(pool: ComputePool) -> None:
    assert (await compute(pool, task("print_half_a_line", text="mine"))).log == b"minemine"
    assert (await compute(pool, task("print", text="yours"))).log == b"yours\nand to stderr\n"


async def test_a_crash_keeps_what_a_c_library_printed_before(pool: ComputePool) -> None:
    ended = await compute(pool, task("print_in_c", text="last words", seconds=1))
    assert isinstance(ended.answer, Failed)
    assert ended.answer.blame is Blame.CRASH
    assert ended.log == b"last words\n"


async def test_a_log_too_long_keeps_its_head_and_its_tail(pool: ComputePool) -> None:
    log = (await compute(pool, task("flood"))).log
    assert len(log) <= 1_001_000
    assert log.startswith(b"first line\n")
    assert log.endswith(b"last line\n")
    assert b"bytes left out" in log


@pytest.mark.parametrize(
    ("act", "words"), [("segfault", "ended by SIGSEGV"), ("exit", "ended by itself with exit code 7")]
)
async def test_a_child_that_dies_ends_its_task_and_the_next_gets_another(
    pool: ComputePool, act: str, words: str
) -> None:
    before = await pid(pool)
    failure = await failed(pool, task(act))
    assert (failure.blame, failure.code) == (Blame.CRASH, "solver_crashed")
    assert words in failure.message
    assert await pid(pool) != before


async def test_a_child_that_dies_idle_costs_no_task(pool: ComputePool) -> None:
    before = await pid(pool)
    os.kill(before, signal.SIGKILL)
    await gone(before)
    assert await pid(pool) != before


async def test_a_child_that_outgrows_its_memory_is_ended_with_memory_limit(pool: ComputePool) -> None:
    before = await pid(pool)
    failure = await failed(pool, task("allocate"))
    assert failure.code == "memory_limit"
    assert await pid(pool) != before
    assert not psutil.pid_exists(before)


async def test_progress_is_gathered_and_the_newest_wins(pool: ComputePool) -> None:
    seen: list[JobProgress] = []
    started = time.monotonic()
    await solved(pool, task("climb", seconds=1.0), seen=seen)
    assert 0 < len(seen) <= (time.monotonic() - started) / 0.1 + 1
    objectives = [progress.objective for progress in seen]
    assert objectives == sorted(objectives, key=float)  # type: ignore[arg-type]
    assert all(progress.phase == "solve" for progress in seen)
    assert seen[-1].bound == 1e6
    assert seen[-1].gap is not None


async def test_a_stop_keeps_the_best_and_the_child(pool: ComputePool) -> None:
    before = await pid(pool)
    answer = await solved(pool, task("climb"), stop_after=0.2)
    assert (answer.outcome, answer.limit) == ("feasible", "stopped")
    assert answer.result is not None
    assert await pid(pool) == before


async def test_a_stop_meets_no_later_task(pool: ComputePool) -> None:
    await solved(pool, task("answer", seconds=0.2), stop_after=0.1)
    answer = await solved(pool, task("climb", seconds=0.3))
    assert answer.limit == "time"


async def test_a_solver_deaf_to_a_stop_is_killed_after_the_grace_with_nothing_found(pool: ComputePool) -> None:
    before = await pid(pool)
    answer = await solved(pool, task("hang"), stop_after=0.1)
    assert (answer.outcome, answer.limit, answer.result) == ("no_solution", "stopped", None)
    await gone(before)


async def test_a_solver_that_ignores_its_time_limit_is_asked_to_stop_first(pool: ComputePool) -> None:
    answer = await solved(pool, task("climb", limit=0.2, seconds=3600.0))
    assert answer.limit == "time"


async def test_a_solver_that_ignores_time_limit_and_stop_is_killed(pool: ComputePool) -> None:
    before = await pid(pool)
    failure = await failed(pool, task("hang", limit=0.2))
    assert (failure.blame, failure.code) == (Blame.FATAL, "time_limit_ignored")
    await gone(before)


async def test_an_answer_in_hand_is_not_thrown_away_for_a_slow_explanation(pool: ComputePool) -> None:
    answer = await solved(pool, task("linger", limit=0.1, seconds=1.6), stop_after=0.3)
    assert answer.outcome == "optimal"


async def test_cancelling_kills_the_child(pool: ComputePool) -> None:
    before = await pid(pool)
    work = asyncio.create_task(compute(pool, task("hang")))
    await asyncio.sleep(0.1)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    await gone(before)
    assert await pid(pool) != before


@pytest.mark.parametrize("ticks", range(4))
async def test_a_cancel_in_the_moment_a_child_is_handed_over_is_not_lost(
    pool: ComputePool, monkeypatch: pytest.MonkeyPatch, ticks: int
) -> None:
    loop, idle = asyncio.get_running_loop(), pool._idle[Priority.INTERACTIVE]
    hand_over = idle.put_nowait

    def cancel(ticks_left: int) -> None:
        loop.call_soon(cancel, ticks_left - 1) if ticks_left else waiting.cancel()

    def hand_over_and_cancel(child: ChildProcess) -> None:
        hand_over(child)
        monkeypatch.undo()
        cancel(ticks)

    first = asyncio.create_task(compute(pool, task("answer", seconds=0.1)))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(compute(pool, task("hang")))
    await asyncio.sleep(0)
    monkeypatch.setattr(idle, "put_nowait", hand_over_and_cancel)
    await first
    await asyncio.wait({waiting}, timeout=5)
    ended = waiting.done()
    waiting.cancel()
    assert ended


async def test_a_child_sees_no_secret_of_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILPA_SEAL_KEYS", "k1:secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("PGPASSWORD", "secret")
    pool = ComputePool(SETTINGS, kinds=KINDS)
    try:
        await pool.start()
        seen = psutil.Process(await pid(pool)).environ()
        assert seen["PATH"] == os.environ["PATH"]
        assert not {"MILPA_SEAL_KEYS", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD"} & set(seen)
        assert "secret" not in " ".join(seen.values())
    finally:
        await pool.close()


async def test_no_library_of_a_child_takes_more_threads_than_the_setting_says(pool: ComputePool) -> None:
    seen = psutil.Process(await pid(pool)).environ()
    pools = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS", "RAYON_NUM_THREADS")
    assert {seen[name] for name in pools} == {str(SETTINGS.solve_threads)}


async def test_a_worn_child_is_replaced_without_a_pause() -> None:
    settings = msgspec.structs.replace(SETTINGS, batch_slots=0, child_max_jobs=3)
    pool = ComputePool(settings, kinds=KINDS)
    try:
        await pool.start()
        pids = []
        async with asyncio.timeout(60):
            while len(set(pids)) < 3:
                pids.append(await pid(pool))
                await asyncio.sleep(0.01)
        assert pids.count(pids[0]) >= 3
    finally:
        await pool.close()


async def test_a_child_whose_memory_has_grown_is_replaced() -> None:
    pool = ComputePool(msgspec.structs.replace(SETTINGS, batch_slots=0), kinds=KINDS)
    try:
        await pool.start()
        before = await pid(pool)
        await solved(pool, task("keep", value=250e6))
        async with asyncio.timeout(60):
            while await pid(pool) == before:
                pass
        await gone(before)
    finally:
        await pool.close()


async def test_a_child_that_cannot_start_fails_loudly_with_its_own_words() -> None:
    pool = ComputePool(SETTINGS, kinds="tests.workers.no_such_kinds")
    with pytest.raises(FatalError, match="no_such_kinds"):
        await pool.start()
    await pool.close()


async def test_closing_leaves_no_process_behind() -> None:
    pool = ComputePool(SETTINGS, kinds=KINDS)
    await pool.start()
    work = asyncio.create_task(compute(pool, task("hang")))
    await asyncio.sleep(0.1)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    pids = [child.pid for child in pool._children]
    await pool.close()
    assert pids
    assert not [pid for pid in pids if psutil.pid_exists(pid)]


async def gone(pid: int) -> None:
    async with asyncio.timeout(10):
        while psutil.pid_exists(pid):  # noqa: ASYNC110  another process: there is no event to wait for
            await asyncio.sleep(0.02)


async def test_a_slot_whose_child_died_while_it_was_looked_at_is_filled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, process = ComputePool(msgspec.structs.replace(SETTINGS, batch_slots=0), kinds=KINDS), psutil.Process
    try:
        await pool.start()
        first, failures = await pid(pool), iter([psutil.NoSuchProcess(1)])

        def gone_once(number: int) -> psutil.Process:
            for failure in failures:
                raise failure
            return process(number)

        monkeypatch.setattr("workers.child_process.psutil.Process", gone_once)
        os.kill(first, signal.SIGKILL)
        await gone(first)
        async with asyncio.timeout(60):
            assert await pid(pool) != first
        assert next(failures, None) is None
    finally:
        await pool.close()


async def test_a_child_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.child_process.START_SECONDS", 0.01)
    pool = ComputePool(SETTINGS, kinds=KINDS)
    with pytest.raises(FatalError, match="not ready within"):
        await pool.start()
    await pool.close()


async def test_children_that_cannot_be_started_leave_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(*_words: object, **_options: object) -> None:
        raise BlockingIOError("too many processes")

    options = ChildOptions.from_settings(SETTINGS, kinds=KINDS, niceness=0)
    monkeypatch.setattr(asyncio, "create_subprocess_exec", refused)
    before = psutil.Process().num_fds()
    for _ in range(5):
        with pytest.raises(BlockingIOError):
            await ChildProcess.start(options)
    assert psutil.Process().num_fds() == before
