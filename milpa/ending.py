"""Ending tasks for sure: what waits by `asyncio.wait_for`, as Redis's client does, may swallow a cancellation.

https://github.com/python/cpython/issues/86296, mended in Python 3.12.
"""

import asyncio
from typing import Any

AGAIN_SECONDS = 10.0
"""How long a task may take to clear up before it is cancelled once more."""


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until all have ended, however that was."""
    while going := [task for task in tasks if not task.done()]:
        for task in going:
            task.cancel()
        await asyncio.wait(going, timeout=AGAIN_SECONDS)
