"""What a child prints, C libraries included: a file in memory, readable even after the child has crashed."""

import fcntl
import os

LOG_BYTES = 1_000_000
"""The most that is kept of one log: its head and its tail, half each."""

CUT = b"\n[... %d bytes left out ...]\n"


class SolverLog:
    """An anonymous file that a child has as stdout and stderr, and that stays small while the child prints on."""

    def __init__(self, limit: int = LOG_BYTES) -> None:
        self._half = limit // 2
        self._file = os.memfd_create("solver-log")
        fcntl.fcntl(self._file, fcntl.F_SETFL, os.O_APPEND)
        self._head = b""
        self._dropped = 0

    def fileno(self) -> int:
        """Return the descriptor to hand to the child."""
        return self._file

    def clear(self) -> None:
        """Forget everything, before the next task."""
        self._head, self._dropped = b"", 0
        os.ftruncate(self._file, 0)

    def trim(self) -> None:
        """Keep head and tail of a log that has outgrown its limit. To be called now and then while a task runs."""
        size = os.fstat(self._file).st_size
        if size <= 2 * self._half:
            return
        if not self._head:
            self._head = os.pread(self._file, self._half, 0)
            self._dropped -= self._half
        tail = os.pread(self._file, self._half, size - self._half)
        os.ftruncate(self._file, 0)
        os.write(self._file, tail)
        self._dropped += size - len(tail)

    def read(self) -> bytes:
        """Return the log, cut in the middle when it was too long."""
        self.trim()
        rest = os.pread(self._file, 2 * self._half, 0)
        if not self._head:
            return rest
        dropped = self._dropped + max(0, len(rest) - self._half)
        return self._head + CUT % dropped + rest[-self._half :]

    def close(self) -> None:
        """Give the memory back, once the child has gone too."""
        os.close(self._file)
