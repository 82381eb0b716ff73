"""Memory of the API, the worker and its solver processes: idle after the start, warm, and after a thousand small jobs."""

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
"""Solver processes start one after the other, in the background, and for a while a worn one is there beside its successor:
all is there, and no more, once hardly anything changes."""


def main() -> None:
    """Measure and print."""
    with stack() as (folders, url):
        key = folders.admin_key.read_text().strip()
        found = [_settled(folders)]
        for count in (WARM_UP, MANY):
            asyncio.run(_jobs(url, key, count))
            found.append(_settled(folders))
    moments = ("idle after the start, MiB", f"after {WARM_UP} jobs, MiB", f"after {MANY} more, MiB")
    table = Table("part", *moments, title="Resident memory")
    for part in PARTS.values():
        table.add_row(part, *(f"{bytes_[part] / 2**20:.0f}" for bytes_ in found))
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


def _settled(folders: DataDir) -> Counter[str]:
    """Return resident bytes by part once they hardly change."""
    before, now = Counter[str](), resident(folders)
    while abs(now.total() - before.total()) > SETTLED_BYTES:
        time.sleep(SETTLE_SECONDS)
        before, now = now, resident(folders)
    return now


async def _jobs(url: str, key: str, count: int) -> None:
    problem, left = small_problem(), iter(range(count))
    async with AsyncClient(url, key) as client:

        async def some() -> None:
            for _ in left:
                await client.submit(KIND, problem, wait=30)

        await asyncio.gather(*(some() for _ in range(AT_ONCE)))


if __name__ == "__main__":
    main()
