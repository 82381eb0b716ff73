"""Webhooks: from a job's end to the receiver's hands, while another endpoint hangs and while none does.

Every job is told to two endpoints, one of which answers at once. Lag: from the event's own time (the beginning of the
transaction that ended the job, by PostgreSQL's clock) to the request's last byte in the quick endpoint's hands.
"""

import asyncio
import statistics
import sys
from datetime import datetime
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from milpa.jobs import JobState, new_id
from milpa.settings import Settings
from storage.migrate import migrate
from storage.rows import Ending, NewJob
from storage.transaction import Database
from storage.webhook_rows import NewEndpoint
from tests.benchmarks.streams import hinting
from tests.benchmarks.workers import hired
from tests.faults.crew import Crew, until
from tests.support.stack import running_servers, settings_of
from tests.workers.sink import Received, Sink, running_sink

JOBS = 1000
PAUSE_SECONDS = 0.02
"""Between two ends of jobs."""
SHORT = {"webhook_private_targets": True, "webhook_ports": (), "interactive_slots": 1, "batch_slots": 0}


class Told(msgspec.Struct):
    """What is read of a webhook."""

    timestamp: datetime


def main(jobs: int = JOBS) -> None:
    """Measure and print."""
    table = Table(
        "the other endpoint",
        "median ms",
        "p99 ms",
        "worst ms",
        title=f"{jobs} webhooks, {1 / PAUSE_SECONDS:.0f} a second",
    )
    for other in ("answers", "hangs"):
        with running_servers() as servers:
            settings = msgspec.structs.replace(settings_of(servers), **SHORT)
            lags = sorted(asyncio.run(_measure(settings, jobs, hanging=other == "hangs")))
        centiles = statistics.quantiles(lags, n=100)
        table.add_row(other, *(f"{1e3 * value:.1f}" for value in (centiles[49], centiles[98], lags[-1])))
    Console(width=110).print(table)


async def _measure(settings: Settings, jobs: int, *, hanging: bool) -> list[float]:
    await migrate(settings)
    async with hired(settings) as crew, hinting(settings) as database, running_sink() as quick, running_sink() as other:
        if hanging:
            other.answers["hook"] = ["hang"]
        async with crew.database.transaction(crew.tenant) as tenant:
            for sink in (quick, other):
                await tenant.webhooks.create(NewEndpoint(url=sink.url("hook")))
        await crew.start()
        for _ in range(jobs):
            await _end_a_job(crew, database)
            await asyncio.sleep(PAUSE_SECONDS)
        await until(lambda: len(quick.received) >= jobs, lambda: f"{len(quick.received)} of {jobs} were told")
        _say_what_hangs(other, hanging=hanging)
        other.released.set()
    return [_lag(request) for request in quick.received]


async def _end_a_job(crew: Crew, database: Database) -> None:
    """Submit, claim and end a job as a worker would, without one."""
    async with crew.mute.transaction(crew.tenant) as tenant:
        job = (await tenant.jobs.submit(NewJob(kind="probe", kind_version=1, input=b"{}"))).job
        claim = await tenant.jobs.claim(job.id, 1, new_id(), 600.0)
    assert claim is not None
    ending: dict[str, Any] = {"state": JobState.SUCCEEDED, "result": b"{}"}
    async with database.transaction(crew.tenant) as tenant:
        await tenant.jobs.finish(claim.ref, Ending(**ending))


def _say_what_hangs(other: Sink, *, hanging: bool) -> None:
    if hanging:
        print(f"meanwhile {other.open} requests hung, {other.most_open} at most")


def _lag(request: Received) -> float:
    return request.at - msgspec.json.decode(request.body, type=Told).timestamp.timestamp()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else JOBS)
