"""What each verb of the job core costs: one transaction each, on a durable PostgreSQL over a unix socket."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from uuid import UUID, uuid4

import uvloop
from redis.asyncio import Redis

from deploy.local.folders import DataDir
from deploy.local.servers import Servers
from milpa.jobs import EventType, FileFormat, JobProgress, JobState, Outcome
from storage.migrate import migrate
from storage.queue import Queue
from storage.rows import Claim, Ending, Idempotency, NewFile, NewJob
from storage.transaction import Database
from tests.support.stack import settings_of, temporary_folder

ROUNDS = 500
WARM_UP = 50
PROBLEM = b'{"deals":[' + b",".join([b'{"id":"deal","price":123456.0,"benefit":2345.5}'] * 20) + b"]}"
LEASE = 30.0


class Clock:
    """Collects the milliseconds of each verb."""

    def __init__(self) -> None:
        self.spent: defaultdict[str, list[float]] = defaultdict(list)

    @contextmanager
    def time(self, verb: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.spent[verb].append((time.perf_counter() - began) * 1e3)

    def show(self) -> None:
        for verb, spent in self.spent.items():
            warm = sorted(spent[WARM_UP:])
            print(f"{verb:24} median {median(warm):6.3f} ms   p95 {warm[int(len(warm) * 0.95)]:6.3f} ms")


async def one_job(database: Database, queue: Queue, tenant: UUID, clock: Clock) -> None:
    """Take one job from submit to its result."""
    with clock.time("submit"):
        async with database.transaction(tenant) as tx:
            new = NewJob(kind="deal-picker", kind_version=1, input=PROBLEM, idempotency=Idempotency(str(uuid4()), b"b"))
            await tx.jobs.submit(new)
    with clock.time("admit"):
        async with database.fleet() as fleet:
            (ring,) = await fleet.jobs.admit()
    with clock.time("ring"):
        await queue.ring([ring])
    with clock.time("claim"):
        async with database.transaction(tenant) as tx:
            claim = await tx.jobs.claim(ring.job_id, ring.dispatch_no, uuid4(), LEASE)
    if claim is None:
        raise RuntimeError("the ring was stale")
    with clock.time("heartbeat with event"):
        async with database.transaction(tenant) as tx:
            await tx.jobs.heartbeat(claim.ref, LEASE, JobProgress(phase="solve", fraction=0.5), EventType.PHASE)
    with clock.time("heartbeat"):
        async with database.transaction(tenant) as tx:
            await tx.jobs.heartbeat(claim.ref, LEASE)
    with clock.time("finish"):
        async with database.transaction(tenant) as tx:
            await tx.jobs.finish(claim.ref, ending(claim))
    with clock.time("get"):
        async with database.transaction(tenant) as tx:
            await tx.jobs.get(ring.job_id)


def ending(claim: Claim) -> Ending:
    """Return an ending with a result, a report, a log and two files."""
    files = [
        NewFile(
            name=f"deals.{format_}",
            format=format_,
            media_type="application/octet-stream",
            size=1,
            sha256="",
            object_key=f"{claim.ref.job_id}/{format_}",
        )
        for format_ in (FileFormat.XLSX, FileFormat.PDF)
    ]
    return Ending(
        state=JobState.SUCCEEDED, outcome=Outcome.OPTIMAL, result=PROBLEM, report=PROBLEM, log=b"log", files=files
    )


async def measure(servers: Servers) -> None:
    """Print the figures of all verbs."""
    settings = settings_of(servers)
    await migrate(settings)
    redis = Redis.from_url(settings.redis_url.reveal())
    database = await Database.connect(settings)
    async with database.fleet() as fleet:
        tenant = (await fleet.tenants.create("benchmark")).id
        await fleet.workers.seen(uuid4(), "benchmark", 1, 1)
    clock = Clock()
    for _ in range(ROUNDS):
        with clock.time("an empty transaction"):
            async with database.transaction(tenant):
                pass
        await one_job(database, Queue(redis), tenant, clock)
    clock.show()
    await database.close()
    await redis.aclose()


def main() -> None:
    """Measure on servers of its own."""
    with temporary_folder() as folder:
        servers = Servers(DataDir(folder))
        servers.start()
        try:
            uvloop.run(measure(servers))
        finally:
            servers.stop()
