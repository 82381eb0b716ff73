"""What processes do again and again beside their work: what breaks one step is told, and never ends the task."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, Never

import structlog

from milpa.errors import TransientError

log = structlog.get_logger(__name__)


async def repeat(seconds: float, *steps: Callable[[], Awaitable[Any]], at_once: bool = True) -> Never:
    """Take the steps for ever, each by itself; at_once: the first time now, not after a pause.

    seconds: the pause, a fifth shorter or longer by chance, so that many processes do not all come together.
    """
    while True:
        for step in steps if at_once else ():
            await patiently(step)
        at_once = True
        await asyncio.sleep(seconds * random.uniform(0.8, 1.2))  # noqa: S311  no secret


async def patiently(step: Callable[..., Awaitable[Any]], *arguments: Any) -> None:
    """Take the step. That it breaks, or that something does not answer now, is logged and no more: it comes again."""
    try:
        await step(*arguments)
    except TransientError as error:
        log.warning("step_unanswered", step=step.__qualname__, code=error.code)
    except Exception:
        log.exception("step_broke", step=step.__qualname__)
