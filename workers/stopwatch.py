"""How long each step of an attempt takes, for the log."""

import time


class Stopwatch:
    """Seconds from lap to lap."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.perf_counter()

    def lap(self, step: str) -> None:
        """Note that a step has ended; the next begins."""
        now = time.perf_counter()
        self.seconds[f"{step}_seconds"] = round(now - self._since, 6)
        self._since = now
