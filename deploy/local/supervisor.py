"""Keeps the parts of a stack running: starts them, starts again what dies, stops them in the right order."""

import subprocess
import time
from collections.abc import Callable

from deploy.local.processes import Part, ask, keep_small, log_end, start, wait_ended, wait_ready

_FIRST_DELAY, _LONGEST_DELAY = 0.25, 30.0
"""Seconds before a part that died is started again; doubled each time it dies young."""
_GROWN_UP = 60.0
"""Seconds after which a part's death is a new story, not the same trouble again."""
_LOG_BYTES = 20_000_000
"""The most that a part's log grows to; as much again is kept of what it said before."""


class Supervisor:
    """The running parts, in the order they were started. `tell` is called with one line for people per happening."""

    def __init__(self, tell: Callable[[str], None], log_bytes: int = _LOG_BYTES) -> None:
        self._tell = tell
        self._log_bytes = log_bytes
        self._groups: list[list[_Kept]] = []

    def start(self, *parts: Part) -> None:
        """Start the parts at once and return when all serve. FatalError, with the end of its log: one doesn't."""
        group: list[_Kept] = []
        self._groups.append(group)
        for part in parts:
            kept = _Kept(part)
            group.append(kept)
            kept.start()
        for kept in group:
            kept.wait()

    def look(self) -> None:
        """Start again what died and whose time has come, and keep logs small. Call it a few times a second."""
        for kept in self._all():
            keep_small(kept.part.log, self._log_bytes)
            for line in kept.look():
                self._tell(line)

    def stop(self) -> None:
        """Stop all, those that were started together at once, the last ones first."""
        for group in reversed(self._groups):
            for kept in group:
                kept.ask(kept.part.stop_signal)
            for kept in group:
                kept.stop()

    def kill(self) -> None:
        """End all at once, whatever they are doing. The database is still shut down properly."""
        for kept in self._all():
            kept.ask(kept.part.death_signal)
        for kept in self._all():
            kept.stop()

    def _all(self) -> "list[_Kept]":
        return [kept for group in self._groups for kept in group]


class _Kept:
    """One part and its present process."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._delay = _FIRST_DELAY
        self._due: float | None = None
        self._serves = True

    def start(self) -> None:
        self._process = start(self.part)
        self._started = time.monotonic()
        self._due = None

    def wait(self) -> None:
        if self._process is not None:
            wait_ready(self.part, self._process)

    def look(self) -> list[str]:
        """Take the next step, and return what there is to tell about it."""
        now = time.monotonic()
        if self._due is not None:
            if now >= self._due:
                self.start()
            return []
        if self._process is not None and self._process.poll() is not None:
            return self._mourn(now, self._process.returncode)
        if not self._serves and self.part.ready():
            self._serves = True
            return [f"{self.part.name} serves again"]
        return []

    def _mourn(self, now: float, code: int) -> list[str]:
        young = now - self._started < _GROWN_UP
        self._delay = min(self._delay * 2, _LONGEST_DELAY) if young and not self._serves else _FIRST_DELAY
        self._due = now + self._delay
        again = not self._serves
        self._serves = False
        how = f"was ended by signal {-code}" if code < 0 else f"ended with {code}"
        lines = [f"{self.part.name} {how}; starting it again in {self._delay:g} s"]
        return [*lines, *log_end(self.part.log, 5).splitlines()] if again else lines

    def ask(self, signal_number: int) -> None:
        if self._process is not None:
            ask(self._process, signal_number)

    def stop(self) -> None:
        """Wait until it has ended."""
        if self._process is not None:
            wait_ended(self.part, self._process)
