"""What a kind may do to the process it runs in, one function per act."""

# ruff: noqa: ARG001 - every act has the same arguments

import ctypes
import os
import signal
import sys
import time

import msgspec

from milpa.errors import FatalError, TransientError, UsageError
from milpa.jobs import LimitReached
from solvers.issues import Issue, Severity
from solvers.limits import SolveLimits
from solvers.progress import Progress
from solvers.result import SolveResult, SolveStatus
from tests.workers.kinds.probe.problem import Problem, Solution

answered: list[int] = []
kept: list[bytearray] = []


def solve(
    problem: Problem, limits: SolveLimits, progress: Progress, warm_start: Solution | None = None
) -> SolveResult[Solution]:
    answered.append(os.getpid())
    act = getattr(sys.modules[__name__], problem.act)
    limit = act(problem, limits, progress)
    value = problem.value + 1 if problem.act == "lie" else problem.value
    return SolveResult(
        status=SolveStatus.FEASIBLE if limit else SolveStatus.OPTIMAL,
        limit=limit,
        solution=Solution(value=value, pid=os.getpid(), warm=warm_start is not None, tasks=len(answered)),
        objective=value,
        bound=value,
        gap=0.0,
        warnings=[Issue(code="probed", pointer="/act", message="This is a probe.", severity=Severity.WARNING)],
    )


def answer(problem: Problem, limits: SolveLimits, progress: Progress) -> None:
    """Answer after the given seconds, deaf to everything."""
    progress.phase("solve", 0.5)
    time.sleep(problem.seconds)


def climb(problem: Problem, limits: SolveLimits, progress: Progress) -> LimitReached | None:
    """Find a better solution every millisecond until stopped or out of time: its own when given, else the limit."""
    progress.phase("solve")
    started = time.monotonic()
    for step in range(10**9):
        progress.incumbent(float(step), float("inf") if step < 5 else 1e6)
        if progress.stop_requested():
            return LimitReached.STOPPED
        if time.monotonic() - started > (problem.seconds or limits.seconds):
            return LimitReached.TIME
        time.sleep(0.001)
    return None


def hang(problem: Problem, limits: SolveLimits, progress: Progress) -> None:
    """Ignore stop and time limit."""
    progress.phase("solve")
    time.sleep(3600)


def linger(problem: Problem, limits: SolveLimits, progress: Progress) -> None:
    """Have the answer, and be slow in explaining it."""
    progress.phase("explain")
    time.sleep(problem.seconds)


def print(problem: Problem, limits: SolveLimits, progress: Progress) -> None:  # noqa: A001
    sys.stdout.write(f"{problem.text}\n")
    sys.stderr.write("and to stderr\n")


def tell_limits(problem: Problem, limits: SolveLimits, progress: Progress) -> None:
    """Print what there is to go by."""
    sys.stdout.write(msgspec.json.encode(limits).decode())


def print_in_c(problem: Problem, limits: SolveLimits, progress: Progress) -> None:
    """Print like a C library does; crash when told to, with nothing flushed by hand."""
    ctypes.CDLL(None).puts(problem.text.encode())
    if problem.seconds:
        os.kill(os.getpid(), signal.SIGSEGV)


def print_half_a_line(problem: Problem, limits: SolveLimits, progress: Progress) -> None:
    """Print without an end of the line, as Python and as a C library."""
    sys.stdout.write(problem.text)
    ctypes.CDLL(None).printf(b"%s", problem.text.encode())


def flood(problem: Problem, limits: SolveLimits, progress: Progress) -> None:
    """Print more than any log keeps."""
    sys.stdout.write("first line\n")
    for number in range(200_000):
        sys.stdout.write(f"line {number} of a solver that talks too much\n")
    time.sleep(0.5)
    sys.stdout.write("last line\n")


def segfault(problem: Problem, limits: SolveLimits, progress: Progress) -> None:
    ctypes.string_at(0)


def exit(problem: Problem, limits: SolveLimits, progress: Progress) -> None:  # noqa: A001
    os._exit(7)


def allocate(problem: Problem, limits: SolveLimits, progress: Progress) -> None:
    """Allocate without end, not faster than a watchdog can look."""
    hoard = []
    while True:
        hoard.append(bytearray(b"x" * 8_000_000))
        time.sleep(0.01)


def keep(problem: Problem, limits: SolveLimits, progress: Progress) -> None:
    """Leak as many bytes as the value says."""
    kept.append(bytearray(b"x" * int(problem.value)))


def usage_error(problem: Problem, limits: SolveLimits, progress: Progress) -> None:
    raise UsageError("too_odd", "This problem is too odd.")


def transient_error(problem: Problem, limits: SolveLimits, progress: Progress) -> None:
    raise TransientError("busy", "Try again later.")


def fatal_error(problem: Problem, limits: SolveLimits, progress: Progress) -> None:
    raise FatalError("broken_model", "The model contradicts itself.")


def print_and_fail(problem: Problem, limits: SolveLimits, progress: Progress) -> None:
    sys.stdout.write(f"{problem.seconds:g}\n")
    raise FatalError("broken_model", "The model contradicts itself.")


def bug(problem: Problem, limits: SolveLimits, progress: Progress) -> None:
    raise ValueError(f"secret {problem.text}")


def lie(problem: Problem, limits: SolveLimits, progress: Progress) -> None:
    """Answer with more than there is."""
