"""Webhooks under fire: workers that die while they deliver, a sink that fails, and everyone is told all the same."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import msgspec
import pytest

from storage.webhook_rows import DeliveryFilter, DeliveryRow, DeliveryState, NewEndpoint, WebhookEvent
from tests.faults.crew import PATIENCE, Crew
from tests.faults.form import rounds, times
from tests.faults.load import load
from tests.workers.sink import Sink, running_sink

QUICK: dict[str, Any] = {
    "webhook_private_targets": True,
    "webhook_ports": (),
    "webhook_timeout_seconds": 1.0,
    "webhook_retry_seconds": (0.05,) * 30,
}
BAD: list[int | str] = [500, 503, "reset", "hang"]
BAD_SHARE = 0.3


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with running_sink() as sink:
        yield sink


async def listen(crew: Crew, url: str) -> None:
    async with crew.database.transaction(crew.tenant) as tenant:
        await tenant.webhooks.create(NewEndpoint(url=url))


async def deliveries(crew: Crew) -> list[DeliveryRow]:
    async with crew.database.transaction(crew.tenant) as tenant:
        return list(await tenant.webhooks.deliveries(DeliveryFilter(), limit=100_000))


async def all_told(crew: Crew) -> list[DeliveryRow]:
    """Wait until nothing is on its way any more, and return what there was."""
    async with asyncio.timeout(PATIENCE):
        while True:
            made = await deliveries(crew)
            if made and all(one.state is not DeliveryState.PENDING for one in made):
                return made
            await asyncio.sleep(0.1)


async def test_what_a_killed_worker_was_delivering_is_delivered_by_another(
    crew: Crew, dice: Random, sink: Sink
) -> None:
    await listen(crew, sink.url("hook"))
    sink.answers["hook"] = ["hang", 200]
    worker = await crew.start(**QUICK | {"webhook_timeout_seconds": 2.0})
    async with load(crew, dice):
        async with asyncio.timeout(PATIENCE):
            await sink.came.wait()
        worker.send(signal.SIGKILL)
        await crew.start(**QUICK)
    made = await all_told(crew)
    first = sink.at("hook")[0]
    again = [request for request in sink.at("hook") if request.headers["webhook-id"] == first.headers["webhook-id"]]
    assert len(again) >= 2
    assert {request.body for request in again} == {first.body}
    assert {one.state for one in made} == {DeliveryState.DELIVERED}


async def test_everyone_is_told_of_every_end_while_workers_are_killed_and_the_sink_fails(
    crew: Crew, dice: Random, sink: Sink
) -> None:
    await listen(crew, sink.url("hook"))
    answers = [dice.choice(BAD) if dice.random() < BAD_SHARE else 200 for _ in range(times(100, 3000))]
    sink.answers["hook"] = [*answers, 200]
    await crew.start_two(**QUICK)
    async with load(crew, dice):
        for _ in rounds(2, 20):
            await asyncio.sleep(dice.uniform(0.2, 1.0))
            dice.choice(crew.alive).send(signal.SIGKILL)
            await crew.start(**QUICK)
    made = await all_told(crew)
    assert {one.state for one in made} == {DeliveryState.DELIVERED}
    jobs, batches = ([one for one in made if one.type.startswith(sort)] for sort in ("job.", "batch."))
    assert Counter(one.job_id for one in jobs) == Counter(set(crew.accepted)), "one delivery for each job"
    assert {one.batch_id for one in batches} == await crew.batches()
    assert len(batches) == len({one.batch_id for one in batches})
    told = {(body["type"], body["data"]["id"]) for body in (msgspec.json.decode(one.body) for one in sink.at("hook"))}
    assert told == {(one.type, str(one.job_id or one.batch_id)) for one in made}
    assert {type_ for type_, _ in told} <= {WebhookEvent.JOB_SUCCEEDED, WebhookEvent.BATCH_FINISHED}
