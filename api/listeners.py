"""Whether those who follow streams are still known: asked once for all streams of one holder, every few seconds."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any


class Listeners:
    """What was last heard of each holder of a key or token who follows a stream of this process."""

    def __init__(self) -> None:
        self._answers: dict[str, tuple[float, asyncio.Task[bool]]] = {}

    async def known(self, holder: str, ask: Callable[[], Coroutine[Any, Any, bool]], seconds: float) -> bool:
        """Tell whether the holder is known, by an answer that is no older than so many seconds; else ask anew."""
        now = time.monotonic()
        asked_at, answer = self._answers.get(holder, (0.0, None))
        if answer is None or now - asked_at >= seconds:
            self._answers = {who: heard for who, heard in self._answers.items() if now - heard[0] < seconds}
            answer = asyncio.create_task(ask())
            self._answers[holder] = now, answer
        return answer.result() if answer.done() else await asyncio.shield(answer)
