"""Warm child processes, as many as a worker has slots, replaced before they wear out and after they have died."""

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

import psutil
import structlog

from milpa.ending import end
from milpa.errors import FatalError, TransientError
from milpa.jobs import Priority
from milpa.settings import Settings
from workers.child_process import ChildOptions, ChildProcess, Ended, Listener
from workers.protocol import Task

BATCH_NICENESS = 10

WAIT_SECONDS = 60.0
"""How long a task waits for a child before it is given back."""

RESTART_SECONDS = 30.0
"""The longest pause between two tries to start a child."""

log = structlog.get_logger(__name__)


class ComputePool:
    """`interactive_slots + batch_slots` children; the batch ones yield to the others."""

    def __init__(self, settings: Settings, *, kinds: str = "solvers.kinds") -> None:
        self._slots = {Priority.INTERACTIVE: settings.interactive_slots, Priority.BATCH: settings.batch_slots}
        self._options = {
            priority: ChildOptions.from_settings(settings, kinds=kinds, niceness=niceness)
            for priority, niceness in ((Priority.INTERACTIVE, 0), (Priority.BATCH, BATCH_NICENESS))
        }
        self._idle: dict[Priority, asyncio.Queue[ChildProcess]] = {priority: asyncio.Queue() for priority in Priority}
        self._children: set[ChildProcess] = set()
        self._succeeded: set[ChildProcess] = set()
        self._retired: set[ChildProcess] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start the first child and wait for it, then the others. FatalError `child_failed`: it could not start."""
        first, *others = [priority for priority, count in self._slots.items() for _ in range(count)]
        await self._start_child(first)
        for priority in others:
            self._in_background(self._keep_starting(priority))

    async def compute(self, task: Task, priority: Priority, *, on_progress: Listener, stop: asyncio.Event) -> Ended:
        """Have a child do the task. Setting `stop` ends it with the best found; cancelling this call kills the child.

        TransientError `no_solver_process`: no child could be had.
        """
        child = await self._take(priority)
        try:
            return await child.compute(task, on_progress, stop)
        finally:
            self._give_back(child, priority)

    async def close(self) -> None:
        """Kill every child and wait until all have gone."""
        await end(*self._tasks)
        await asyncio.gather(*(child.close() for child in self._children))
        self._children.clear()

    async def _take(self, priority: Priority) -> ChildProcess:
        while True:
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    child = await self._idle[priority].get()
            except TimeoutError:
                raise TransientError("no_solver_process", "No solver process could be started.") from None
            if child.usable and child not in self._retired:
                return child
            self._dismiss(child, priority)

    def _give_back(self, child: ChildProcess, priority: Priority) -> None:
        if not child.usable or child in self._retired:
            self._dismiss(child, priority)
            return
        self._idle[priority].put_nowait(child)
        if child.worn and child not in self._succeeded:
            self._succeeded.add(child)
            self._in_background(self._keep_starting(priority, instead_of=child))

    def _dismiss(self, child: ChildProcess, priority: Priority) -> None:
        """Let a child go. One that died is replaced; one that is worn has its successor already, warm or starting."""
        if child not in self._children:
            return
        if child not in self._succeeded:
            self._in_background(self._keep_starting(priority))
        child.kill()
        self._in_background(self._bury(child))

    async def _bury(self, child: ChildProcess) -> None:
        await child.close()
        for children in (self._children, self._succeeded, self._retired):
            children.discard(child)

    async def _keep_starting(self, priority: Priority, *, instead_of: ChildProcess | None = None) -> None:
        pause = 1.0
        while True:
            try:
                await self._start_child(priority)
            except (FatalError, OSError, psutil.Error) as error:
                log.error("child_failed", reason=str(error))  # noqa: TRY400  the child's own log says more than our frames
                await asyncio.sleep(pause * random.random())  # noqa: S311  jitter
                pause = min(2 * pause, RESTART_SECONDS)
            else:
                break
        if instead_of in self._children:
            self._retired.add(instead_of)
            if not instead_of.busy:
                self._dismiss(instead_of, priority)

    async def _start_child(self, priority: Priority) -> None:
        child = await ChildProcess.start(self._options[priority])
        self._children.add(child)
        self._idle[priority].put_nowait(child)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
