"""The child of a worker: bytes in; result and files out; no network.

`python -m workers.compute` does its imports once, says `Ready`, and then answers one task after another. Whatever the
solvers print, C libraries included, goes to the file that the worker gave it as stdout and stderr: the solver's log.
"""

import argparse
import ctypes
import gc
import io
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from milpa.errors import FatalError, MilpaError, TransientError, UsageError
from solvers.explain import Explanation
from solvers.limits import SolveLimits
from solvers.progress import Progress
from solvers.registry import AnyKind, find_kinds
from solvers.report import Fact, Report, Table
from solvers.result import SolveResult, SolveStatus
from workers import renderers
from workers.child_line import Channel, Reporter, Stops
from workers.protocol import Answer, Blame, Failed, File, Ready, Render, Rendered, Solve, Solved, Task

S = TypeVar("S")

PR_SET_PDEATHSIG = 1
LINE_BUFFERED = 1
_LIBC = ctypes.CDLL(None)


class ResultPayload(msgspec.Struct, Generic[S], kw_only=True):
    """What is kept of a solve as the job's result; numbers in the kind's units."""

    outcome: SolveStatus
    objective: float | None = None
    bound: float | None = None
    gap: float | None = None
    solution: S | None = None
    explanation: Explanation = Explanation()
    stats: dict[str, Any] = {}


class ReportPayload(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a report: its figures, and charts as Vega-Lite with the data inside."""

    title: str
    subtitle: str
    currency: str
    facts: list[Fact]
    sentences: list[str]
    tables: list[Table]
    charts: list[renderers.ChartSpec]


def answer(task: Task, kinds: Mapping[str, AnyKind], progress: Progress) -> Answer:
    """Do a task. Every error becomes a `Failed` that says who is to blame and holds nothing of the caller's data."""
    try:
        kind = _kind(task.kind, kinds)
        return solve(kind, task, progress) if isinstance(task, Solve) else render(kind, task, progress)
    except MilpaError as error:
        return Failed(blame=_blame(error), code=error.code, message=error.message, detail=_where(error))
    except MemoryError:
        return Failed(blame=Blame.FATAL, code="memory_limit", message="The job needs more memory than it may use.")
    except Exception as error:  # noqa: BLE001  whatever a kind raises ends its job, never the child
        return Failed(
            blame=Blame.FATAL, code="internal_error", message="The solver failed unexpectedly.", detail=_where(error)
        )


def solve(kind: AnyKind, task: Solve, progress: Progress) -> Solved:
    """Decode, solve, verify, describe, render. FatalError `verification_failed`: the solution does not hold."""
    problem = _decode_problem(kind, task.problem)
    limits = SolveLimits(
        seconds=task.limits.seconds,
        relative_gap=task.limits.relative_gap,
        threads=task.limits.threads,
        seed=task.limits.seed,
    )
    started = time.perf_counter()
    result = kind.solve(problem, limits, progress, _warm_start(kind, task.warm_start))
    seconds = time.perf_counter() - started
    progress.phase("verify")
    verified = _verify(kind, problem, result)
    progress.phase("render")
    report = _describe(kind, problem, result, task.title)
    return Solved(
        outcome=result.status,
        limit=result.limit,
        objective=result.objective,
        bound=result.bound,
        gap=result.gap,
        verified=verified,
        warnings=[msgspec.structs.replace(issue, pointer=f"/problem{issue.pointer}") for issue in result.warnings],
        solve_seconds=seconds,
        result=_result_payload(result),
        report=_report_payload(report),
        files=_files(report, task),
    )


def render(kind: AnyKind, task: Render, progress: Progress) -> Rendered:
    """Describe a stored result once more and make files of it."""
    progress.phase("render")
    problem = _decode_problem(kind, task.problem)
    payload = msgspec.json.decode(task.result, type=ResultPayload[kind.solution])  # type: ignore[name-defined]
    result: SolveResult[Any] = SolveResult(
        status=payload.outcome,
        limit=task.limit,
        solution=payload.solution,
        objective=payload.objective,
        bound=payload.bound,
        gap=payload.gap,
        explanation=payload.explanation,
        stats=payload.stats,
    )
    return Rendered(_files(_describe(kind, problem, result, task.title), task))


def _kind(name: str, kinds: Mapping[str, AnyKind]) -> AnyKind:
    try:
        return kinds[name]
    except KeyError:
        raise FatalError("unknown_kind", f"This worker knows no kind {name!r}.") from None


def _decode_problem(kind: AnyKind, data: bytes) -> Any:
    try:
        return msgspec.json.decode(data, type=kind.problem)
    except msgspec.MsgspecError:
        raise UsageError("invalid_problem", f"The stored problem does not fit {kind.name} {kind.version}.") from None


def _warm_start(kind: AnyKind, payload: bytes | None) -> Any:
    """Return the solution inside a result payload, or None when it is of no use to this version of the kind."""
    if payload is None:
        return None
    try:
        return msgspec.json.decode(payload, type=ResultPayload[kind.solution]).solution  # type: ignore[name-defined]
    except msgspec.MsgspecError:
        return None


def _verify(kind: AnyKind, problem: Any, result: SolveResult[Any]) -> bool | None:
    if result.solution is None:
        return None
    violations = kind.verify(problem, result.solution)
    if violations:
        broken = ", ".join(sorted({violation.constraint for violation in violations})[:5])
        raise FatalError("verification_failed", f"The solution breaks constraints when recomputed: {broken}.")
    return True


def _describe(kind: AnyKind, problem: Any, result: SolveResult[Any], title: str) -> Report:
    report = kind.describe(problem, result)
    if not title:
        return report
    return msgspec.structs.replace(report, title=title, subtitle=report.subtitle or report.title)


def _result_payload(result: SolveResult[Any]) -> bytes:
    return msgspec.json.encode(
        ResultPayload(
            outcome=result.status,
            objective=result.objective,
            bound=result.bound,
            gap=result.gap,
            solution=result.solution,
            explanation=result.explanation,
            stats=result.stats,
        )
    )


def _report_payload(report: Report) -> bytes:
    return msgspec.json.encode(
        ReportPayload(
            title=report.title,
            subtitle=report.subtitle,
            currency=report.currency,
            facts=report.facts,
            sentences=report.sentences,
            tables=report.tables,
            charts=renderers.chart_specs(report),
        )
    )


def _files(report: Report, task: Task) -> list[File]:
    return [
        File(file.name, file.format, file.media_type, file.data)
        for format_ in dict.fromkeys(task.formats)
        for file in renderers.render(report, format_, stem=f"{task.kind} {task.title}")
    ]


def _blame(error: MilpaError) -> Blame:
    if isinstance(error, UsageError):
        return Blame.USAGE
    return Blame.TRANSIENT if isinstance(error, TransientError) else Blame.FATAL


def _where(error: Exception) -> str:
    """Return the error's type and the last places it passed, without its message: that may quote the caller's data."""
    places = traceback.extract_tb(error.__traceback__)[-5:]
    return " < ".join([type(error).__name__, *(f"{Path(p.filename).name}:{p.lineno} {p.name}" for p in places[::-1])])


def _belong_to_parent(parent: int) -> None:
    """Die with the worker, leave signals for the group to it, and be the kernel's first choice when memory is short."""
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _log_by_line() -> None:
    """Write what is printed at once, so that a crash loses none of it: Python's output and that of C libraries."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, encoding="utf-8", errors="backslashreplace")
    _LIBC.setvbuf(ctypes.c_void_p.in_dll(_LIBC, "stdout"), None, LINE_BUFFERED, 0)


def _end_the_log() -> None:
    """Write what was printed without an end of the line: it would stand in the log of the next task."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    _LIBC.fflush(None)


def _warm(kinds: Mapping[str, AnyKind]) -> None:
    """Import every kind's model and every renderer now, and keep the garbage collector from walking all that again."""
    renderers.warm()
    for kind in kinds.values():
        _ = kind.solve, kind.verify
    gc.collect()
    gc.freeze()


def main() -> None:
    """Serve tasks until the worker hangs up."""
    parser = argparse.ArgumentParser(prog="workers.compute", description=__doc__)
    parser.add_argument("--channel", type=int, required=True, help="descriptor of the socket for tasks and answers")
    parser.add_argument("--control", type=int, required=True, help="descriptor of the pipe for stops")
    parser.add_argument("--parent", type=int, required=True, help="process to die with")
    parser.add_argument("--kinds", default="solvers.kinds", help="package whose folders are the kinds")
    parser.add_argument("--nice", type=int, default=0, help="how much to yield to other processes, 0 to 19")
    arguments = parser.parse_args()

    _belong_to_parent(arguments.parent)
    _log_by_line()
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
    os.nice(arguments.nice)
    channel = Channel(arguments.channel)
    progress = Reporter(channel, Stops(arguments.control))
    kinds = find_kinds(import_module(arguments.kinds))
    _warm(kinds)
    channel.send(Ready())
    while (order := channel.receive()) is not None:
        progress.begin(order.number)
        reply = answer(order.task, kinds, progress)
        _end_the_log()
        progress.end()
        channel.send(reply)
        del order, reply
        gc.collect()


if __name__ == "__main__":
    main()
