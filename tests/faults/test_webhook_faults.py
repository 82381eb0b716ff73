"""Webhooks under fire: workers that die while they deliver, a sink that fails, and everyone is told all the same."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from storage.webhook_rows import DeliveryFilter, DeliveryRow, DeliveryState, NewEndpoint
from tests.faults.crew import PATIENCE, Crew, Worker
from tests.workers.sink import Sink, running_sink

QUICK: dict[str, Any] = {
    "webhook_private_targets": True,
    "webhook_ports": (),
    "webhook_timeout_seconds": 1.0,
    "webhook_retry_seconds": (0.05,) * 30,
}


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with running_sink() as sink:
        yield sink


async def listen(crew: Crew, url: str) -> None:
    async with crew.database.transaction(crew.tenant) as tenant:
        await tenant.webhooks.create(NewEndpoint(url=url))


async def deliveries(crew: Crew) -> list[DeliveryRow]:
    async with crew.database.transaction(crew.tenant) as tenant:
        return list(await tenant.webhooks.deliveries(DeliveryFilter(), limit=1000))


async def all_told(crew: Crew, count: int) -> list[DeliveryRow]:
    async with asyncio.timeout(PATIENCE):
        while True:
            made = await deliveries(crew)
            if len(made) == count and all(one.state is not DeliveryState.PENDING for one in made):
                return made
            await asyncio.sleep(0.05)


async def test_what_a_killed_worker_was_delivering_is_delivered_by_another(crew: Crew, sink: Sink) -> None:
    await listen(crew, sink.url("hook"))
    sink.answers["hook"] = ["hang", 200]
    worker = await crew.start(**QUICK | {"webhook_timeout_seconds": 2.0})
    job_id = await crew.submit("answer")
    async with asyncio.timeout(PATIENCE):
        await sink.came.wait()
    worker.send(signal.SIGKILL)
    await crew.start(**QUICK)
    (made,) = await all_told(crew, 1)
    assert (made.job_id, made.state) == (job_id, DeliveryState.DELIVERED)
    first, second = sink.at("hook")
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == str(made.id)
    assert first.body == second.body


async def test_everyone_is_told_of_every_job_while_workers_are_killed_and_the_sink_fails(
    crew: Crew, sink: Sink
) -> None:
    await listen(crew, sink.url("hook"))
    answers: list[int | str] = [200, 500, 200, "reset", 200, "hang", 200, 503, 200, 200]
    sink.answers["hook"] = [*(answers * 6), 200]
    workers: list[Worker] = [await crew.start(**QUICK), await crew.start(**QUICK)]
    jobs = [await crew.submit("answer") for _ in range(30)]
    for _ in range(2):
        await asyncio.sleep(0.5)
        workers.pop(0).send(signal.SIGKILL)
        workers.append(await crew.start(**QUICK))
    for job_id in jobs:
        await crew.ended(job_id)
    made = await all_told(crew, len(jobs))
    assert Counter(one.job_id for one in made) == Counter(jobs), "one delivery for each job"
    assert {one.state for one in made} == {DeliveryState.DELIVERED}
    told = {msgspec.json.decode(request.body)["data"]["id"] for request in sink.at("hook")}
    assert told == {str(job_id) for job_id in jobs}
