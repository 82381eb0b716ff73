"""Mixed load, without end: single jobs with and without files, batches, cancels, streams, a schedule and webhooks.

It keeps its pace, whatever else the machine does: what is pruned follows the pace, and would else be taken to grow.
"""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from milpa.client import AsyncClient
from milpa.errors import TransientError
from tests.benchmarks.small_jobs import KIND, small_problem
from tests.workers.sink import Sink

LISTENERS = 20
JOB_SECONDS, BATCH_SECONDS, CANCEL_SECONDS, FOLLOW_SECONDS, FORGET_SECONDS = 1.0, 15.0, 4.0, 10.0, 1.0
"""From one beginning to the next, on average."""

BATCH = 20
LONG_KIND = "capex-phasing"
FORMATS: tuple[tuple[str, ...], ...] = ((), (), (), ("csv",), ("xlsx",), ("png",))
FAILING = [200] * 9 + [500]
"""What the receiver of webhooks answers, in turn."""


class Load:
    """Everything that asks something of Milpa. accepted: the ids that were answered with 202; done: what was done."""

    def __init__(self, client: AsyncClient, sink: Sink, seed: int) -> None:
        self._client = client
        self._sink = sink
        self._random = random.Random(seed)
        self._ending = asyncio.Event()
        self.accepted: list[UUID] = []
        self.done: Counter[str] = Counter()

    async def run(self) -> None:
        """Go on until `end`, and return when all that was begun has ended."""
        await self._client.create_webhook(self._sink.url("hook"))
        jobs = [{"kind": KIND, "problem": small_problem(), "name": "scheduled"}]
        await self._client.create_schedule("minutely", "* * * * *", "UTC", jobs, overlap="queue")
        everything = asyncio.create_task(self._hear_everything())
        await asyncio.gather(
            self._paced(self._job, JOB_SECONDS),
            self._paced(self._batch, BATCH_SECONDS),
            self._paced(self._cancelled, CANCEL_SECONDS),
            self._paced(self._forget_webhooks, FORGET_SECONDS),
            *(self._paced(self._followed, FOLLOW_SECONDS) for _ in range(LISTENERS)),
        )
        everything.cancel()

    def end(self) -> None:
        """Begin nothing more."""
        self._ending.set()

    async def _paced(self, step: Callable[[], Awaitable[None]], seconds: float) -> None:
        begin = time.monotonic()
        while not self._ending.is_set():
            with contextlib.suppress(TransientError):
                await step()
            begin += self._random.uniform(0.5, 1.5) * seconds
            await asyncio.sleep(max(0.0, begin - time.monotonic()))

    async def _submit(self, kind: str, problem: Any, **more: Any) -> UUID:
        job = await self._client.submit(kind, problem, **more)
        self.accepted.append(job.id)
        return job.id

    def _problem(self) -> dict[str, Any]:
        return {**small_problem(), "budget": self._random.randrange(500_000, 1_500_000)}

    async def _job(self) -> None:
        files = self._random.choice(FORMATS)
        job = await self._submit(KIND, self._problem(), files=files, reuse=self._random.random() < 0.2)
        ended = await self._client.wait(job, timeout=120)
        if files and ended.outcome is not None:
            for file in await self._client.files(job):
                await self._client.read_file(job, file.name)
        self.done["jobs"] += 1

    async def _followed(self) -> None:
        job = await self._submit(KIND, self._problem())
        seqs = [event.seq async for event in self._client.events(job)]
        assert seqs == list(range(1, len(seqs) + 1)), seqs
        self.done["followed"] += 1

    async def _batch(self) -> None:
        entry = {"kind": KIND, "problem": self._problem(), "priority": "batch"}
        batch = await self._client.submit_batch([entry] * BATCH)
        self.accepted += [job.id for job in batch.jobs]
        async for _ in self._client.batch_events(batch.id):
            pass
        self.done["batches"] += 1

    async def _cancelled(self) -> None:
        job = await self._submit(LONG_KIND, await self._client.example(LONG_KIND), options={"time_limit_seconds": 5})
        await asyncio.sleep(self._random.uniform(0, 2))
        with contextlib.suppress(Exception):  # it may have ended just before
            await self._client.cancel(job)
        await self._client.wait(job, timeout=120)
        self.done["cancelled"] += 1

    async def _hear_everything(self) -> None:
        async for _ in self._client.events():
            self.done["heard"] += 1

    async def _forget_webhooks(self) -> None:
        """Count what came, and keep none of it: this process is not what is measured."""
        self.done["webhooks"] += len(self._sink.received)
        self._sink.received.clear()
        self._sink.answers["hook"] = [*self._sink.answers["hook"][:1], *FAILING]
