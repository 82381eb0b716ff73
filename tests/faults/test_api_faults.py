"""APIs that are killed while jobs are posted, and streams of events that are cut: nothing is lost, missed or doubled.

There are two of them, and whoever loses the one goes on with the other.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from random import Random
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest

from milpa.client import AsyncClient
from milpa.jobs import EventType
from tests.faults.api import Api, api_key, gateway, submitting, two_apis
from tests.faults.crew import Crew, until
from tests.faults.form import rounds, times
from tests.faults.load import load

SUBMITTERS = 3
FOLLOWED = 4
CUT_SECONDS = 0.4
"""The longest time between two cuts of the streams."""


@pytest.fixture
async def apis(crew: Crew) -> AsyncIterator[tuple[Api, Api]]:
    async with two_apis(crew.settings, crew.folder) as apis:
        yield apis


async def test_apis_killed_while_jobs_are_posted_make_each_of_them_once(
    crew: Crew, dice: Random, apis: tuple[Api, Api]
) -> None:
    await crew.start_two(["workers.main"])
    asked: list[str] = []
    async with (
        gateway(apis, dice) as proxy,
        AsyncClient(proxy.address, await api_key(crew), retries=60) as client,
    ):
        submit = await submitting(crew, client, asked)
        async with load(crew, dice, submit, SUBMITTERS):
            for number in rounds(2, 20):
                await asyncio.sleep(dice.uniform(0, 1.5))
                await apis[number % 2].kill()
                await apis[number % 2].start()
    assert len(set(crew.accepted)) == len(asked) == await crew.count()


class Reader:
    """Follows one address, whatever is cut, and keeps what it was told; the last id is where it resumes."""

    def __init__(self, client: httpx.AsyncClient, path: str) -> None:
        self._client = client
        self._path = path
        self.last_id = ""
        self.connections = 0
        self.seqs: defaultdict[UUID, list[int]] = defaultdict(list)
        self.ended: set[UUID] = set()
        self.over = False

    async def follow(self) -> None:
        while not self.over:
            try:
                await self._read()
            except httpx.TransportError:
                await asyncio.sleep(0.02)

    async def _read(self) -> None:
        self.connections += 1
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": self.last_id} if self.last_id else {})
        async with self._client.stream("GET", self._path, headers=headers) as stream:
            if stream.status_code != httpx.codes.OK:
                await asyncio.sleep(0.05)
                return
            message: dict[str, str] = {}
            async for line in stream.aiter_lines():
                if line:
                    field, _, value = line.partition(": ")
                    message[field] = value
                elif message:
                    self._take(message)
                    message = {}

    def _take(self, message: dict[str, str]) -> None:
        self.last_id = message.get("id", self.last_id)
        event = message.get("event")
        if event == "end":
            self.over = True
        elif event in set(EventType):
            data: dict[str, Any] = msgspec.json.decode(message["data"])
            job_id = UUID(data["job_id"])
            self.seqs[job_id].append(data["seq"])
            if EventType(event).terminal:
                self.ended.add(job_id)


async def test_streams_that_are_cut_resume_on_the_other_api_without_a_gap_or_a_double(
    crew: Crew, dice: Random, apis: tuple[Api, Api]
) -> None:
    await crew.start_two()
    key = {"Authorization": f"Bearer {await api_key(crew)}"}
    async with (
        gateway(apis, dice) as proxy,
        httpx.AsyncClient(base_url=proxy.address, headers=key) as client,
    ):
        everything = Reader(client, "/v1/events")
        following = [asyncio.create_task(everything.follow())]
        await until(lambda: everything.last_id, lambda: "no stream was opened")
        async with load(crew, dice):
            jobs = [await crew.submit("climb", seconds=2.0) for _ in range(FOLLOWED)]
            readers = [Reader(client, f"/v1/jobs/{job_id}/events") for job_id in jobs]
            following += [asyncio.create_task(reader.follow()) for reader in readers]
            for number in range(times(8, 150)):
                await asyncio.sleep(dice.uniform(0, CUT_SECONDS))
                proxy.cut()
                if number % 50 == 4:
                    killed = dice.choice(apis)
                    await killed.kill()
                    await killed.start()
        await until(lambda: everything.ended >= set(crew.accepted), lambda: f"{everything.ended} of {crew.accepted}")
        await until(lambda: all(reader.over for reader in readers), lambda: "a stream of one job has no end")
        everything.over = True
        proxy.cut()
        await asyncio.gather(*following)
    assert everything.connections > 2
    for job_id, reader in zip(jobs, readers, strict=True):
        assert reader.seqs[job_id] == [event.seq for event in await crew.events(job_id)]
    for job_id in crew.accepted:
        told = [event.seq for event in await crew.events(job_id) if event.type not in _DETAILS]
        assert everything.seqs[job_id] == told, f"what /v1/events told of {job_id}"


_DETAILS = {EventType.PHASE, EventType.INCUMBENT, EventType.FILE}
"""Events that the stream of all jobs leaves out."""
