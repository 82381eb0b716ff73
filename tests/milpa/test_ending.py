"""Tasks end when they are told to, whatever they wait by."""

import asyncio

import pytest

from milpa import ending
from milpa.ending import end


async def test_a_task_that_swallows_a_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "AGAIN_SECONDS", 0.01)
    swallowed = []

    async def deaf() -> None:
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                swallowed.append(True)
                if len(swallowed) == 3:
                    raise

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await end(task)
    assert (task.cancelled(), len(swallowed)) == (True, 3)


async def test_what_is_cleared_up_at_the_end_is_waited_for() -> None:
    cleared = []

    async def orderly() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.05)
            cleared.append(True)

    async def broken() -> None:
        raise ValueError

    tasks = [asyncio.create_task(orderly()), asyncio.create_task(broken())]
    await asyncio.sleep(0)
    await end(*tasks)
    await end()
    assert cleared == [True]
    assert isinstance(tasks[1].exception(), ValueError)
