"""What is done again and again goes on, whatever breaks."""

import asyncio

from milpa.errors import TransientError
from milpa.repeating import repeat


async def test_steps_go_on_whatever_breaks_and_none_waits_for_another_to_be_well() -> None:
    taken: list[str] = []
    enough = asyncio.Event()

    async def unanswered() -> None:
        taken.append("unanswered")
        raise TransientError("database_unavailable", "")

    async def broken() -> None:
        taken.append("broken")
        raise ValueError

    async def sound() -> None:
        taken.append("sound")
        if len(taken) >= 9:
            enough.set()

    repeating = asyncio.create_task(repeat(0.001, unanswered, broken, sound))
    async with asyncio.timeout(30):
        await enough.wait()
    repeating.cancel()
    assert taken[:9] == ["unanswered", "broken", "sound"] * 3


async def test_the_first_time_can_come_after_a_pause() -> None:
    taken: list[str] = []
    done = asyncio.Event()

    async def early() -> None:
        taken.append("early")

    async def now() -> None:
        done.set()

    waiting = asyncio.create_task(repeat(3600.0, early, at_once=False))
    taking = asyncio.create_task(repeat(3600.0, now))
    async with asyncio.timeout(30):
        await done.wait()
    waiting.cancel()
    taking.cancel()
    assert taken == []
