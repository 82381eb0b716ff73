"""Workers: from ring to start, what a child costs, where an attempt spends its time, and from kill to rescue."""

import asyncio
import signal
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from arq.connections import ArqRedis
from rich.console import Console
from rich.table import Table

from deploy.local.servers import Servers
from milpa.jobs import EventType, Priority
from milpa.settings import Settings
from storage.migrate import migrate
from storage.queue import Queue
from storage.rows import Ring
from storage.transaction import Database
from tests.faults.crew import Crew
from tests.support.stack import running_servers, settings_of
from workers.compute_pool import ComputePool
from workers.protocol import Limits, Solve

JOBS = 200
KILLS = 5
LEASE_SECONDS, SWEEP_SECONDS = 2.0, 0.5


def main() -> None:
    """Measure and print."""
    with running_servers() as servers:
        asyncio.run(_measure(servers))


async def _measure(servers: Servers) -> None:
    settings = msgspec.structs.replace(
        settings_of(servers),
        lease_seconds=LEASE_SECONDS,
        heartbeat_seconds=LEASE_SECONDS / 4,
        sweep_seconds=SWEEP_SECONDS,
        interactive_slots=1,
        batch_slots=0,
    )
    await migrate(settings)
    table = Table("what", "median ms", "p99 ms", title=f"{JOBS} probes that do nothing, one by one")
    _add(table, "child: task sent, answer read", await _children(settings))
    async with hired(settings) as crew:
        await crew.start()
        _add(table, "ring to start (claim included)", await _rings(crew, settings))
        for step, seconds in _steps(crew).items():
            _add(table, f"attempt: {step}", seconds)
        Console(width=110).print(table)
        rescued = [await _kill(crew) for _ in range(KILLS)]
    print(
        f"\nkill -9 to rescued, lease {LEASE_SECONDS:g} s, sweep {SWEEP_SECONDS:g} s, {KILLS} kills: "
        f"median {statistics.median(rescued):.2f} s, worst {max(rescued):.2f} s"
    )


@asynccontextmanager
async def hired(settings: Settings) -> AsyncIterator[Crew]:
    """A crew without workers yet, and a tenant to work for; all are ended."""
    database = await Database.connect(settings)
    async with database.fleet() as fleet:
        tenant = await fleet.tenants.create("benchmark")
    with tempfile.TemporaryDirectory() as folder:
        crew = Crew(settings, Path(folder), database, database)
        crew.tenant = tenant.id
        try:
            yield crew
        finally:
            await crew.end()
            await database.close()


def _add(table: Table, what: str, seconds: Sequence[float]) -> None:
    table.add_row(
        what, f"{1e3 * statistics.median(seconds):.2f}", f"{1e3 * statistics.quantiles(seconds, n=100)[98]:.2f}"
    )


async def _children(settings: Settings) -> list[float]:
    pool = ComputePool(settings, kinds="tests.workers.kinds")
    await pool.start()
    task = Solve(kind="probe", problem=b"{}", limits=Limits(seconds=30))
    seconds = []
    for _ in range(JOBS):
        began = time.perf_counter()
        await pool.compute(task, Priority.INTERACTIVE, on_progress=lambda _: None, stop=asyncio.Event())
        seconds.append(time.perf_counter() - began)
    await pool.close()
    return seconds


async def _rings(crew: Crew, settings: Settings) -> list[float]:
    """Ring by hand for jobs that nobody else rings for, and read from the job when it started."""
    redis = ArqRedis.from_url(settings.redis_url.reveal())
    queue, seconds = Queue(redis), []
    for _ in range(JOBS):
        job = await crew.job(await crew.submit("answer", silent=True))
        began = time.time()
        await queue.ring(
            [Ring(tenant_id=crew.tenant, job_id=job.id, dispatch_no=job.dispatch_no, priority=job.priority, at=1.0)]
        )
        started = (await crew.ended(job.id)).started_at
        assert started is not None
        seconds.append(started.timestamp() - began)
    await redis.aclose()
    return seconds


def _steps(crew: Crew) -> dict[str, list[float]]:
    lines: list[dict[str, Any]] = [msgspec.json.decode(line) for line in crew.workers[0].said().splitlines()]
    ended = [line for line in lines if line["event"] == "attempt_ended"]
    return {step: [line[f"{step}_seconds"] for line in ended] for step in ("claim", "compute", "finish")}


async def _kill(crew: Crew) -> float:
    """Kill the worker that holds a job, while another stands by."""
    await crew.start()
    job_id = await crew.submit("climb", seconds=3.0)
    (await crew.holder(job_id)).send(signal.SIGKILL)
    killed_at = time.time()
    rescued = await crew.event(job_id, EventType.RESCUED)
    await crew.ended(job_id)
    return rescued.at.timestamp() - killed_at
