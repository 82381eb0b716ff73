"""Memory of the API, the worker and its solver processes: when all are warm, and after a thousand small jobs more."""

import asyncio
import time
from collections import Counter

from rich.console import Console
from rich.table import Table

from deploy.local.folders import DataDir
from deploy.local.processes import orphans
from milpa.client import AsyncClient
from tests.benchmarks.small_jobs import AT_ONCE, KIND, MANY, small_problem, stack

PARTS = {"deploy.serve": "API", "workers.main": "worker", "workers.compute": "solver processes, together"}
WARM_UP = 50
SETTLE_SECONDS, SETTLED_BYTES = 3.0, 2**21
"""Solver processes start one after the other, in the background: all are there once hardly anything grows."""


def main() -> None:
    """Measure and print."""
    with stack() as (folders, url):
        key = folders.admin_key.read_text().strip()
        asyncio.run(_jobs(url, key, WARM_UP))
        _settle(folders)
        idle = resident(folders)
        asyncio.run(_jobs(url, key, MANY))
        _settle(folders)  # a worn solver process and its successor are there at once for a while
        after = resident(folders)
    table = Table("part", f"after {WARM_UP} jobs, MiB", f"after {MANY} more, MiB", title="Resident memory")
    for part in PARTS.values():
        table.add_row(part, f"{idle[part] / 2**20:.0f}", f"{after[part] / 2**20:.0f}")
    Console(width=110).print(table)


def resident(folders: DataDir) -> Counter[str]:
    """Return resident bytes by part."""
    found: Counter[str] = Counter()
    for process in orphans(folders.root, frozenset()):
        words = process.cmdline()
        for module, part in PARTS.items():
            if module in words:
                found[part] += process.memory_info().rss
    return found


def _settle(folders: DataDir) -> None:
    before = 0
    while abs((now := resident(folders).total()) - before) > SETTLED_BYTES:
        before = now
        time.sleep(SETTLE_SECONDS)


async def _jobs(url: str, key: str, count: int) -> None:
    problem, left = small_problem(), iter(range(count))
    async with AsyncClient(url, key) as client:

        async def some() -> None:
            for _ in left:
                await client.submit(KIND, problem, wait=30)

        await asyncio.gather(*(some() for _ in range(AT_ONCE)))


if __name__ == "__main__":
    main()
