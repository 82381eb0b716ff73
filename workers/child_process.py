"""The worker's end of one child process: starts it, gives it orders, watches its time and memory, ends it."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable

import msgspec
import psutil

from milpa.bare_environment import bare_environment
from milpa.errors import FatalError
from milpa.jobs import JobProgress, LimitReached, Outcome
from milpa.settings import Settings
from workers.ladder import Ladder, Step
from workers.protocol import (
    LENGTH,
    STOP,
    Answer,
    Blame,
    Failed,
    FromChild,
    Order,
    Progressed,
    Ready,
    Solve,
    Solved,
    Task,
    decode_from_child,
    frame,
)
from workers.solver_log import SolverLog
from workers.waiting import is_set_within

WATCH_SECONDS = 0.25
"""How often memory is looked at."""

START_SECONDS = 120.0
"""How long a process may take to import what it solves with."""

Listener = Callable[[JobProgress], None]


class ChildOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the children of one queue have in common.

    kinds: the package they serve. niceness: 0 to 19. memory_bytes: resident memory at which a child is ended.
    """

    kinds: str
    niceness: int
    threads: int
    memory_bytes: int
    max_tasks: int
    grace_seconds: float
    render_seconds: float

    @classmethod
    def from_settings(cls, settings: Settings, *, kinds: str, niceness: int) -> "ChildOptions":
        """Pick a child's part of the settings."""
        return cls(
            kinds=kinds,
            niceness=niceness,
            threads=settings.solve_threads,
            memory_bytes=settings.child_memory_bytes,
            max_tasks=settings.child_max_jobs,
            grace_seconds=settings.stop_grace_seconds,
            render_seconds=settings.render_seconds,
        )


class Ended(msgspec.Struct, frozen=True):
    """How a task ended, and what its solver printed."""

    answer: Answer
    log: bytes


class ChildProcess:
    """One warm child. It takes one task at a time; a child that had to be killed takes no more."""

    def __init__(
        self, options: ChildOptions, process: Process, line: socket.socket, control: int, log: SolverLog
    ) -> None:
        self._options = options
        self._process = process
        self._line = line
        self._control = control
        self._log = log
        self._memory = psutil.Process(process.pid)
        self._warm_bytes = 0
        self._number = 0
        self._killed = False
        self._closed = False
        self.busy = False

    @classmethod
    async def start(cls, options: ChildOptions) -> "ChildProcess":
        """Start a child and wait until it is warm. FatalError `child_failed`: it ended instead, with its last words."""
        line, childs_line = socket.socketpair()
        childs_control, control = os.pipe()
        log = SolverLog()
        with contextlib.ExitStack() as undo:
            undo.callback(line.close)
            undo.callback(os.close, control)
            undo.callback(log.close)
            try:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-m", "workers.compute", "--kinds", options.kinds),
                    *("--nice", str(options.niceness), "--parent", str(os.getpid())),
                    *("--channel", str(childs_line.fileno()), "--control", str(childs_control)),
                    stdin=DEVNULL,
                    stdout=log.fileno(),
                    stderr=log.fileno(),
                    pass_fds=(childs_line.fileno(), childs_control),
                    env=_environment(options.threads),
                )
            finally:
                childs_line.close()
                os.close(childs_control)
            child = cls(options, process, line, control, log)
            undo.pop_all()
        try:
            await child._become_warm()
        except BaseException:
            await child.close()
            raise
        return child

    async def _become_warm(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(sock=self._line)
        try:
            async with asyncio.timeout(START_SECONDS):
                first = await self._receive()
        except TimeoutError:
            raise FatalError("child_failed", f"A solver process was not ready within {START_SECONDS:g} s.") from None
        if not isinstance(first, Ready):
            printed = self._log.read().decode(errors="replace")
            raise FatalError("child_failed", f"A solver process could not start: {printed[-2000:]}")
        self._warm_bytes = self._memory.memory_info().rss

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def usable(self) -> bool:
        """Whether the process can take a task."""
        return self._process.returncode is None and not self._killed and self._alive()

    def _alive(self) -> bool:
        """Tell whether the process lives now: the event loop hears of its death a moment later, and reaps it."""
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        except ChildProcessError:
            return False

    @property
    def worn(self) -> bool:
        """Whether another process should take over: many tasks done, or memory that has not come back."""
        grown = self._resident() - self._warm_bytes
        return self._number >= self._options.max_tasks or grown > self._options.memory_bytes // 4

    async def compute(self, task: Task, on_progress: Listener, stop: asyncio.Event) -> Ended:
        """Do the task. Setting `stop` ends it with the best found. Any end but an answer kills the child."""
        self._number += 1
        self.busy = True
        self._log.clear()
        ladder = Ladder(
            time.monotonic(),
            limit_seconds=task.limits.seconds if isinstance(task, Solve) else None,
            grace_seconds=self._options.grace_seconds,
            render_seconds=self._options.render_seconds,
        )
        answering = asyncio.create_task(self._answer(task, ladder, on_progress))
        watching = asyncio.create_task(self._watch(ladder, stop))
        try:
            await asyncio.wait({answering, watching}, return_when=asyncio.FIRST_COMPLETED)
            answer = answering.result() if answering.done() else watching.result()
        finally:
            self.busy = False
            if not answering.done():
                self.kill()
            answering.cancel()
            watching.cancel()
        if isinstance(answer, Solved) and answer.limit == LimitReached.STOPPED and not stop.is_set():
            answer = msgspec.structs.replace(answer, limit=LimitReached.TIME)
        return Ended(answer, self._log.read())

    async def _answer(self, task: Task, ladder: Ladder, on_progress: Listener) -> Answer:
        with contextlib.suppress(ConnectionError):
            self._writer.write(frame(Order(self._number, task)))
            await self._writer.drain()
        while (message := await self._receive()) is not None:
            if isinstance(message, Progressed):
                ladder.entered(message.progress.phase, time.monotonic())
                on_progress(message.progress)
            elif not isinstance(message, Ready):
                return message
        return Failed(blame=Blame.CRASH, code="solver_crashed", message=_epitaph(await self._process.wait()))

    async def _receive(self) -> FromChild | None:
        try:
            head = await self._reader.readexactly(LENGTH.size)
            return decode_from_child(await self._reader.readexactly(*LENGTH.unpack(head)))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def _watch(self, ladder: Ladder, stop: asyncio.Event) -> Answer:
        """Wait until the child has to be killed, and return what that means for the job."""
        asked = False
        while True:
            pause = min(WATCH_SECONDS, max(0.0, ladder.next_at - time.monotonic()))
            if asked:
                await asyncio.sleep(pause)
            elif await is_set_within(stop, pause):
                asked = True
                self._ask_to_stop()
                ladder.asked_to_stop(time.monotonic())
            if self._resident() > self._options.memory_bytes:
                return Failed(
                    blame=Blame.FATAL, code="memory_limit", message="The job needs more memory than it may use."
                )
            self._log.trim()
            step = ladder.step(time.monotonic())
            if step is Step.STOP:
                self._ask_to_stop()
            elif step is Step.KILL:
                return _stopped_with_nothing() if asked else _overran()

    def _ask_to_stop(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._control, STOP.pack(self._number))

    def _resident(self) -> int:
        try:
            return int(self._memory.memory_info().rss)
        except psutil.NoSuchProcess:
            return 0

    def kill(self) -> None:
        """End the process at once."""
        self._killed = True
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def close(self) -> None:
        """End the process, wait until it has gone, and give back what it held. Closing twice does no harm."""
        self.kill()
        await self._process.wait()
        if self._closed:
            return
        self._closed = True
        if hasattr(self, "_writer"):
            self._writer.close()
        self._line.close()
        os.close(self._control)
        self._log.close()


def _environment(threads: int) -> dict[str, str]:
    """Return the child's environment: our import path, no secret, and libraries held to their threads."""
    pools = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS", "RAYON_NUM_THREADS")
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return bare_environment(**dict.fromkeys(pools, str(threads)), PYTHONPATH=path)


def _epitaph(code: int) -> str:
    if code >= 0:
        return f"The solver process ended by itself with exit code {code}."
    return f"The solver process was ended by {signal.Signals(-code).name}."


def _overran() -> Failed:
    message = "The solver went on after its time limit and had to be killed."
    return Failed(blame=Blame.FATAL, code="time_limit_ignored", message=message)


def _stopped_with_nothing() -> Solved:
    return Solved(outcome=Outcome.NO_SOLUTION, limit=LimitReached.STOPPED)
