"""Event streams on one API process: does each listener hear every event once, how late, and at what cost.

Ten listeners follow each job; all jobs go through nine events about a second apart, each at its own time. Lag: from the
event's own time (the beginning of its transaction, by PostgreSQL's clock) to its last byte in a listener's hands.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import msgspec
import psutil
import uvloop
from redis.asyncio import Redis

from milpa.jobs import EventType, JobProgress, JobState, Outcome, new_id
from milpa.settings import Settings
from storage.migrate import migrate
from storage.rows import Claim, Ending, NewJob, Role
from storage.transaction import Database
from tests.support.api_process import address_of, api_process, listening
from tests.support.stack import running_servers, settings_of

STREAMS = 1000
LISTENERS = 10
"""Streams per job."""
BEATS = 6
CONNECTING = 100
"""Streams opened at once."""


class Heard(msgspec.Struct):
    """What a listener reads of an event."""

    seq: int
    at: datetime


class Listener:
    """One stream and what came through it."""

    def __init__(self, job_id: UUID) -> None:
        self.job_id = job_id
        self.seqs: list[int] = []
        self.lags: list[float] = []
        self.opened = asyncio.Event()

    async def follow(self, address: str, key: str) -> None:
        """Read the stream to its end."""
        where = urlsplit(address)
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        head = f"GET /v1/jobs/{self.job_id}/events HTTP/1.1\r\nHost: m\r\nAccept: text/event-stream\r\n"
        writer.write(f"{head}Authorization: Bearer {key}\r\nConnection: close\r\n\r\n".encode())
        async for line in reader:
            if line.startswith(b"data: ") and b'"seq"' in line:
                event = msgspec.json.decode(line[6:], type=Heard)
                self.lags.append(time.time() - event.at.timestamp())
                self.seqs.append(event.seq)
                self.opened.set()
        writer.close()


def main(streams: int = STREAMS) -> None:
    """Measure and print."""
    with running_servers() as servers:
        settings = settings_of(servers)
        asyncio.run(migrate(settings))
        with listening() as shared, api_process(settings, shared) as api:
            uvloop.run(_measure(settings, address_of(shared), psutil.Process(api.pid), streams))


async def _measure(settings: Settings, address: str, process: psutil.Process, streams: int) -> None:
    async with hinting(settings) as database:
        async with database.fleet() as fleet:
            tenant = (await fleet.tenants.create("streams")).id
            key = (await fleet.tenants.create_key(tenant, "streams", Role.VIEWER)).secret
        jobs = [await _submit(database, tenant) for _ in range(max(1, streams // LISTENERS))]
        listeners = [Listener(jobs[number % len(jobs)]) for number in range(streams)]
        idle, began = process.memory_info().rss, process.cpu_times()
        following = await _open(listeners, address, key)
        full = process.memory_info().rss
        starts = (number / len(jobs) for number in range(len(jobs)))
        await asyncio.gather(*(_solve(database, tenant, *job) for job in zip(jobs, starts, strict=True)))
        await asyncio.wait_for(asyncio.gather(*following), 120)
        ended = process.cpu_times()
    events = BEATS + 3  # queued, started, the beats, succeeded
    lags = [lag for listener in listeners for lag in listener.lags[1:]]  # the first was there before they came
    centiles = statistics.quantiles(lags, n=100)
    missing = sum(len(set(range(1, events + 1)) - set(listener.seqs)) for listener in listeners)
    again = sum(len(listener.seqs) - len(set(listener.seqs)) for listener in listeners)
    disorder = sum(listener.seqs != sorted(listener.seqs) for listener in listeners)
    print(f"{streams:,} streams of {len(jobs):,} jobs, {len(lags):,} events heard live")
    print(f"gaps {missing}, repeats {again}, out of order {disorder}")
    print(f"lag: median {1e3 * centiles[49]:.0f} ms, p99 {1e3 * centiles[98]:.0f} ms, worst {1e3 * max(lags):.0f} ms")
    busy = ended.user + ended.system - began.user - began.system
    per_stream = (full - idle) / streams / 1024
    print(f"API process: {full / 2**20:.0f} MiB ({per_stream:.0f} KiB a stream), {busy:.1f} s of processor time")


@asynccontextmanager
async def hinting(settings: Settings) -> AsyncIterator[Database]:
    """The database as API and workers have it: its commits are told through Redis."""
    redis = Redis.from_url(settings.redis_url.reveal())
    database = await Database.connect(settings, redis)
    try:
        yield database
    finally:
        await database.close()
        await redis.aclose()


async def _open(listeners: list[Listener], address: str, key: str) -> list[asyncio.Task[None]]:
    """Open every stream, a hundred at a time, and wait until each has heard its first event."""
    following = []
    for start in range(0, len(listeners), CONNECTING):
        some = listeners[start : start + CONNECTING]
        following += [asyncio.create_task(listener.follow(address, key)) for listener in some]
        await asyncio.gather(*(asyncio.wait_for(listener.opened.wait(), 60) for listener in some))
    return following


async def _submit(database: Database, tenant: UUID) -> UUID:
    async with database.transaction(tenant) as transaction:
        job = (await transaction.jobs.submit(NewJob(kind="deal-picker", kind_version=1, input=b"{}"))).job
    return job.id


async def _solve(database: Database, tenant: UUID, job_id: UUID, start: float) -> None:
    """Take a job through its events as a worker would, beginning `start` seconds from now."""
    await asyncio.sleep(start)
    async with database.transaction(tenant) as transaction:
        claim = await transaction.jobs.claim(job_id, 1, new_id(), 600.0)
    assert claim is not None
    for beat in range(BEATS):
        await asyncio.sleep(1.05)  # the log takes one row of progress a second
        await _beat(database, tenant, claim, (beat + 1) / BEATS)
    ending: dict[str, Any] = {"state": JobState.SUCCEEDED, "outcome": Outcome.OPTIMAL, "result": b"{}"}
    async with database.transaction(tenant) as transaction:
        await transaction.jobs.finish(claim.ref, Ending(**ending))


async def _beat(database: Database, tenant: UUID, claim: Claim, fraction: float) -> None:
    progress = JobProgress(phase="solve", fraction=fraction, objective=100.0 * fraction, bound=100.0)
    async with database.transaction(tenant) as transaction:
        await transaction.jobs.heartbeat(claim.ref, 600.0, progress, EventType.INCUMBENT)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else STREAMS)
