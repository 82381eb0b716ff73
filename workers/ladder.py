"""When a solve is asked to stop, and when its process is killed. Pure: every time is given, in monotonic seconds."""

import math
from enum import Enum

ANSWER_IN_HAND = frozenset({"explain", "verify", "render"})
"""Phases that begin when the solver has ended: from there on nothing found is thrown away for being late."""


class Step(Enum):
    """What to do with a child now."""

    WAIT = "wait"
    STOP = "stop"
    KILL = "kill"


class Ladder:
    """The solver's own limit T, then a cooperative stop at T + grace, then the kill at T + 2 grace.

    A person's stop brings the kill forward to `grace_seconds` from then. Once the solver has ended, what is left
    (explaining, verifying, rendering) has `render_seconds` of its own. `limit_seconds` None: nothing is solved.
    """

    def __init__(self, now: float, *, limit_seconds: float | None, grace_seconds: float, render_seconds: float) -> None:
        self._grace = grace_seconds
        self._render = render_seconds
        self._answer_in_hand = limit_seconds is None
        if limit_seconds is None:
            self._stop_at, self._kill_at = math.inf, now + render_seconds
        else:
            self._stop_at = now + limit_seconds + grace_seconds
            self._kill_at = self._stop_at + grace_seconds

    @property
    def next_at(self) -> float:
        """The time of the next step."""
        return min(self._stop_at, self._kill_at)

    def asked_to_stop(self, now: float) -> None:
        """Note that somebody wants the best found so far, now."""
        if not self._answer_in_hand:
            self._stop_at = math.inf
            self._kill_at = min(self._kill_at, now + self._grace)

    def entered(self, phase: str | None, now: float) -> None:
        """Note the phase the child is in."""
        if phase in ANSWER_IN_HAND and not self._answer_in_hand:
            self._answer_in_hand = True
            self._stop_at, self._kill_at = math.inf, now + self._render

    def step(self, now: float) -> Step:
        """Return what is due. A stop is due once."""
        if now >= self._kill_at:
            return Step.KILL
        if now >= self._stop_at:
            self._stop_at = math.inf
            return Step.STOP
        return Step.WAIT
