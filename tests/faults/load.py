"""A steady stream of jobs that runs while faults happen, from a submitter that repeats what was not answered."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import chain
from random import Random
from typing import TypeVar
from uuid import UUID, uuid4

from milpa.errors import TransientError
from milpa.jobs import FileFormat, JobState
from storage.ledger import check_ledger
from tests.faults.crew import PATIENCE, Crew
from tests.faults.form import FULL

T = TypeVar("T")

EVERY_SECONDS = 0.12 if FULL else 0.2
"""The mean pause between two submissions."""

MOST_WAITING = 100
"""Jobs without an end at which the submitters hold on, so that slow machines are not buried in work."""

LEASES = 3
"""After so many leases without a fault nothing may be stuck."""

Submit = Callable[[], Awaitable[Sequence[UUID]]]
"""Submits, and returns which jobs were accepted."""


@asynccontextmanager
async def load(crew: Crew, dice: Random, submit: Submit | None = None, submitters: int = 1) -> AsyncIterator[None]:
    """Submit all the while, by `submit` when given; at exit every job ends, and those submitted here have succeeded."""
    stopping = asyncio.Event()
    submit = submit or (lambda: _probe(crew, dice))
    streams = [asyncio.create_task(_stream(crew, submit, dice, stopping)) for _ in range(submitters)]
    try:
        yield
    finally:
        stopping.set()
        submitted = await asyncio.gather(*streams)
    await _settled(crew)
    assert await crew.states(list(chain(*submitted))) == {JobState.SUCCEEDED}


async def _stream(crew: Crew, submit: Submit, dice: Random, stopping: asyncio.Event) -> list[UUID]:
    submitted: list[UUID] = []
    while not stopping.is_set():
        if len(await _answered(crew.unended)) < MOST_WAITING:
            submitted += await submit()
        await asyncio.sleep(dice.expovariate(1 / EVERY_SECONDS))
    return submitted


async def _probe(crew: Crew, dice: Random) -> Sequence[UUID]:
    """Most jobs are small, some take their time, some make a file, some come in threes."""
    key, sort = str(uuid4()), dice.random()
    if sort < 0.1:
        return await _answered(lambda: crew.submit_batch(3, key=key))
    if sort < 0.2:
        return [await _answered(lambda: crew.submit("answer", key=key, files=[FileFormat.CSV]))]
    seconds = dice.choice([0.0, 0.0, 0.02, 0.1, 0.5])
    return [await _answered(lambda: crew.submit("answer", key=key, seconds=seconds))]


async def _answered(submit: Callable[[], Awaitable[T]]) -> T:
    """Submit until it is answered; whoever submits has a key, so that nothing is made twice."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return await submit()
        except TransientError:
            assert time.monotonic() < deadline, "nobody answers"
            await asyncio.sleep(0.1)


async def _settled(crew: Crew) -> None:
    """Wait until every job has ended; three leases after the last fault none may be stuck."""
    began, lease = time.monotonic(), crew.settings.lease_seconds
    while waiting := await crew.unended():
        passed = time.monotonic() - began
        assert passed < PATIENCE, f"{waiting} have not ended; {crew.said()}"
        if passed > LEASES * lease + crew.settings.sweep_seconds:
            report = await check_ledger(crew.database)
            assert not report.stuck, f"{report}; {crew.said()}"
        await asyncio.sleep(0.1)
