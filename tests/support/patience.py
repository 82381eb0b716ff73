"""An end to what would never end."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """Fail what takes longer, regular expressions included. For work that takes milliseconds, or else hours."""

    def too_long(*_: Any) -> None:
        raise AssertionError(f"it goes on after {seconds} seconds")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
