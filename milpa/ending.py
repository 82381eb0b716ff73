"""Ending for sure: tasks that don't listen, and processes with threads that can't."""

import asyncio
import os
import sys
from typing import Any, Never

AGAIN_SECONDS = 10.0
"""How long a task may take to clear up before it is cancelled once more."""


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until all have ended, however that was.

    What waits by `asyncio.wait_for`, as Redis's client does, may swallow a cancellation:
    https://github.com/python/cpython/issues/86296, mended in Python 3.12.
    """
    while going := [task for task in tasks if not task.done()]:
        for task in going:
            task.cancel()
        await asyncio.wait(going, timeout=AGAIN_SECONDS)


def leave() -> Never:
    """End this process, whose work is done and whose doors are closed.

    Python would wait for every thread: one that looks up a name, or asks an object store, may take minutes.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
