"""The child's end of the line to its worker: orders in, answers and progress out, stops on a pipe of their own."""

import io
import math
import os
import socket
import threading
import time
from typing import Any

import msgspec

from milpa.jobs import JobProgress
from solvers.result import relative_gap
from workers.protocol import LENGTH, STOP, FromChild, Order, Progressed, decode_order, frame

PROGRESS_SECONDS = 0.1
"""How long progress is gathered before the newest of it is sent; shorter tasks send none."""


class Channel:
    """Frames to and from the worker. Sending is safe from any thread."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._reader = self._socket.makefile("rb")
        self._sending = threading.Lock()

    def receive(self) -> Order | None:
        """Wait for the next order; None: the worker has hung up."""
        head = self._reader.read(LENGTH.size)
        if len(head) < LENGTH.size:
            return None
        return decode_order(self._reader.read(*LENGTH.unpack(head)))

    def send(self, message: FromChild) -> None:
        """Send one message, waiting until the worker takes it."""
        with self._sending:
            self._socket.sendall(frame(message))


class Stops:
    """Listens on the control pipe. `number`: the order last asked to stop. The end of the pipe ends this process."""

    def __init__(self, descriptor: int) -> None:
        self.number = 0
        self._pipe = io.FileIO(descriptor)
        threading.Thread(target=self._listen, daemon=True, name="stops").start()

    def _listen(self) -> None:
        while len(message := self._pipe.read(STOP.size) or b"") == STOP.size:
            (self.number,) = STOP.unpack(message)
        os._exit(0)


class Reporter:
    """The `Progress` of the running order: gathers, and sends the newest state a few times a second."""

    def __init__(self, channel: Channel, stops: Stops) -> None:
        self._channel = channel
        self._stops = stops
        self._number = 0
        self._state = JobProgress()
        self._running = False
        self._changing = threading.Lock()
        self._sending = threading.Lock()
        self._changed = threading.Event()
        threading.Thread(target=self._pump, daemon=True, name="progress").start()

    def begin(self, number: int) -> None:
        """Start anew for the order of that number."""
        self._number, self._state, self._running = number, JobProgress(), True

    def end(self) -> None:
        """Send nothing more for this order."""
        with self._sending:
            self._running = False

    def phase(self, name: str, fraction: float | None = None) -> None:
        """Enter a phase; fraction: share done, 0 to 1."""
        self._change(phase=name, fraction=fraction)

    def incumbent(self, objective: float | None, bound: float | None) -> None:
        """Report the best solution so far and the proven bound; None and infinities: not known yet."""
        objective, bound = _finite(objective), _finite(bound)
        gap = None if objective is None or bound is None else relative_gap(objective, bound)
        self._change(objective=objective, bound=bound, gap=gap)

    def stop_requested(self) -> bool:
        """Tell whether the worker wants this order to end now with the best it has."""
        return self._stops.number == self._number

    def _change(self, **values: Any) -> None:
        with self._changing:
            self._state = msgspec.structs.replace(self._state, **values)
        self._changed.set()

    def _pump(self) -> None:
        while True:
            self._changed.wait()
            time.sleep(PROGRESS_SECONDS)
            self._changed.clear()
            with self._sending:
                if self._running:
                    self._channel.send(Progressed(self._state))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
