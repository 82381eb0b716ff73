"""How much time what is only advice may take."""

import time

import msgspec

from solvers.limits import SolveLimits
from solvers.progress import Progress

_LEAST_SECONDS = 0.1


class Patience:
    """How long what is only advice may take: until the time is up or somebody asks to stop."""

    def __init__(self, limits: SolveLimits, progress: Progress, started: float) -> None:
        self._limits = limits
        self._progress = progress
        self._until = started + limits.seconds

    @property
    def limits(self) -> SolveLimits:
        """The limits of one more solve, within the time that is left."""
        return msgspec.structs.replace(self._limits, seconds=max(_LEAST_SECONDS, self._until - time.perf_counter()))

    @property
    def over(self) -> bool:
        """Whether to leave it at what is there."""
        return time.perf_counter() > self._until or self._progress.stop_requested()
