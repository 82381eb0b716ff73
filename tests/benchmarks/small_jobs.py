"""Small jobs (20 deals): how long one takes from submit to the client's knowing, step by step, and how many go through.

Beside it, in the same run on the same Redis and PostgreSQL: a no-op through plain ARQ as shipped, and through procrastinate.
"""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import psutil
from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker
from procrastinate import App, PsycopgConnector
from rich.console import Console
from rich.table import Table

from deploy.local.folders import DataDir
from deploy.local.servers import Servers
from deploy.local.stack import running
from deploy.local.teller import Teller
from milpa.client import AsyncClient, Client
from tests.support.stack import temporary_folder

KIND = "deal-picker"
DEALS = 20
ONE_BY_ONE = 200
MANY = 1000
AT_ONCE = 16
SETTLE_SECONDS = 30.0
IDLE_PERCENT = 10.0
STEPS = ("submit", "ring", "claim", "child", "finish", "notify")


def main() -> None:
    """Measure and print."""
    with stack() as (folders, url):
        key = folders.admin_key.read_text().strip()
        _latency(folders, url, key)
        ours = asyncio.run(_throughput(url, key))
        servers = Servers(folders)
        arq = asyncio.run(_plain_arq(servers.redis.url.removeprefix("unix://")))
        procrastinate = asyncio.run(_procrastinate(servers.postgres.owner_url))
    table = Table("queue", "what a job is", "jobs per second", "ratio", title=f"{MANY} jobs, one worker process")
    table.add_row("Milpa", f"{DEALS} deals solved, checked, explained, kept", f"{ours:.0f}", "1")
    table.add_row("ARQ as shipped", "nothing, and nothing is kept", f"{arq:.0f}", f"{arq / ours:.1f}")
    table.add_row(
        "procrastinate", "nothing, and its row is kept", f"{procrastinate:.0f}", f"{procrastinate / ours:.1f}"
    )
    Console(width=110).print(table)


@contextmanager
def stack() -> Iterator[tuple[DataDir, str]]:
    """A whole stack with one API and one worker process in a folder of its own."""
    with temporary_folder() as folder:
        folder.chmod(0o711)
        folders = DataDir(folder / "data")
        with running(folders, "127.0.0.1", 0, 1, Teller(Console(stderr=True))) as local:
            yield folders, local.url


def small_problem() -> dict[str, Any]:
    """Return a deal picker of 20 deals in four sectors, two of them capped."""
    sectors = ("office", "retail", "logistics", "homes")
    deals = [
        {
            "id": f"D{number:02}",
            "price": 100_000 + 7_000 * number,
            "yield": 6_000 + 900 * (number * 7 % 20),
            "risk": 1_000 * (number * 3 % 7),
            "sector": sectors[number % 4],
        }
        for number in range(DEALS)
    ]
    return {"budget": 1_000_000, "risk_penalty": 0.1, "sector_caps": {"office": 1.5, "retail": 2.5}, "deals": deals}


def _latency(folders: DataDir, url: str, key: str) -> None:
    problem = small_problem()
    seen: dict[UUID, tuple[float, float, float]] = {}
    with Client(url, key) as client:
        for _ in range(20):
            client.submit(KIND, problem, wait=20)
        _settle()
        whole = [_timed(lambda: client.submit(KIND, problem, wait=20))[0] for _ in range(ONE_BY_ONE)]
        for _ in range(ONE_BY_ONE):
            began = time.time()
            accepted, job = _timed(lambda: client.submit(KIND, problem))
            ended = client.wait(job)
            seen[job.id] = (
                accepted,
                _seconds(ended.started_at) - began - accepted,
                time.time() - _seconds(ended.finished_at),
            )
    quartiles = statistics.quantiles(whole, n=100)
    print(
        f"submit with `Prefer: wait`, {ONE_BY_ONE} jobs one by one: median {1e3 * quartiles[49]:.1f} ms, "
        f"p95 {1e3 * quartiles[94]:.1f} ms, p99 {1e3 * quartiles[98]:.1f} ms\n"
    )
    _shares(folders, seen)


def _settle() -> None:
    """Wait until the solver processes that a worker starts beside its first jobs are warm too: the machine is idle then."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while psutil.cpu_percent(interval=1.0) > IDLE_PERCENT and time.monotonic() < deadline:
        pass


def _shares(folders: DataDir, seen: dict[UUID, tuple[float, float, float]]) -> None:
    attempts = {UUID(line["job"]): line for line in _log(folders) if line.get("event") == "attempt_ended"}
    rows = [
        (accepted, ring, *(attempts[job][f"{step}_seconds"] for step in ("claim", "compute", "finish")), notify)
        for job, (accepted, ring, notify) in seen.items()
    ]
    medians = [statistics.median(column) for column in zip(*rows, strict=True)]
    table = Table("step", "median ms", "share", title="Where the time of a small job goes (submit, then wait)")
    for step, median in zip(STEPS, medians, strict=True):
        table.add_row(step, f"{1e3 * median:.2f}", f"{median / sum(medians):.0%}")
    Console(width=110).print(table)


def _log(folders: DataDir) -> Iterator[dict[str, Any]]:
    for line in (folders.logs / "worker-1.log").read_bytes().splitlines():
        if line.startswith(b"{"):
            yield msgspec.json.decode(line)


async def _throughput(url: str, key: str) -> float:
    problem = small_problem()
    async with AsyncClient(url, key) as client:

        async def one() -> None:
            await client.submit(KIND, problem, wait=30)

        return await _rate(one)


async def _rate(one: Callable[[], Awaitable[None]]) -> float:
    left = iter(range(MANY))

    async def some() -> None:
        for _ in left:
            await one()

    began = time.perf_counter()
    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    return MANY / (time.perf_counter() - began)


async def _noop(_ctx: dict[str, Any]) -> None:
    """Do nothing."""


async def _plain_arq(socket: str) -> float:
    pool = await create_pool(RedisSettings(unix_socket_path=socket))
    jobs = [await pool.enqueue_job("_noop") for _ in range(MANY)]
    worker = Worker(
        functions=[_noop], redis_settings=RedisSettings(unix_socket_path=socket), burst=True, handle_signals=False
    )
    began = time.perf_counter()
    await worker.async_run()
    seconds = time.perf_counter() - began
    assert worker.jobs_complete == len(jobs)
    await worker.close()
    await pool.aclose()
    return MANY / seconds


async def _procrastinate(dsn: str) -> float:
    app = App(connector=PsycopgConnector(conninfo=dsn))

    @app.task(name="noop")
    async def noop() -> None:
        """Do nothing."""

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        for _ in range(MANY):
            await noop.defer_async()
        began = time.perf_counter()
        await app.run_worker_async(concurrency=10, wait=False, install_signal_handlers=False)
        return MANY / (time.perf_counter() - began)


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    value = call()
    return time.perf_counter() - began, value


def _seconds(moment: datetime | None) -> float:
    assert moment is not None
    return moment.astimezone(UTC).timestamp()
