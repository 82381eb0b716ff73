"""Waiting for what must come true, with a generous end."""

import asyncio
import time
from collections.abc import Awaitable, Callable


def wait_until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    """Return once `holds()`; fail when it still doesn't after `seconds`."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"still not so after {seconds:g} s"
        time.sleep(0.02)


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 30.0) -> None:
    """Return once `await holds()`; fail when it still doesn't after `seconds`."""
    deadline = time.monotonic() + seconds
    while not await holds():
        assert time.monotonic() < deadline, f"still not so after {seconds:g} s"
        await asyncio.sleep(0.05)
