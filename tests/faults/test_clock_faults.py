"""Clocks that are set ten minutes forward and back under a worker or an API: only the database's clock decides."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from itertools import cycle
from random import Random
from typing import Any
from uuid import UUID

import msgspec
import pytest

from milpa.client import AsyncClient
from milpa.jobs import EventType, JobState
from tests.faults.api import api_key, submitting, two_apis
from tests.faults.crew import PROBES, Crew, Worker
from tests.faults.form import rounds
from tests.faults.load import load
from tests.faults.shifted import STEP_SECONDS
from tests.faults.test_webhook_faults import QUICK, all_told, listen
from tests.workers.sink import Sink, running_sink

SHIFTED = ("tests.faults.shifted", *PROBES)
SETS = (signal.SIGUSR1, signal.SIGUSR2)
NEAR_SECONDS = 120.0
"""Times that differ by less are of one clock; a clock that was set is five times as far off."""


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with running_sink() as sink:
        yield sink


def clock_of(worker: Worker) -> float:
    """Return how far the worker's clock is off, in seconds, by its newest line of log."""
    line: dict[str, Any] = msgspec.json.decode(worker.said().splitlines()[-1])
    return datetime.fromisoformat(line["at"]).timestamp() - time.time()


async def test_workers_whose_clocks_are_set_keep_and_lose_their_jobs_by_the_databases_clock(
    crew: Crew, dice: Random, sink: Sink
) -> None:
    await listen(crew, sink.url("hook"))
    early, late = await asyncio.gather(*(crew.start(SHIFTED, interactive_slots=2, **QUICK) for _ in SETS))
    async with load(crew, dice):
        for _ in rounds(1, 5):
            long = [await crew.submit("climb", seconds=2.5) for _ in range(4)]
            for job_id in long:
                await crew.event(job_id, EventType.STARTED)
            early.send(signal.SIGUSR1)
            late.send(signal.SIGUSR2)
            for job_id in long:
                job = await crew.ended(job_id)
                assert (job.state, job.attempt) == (JobState.SUCCEEDED, 1), "no lease was lost by it"
        off = clock_of(early), clock_of(late)
        assert off[0] > STEP_SECONDS - NEAR_SECONDS
        assert off[1] < NEAR_SECONDS - STEP_SECONDS
        lost = await crew.submit("answer", seconds=1.5)
        killed_at = await (await crew.holder(lost)).kill()
        rescued = await crew.event(lost, EventType.RESCUED)
        assert abs(rescued.at.timestamp() - killed_at) < NEAR_SECONDS
        assert (await crew.ended(lost)).state is JobState.SUCCEEDED
    for delivery in await all_told(crew):
        assert abs(delivery.created_at.timestamp() - time.time()) < NEAR_SECONDS
    for request in sink.at("hook"):
        assert abs(float(request.headers["webhook-timestamp"]) - time.time()) < NEAR_SECONDS


async def test_apis_whose_clocks_differ_take_and_show_jobs_alike(crew: Crew, dice: Random) -> None:
    await crew.start_two(["workers.main"])
    asked: list[str] = []
    async with (
        two_apis(crew.settings, crew.folder, "tests.faults.shifted") as apis,
        AsyncClient(apis[0].url, await api_key(crew), retries=60) as early,
        AsyncClient(apis[1].url, await api_key(crew), retries=60) as late,
    ):
        submits = [await submitting(crew, client, asked) for client in (early, late)]
        turns = cycle(submits)

        async def by_turns() -> Sequence[UUID]:
            return await next(turns)()

        async with load(crew, dice, by_turns):
            for _ in rounds(1, 5):
                await asyncio.sleep(dice.uniform(0.5, 1.5))
                for api, number in zip(apis, SETS, strict=True):
                    api.send(number)
        for job_id in crew.accepted:
            shown = await early.job(job_id), await late.job(job_id)
            assert shown[0].finished_at == shown[1].finished_at
            assert shown[0].finished_at is not None
            assert abs(shown[0].finished_at.timestamp() - time.time()) < NEAR_SECONDS
    assert len(set(crew.accepted)) == len(asked) == await crew.count()
