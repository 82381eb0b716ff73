"""`python -m tests.soak [--minutes 120]`: the whole of Milpa under mixed load, watched for growth, ended by the ledger.

Two API and two worker processes. What is kept for a time is kept for minutes here, so that pruning acts in the run.
Exit code 1: a promise was broken, or something grew.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import msgspec
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from deploy.local.environment import environment
from deploy.local.folders import DataDir
from deploy.local.servers import Servers
from deploy.local.stack import LocalStack, running
from deploy.local.teller import Teller
from milpa.client import AsyncClient
from milpa.settings import Settings
from storage.ledger import LedgerReport, check_ledger
from storage.transaction import Database
from tests.soak.load import Load
from tests.soak.picture import draw
from tests.soak.samples import Sample, Sampler
from tests.soak.verdict import Verdict, verdicts
from tests.support.stack import temporary_folder
from tests.workers.sink import running_sink

SHORT = {
    "MILPA_RETENTION_DAYS": str(2 / 24 / 60),
    "MILPA_IDEMPOTENCY_HOURS": str(2 / 60),
    "MILPA_WEBHOOK_RETRY_SECONDS": "1,2,5",
    "MILPA_WEBHOOK_PRIVATE_TARGETS": "true",
    "MILPA_WEBHOOK_PORTS": "",
}
SAMPLES = 120
"""Looks over the run, but not more often than every `MIN_PAUSE` seconds, nor more rarely than every minute."""
MIN_PAUSE, MAX_PAUSE = 2.0, 60.0
MISSED_IN_A_ROW = 3
"""Looks that may fail one after another, for what is looked at comes and goes: a run of hours must not end by one."""


def main() -> None:
    """Run, judge, print, draw."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(".milpa/soak"), help="where samples and picture go")
    arguments = parser.parse_args()
    os.environ.update(SHORT)
    console = Console(width=130)
    with temporary_folder() as folder:
        folder.chmod(0o711)
        folders = DataDir(folder / "data")
        with running(folders, "127.0.0.1", 0, 2, Teller(console), apis=2) as stack:
            arguments.out.mkdir(parents=True, exist_ok=True)
            notes = Notes(arguments.out / "samples.json")
            samples, done, report = asyncio.run(_soak(stack, folders, arguments.minutes * 60, arguments.seed, notes))
    draw(samples, arguments.out / "soak.png")
    judged = verdicts(samples)
    _print(console, samples, judged, done, report)
    console.print(f"samples and picture: {arguments.out}", highlight=False)
    sys.exit(0 if report.ok and not any(verdict.word == "GROWS" for verdict in judged) else 1)


class Notes:
    """The samples so far, in a file too: a run that breaks off leaves what it saw, and one under way can be watched."""

    def __init__(self, path: Path) -> None:
        self.samples: list[Sample] = []
        self._path = path

    def add(self, sample: Sample) -> None:
        """Keep one more."""
        self.samples.append(sample)
        self._path.write_bytes(msgspec.json.encode(self.samples))


async def _soak(
    stack: LocalStack, folders: DataDir, seconds: float, seed: int, notes: Notes
) -> tuple[list[Sample], dict[str, int], LedgerReport]:
    async with (
        running_sink() as sink,
        AsyncClient(stack.url, folders.admin_key.read_text().strip(), retries=20) as client,
    ):
        load = Load(client, sink, seed)
        working = asyncio.create_task(load.run())
        await _watch(Sampler(folders), seconds, working, notes)
        load.end()
        await working
    return notes.samples, dict(load.done), await _ledger(folders, load.accepted)


async def _watch(sampler: Sampler, seconds: float, working: asyncio.Task[None], notes: Notes) -> None:
    pause = min(MAX_PAUSE, max(MIN_PAUSE, seconds / SAMPLES))
    columns = (BarColumn(), TextColumn("{task.fields[said]}"), TimeRemainingColumn())
    notes.add(await sampler.sample())
    with Progress(*columns) as progress:
        bar = progress.add_task("soak", total=seconds, said="")
        missed = 0
        while notes.samples[-1].seconds < seconds and not working.done():
            await asyncio.sleep(pause)
            try:
                sample = await sampler.sample()
            except Exception as error:
                missed += 1
                progress.console.print(f"a look has failed: {error!r}", highlight=False)
                if missed == MISSED_IN_A_ROW:
                    raise
                continue
            missed = 0
            notes.add(sample)
            progress.update(bar, completed=sample.seconds, said=f"{sample.ended:,} jobs")


async def _ledger(folders: DataDir, accepted: Sequence[UUID]) -> LedgerReport:
    database = await Database.connect(Settings.from_env({**os.environ, **environment(Servers(folders))}))
    try:
        return await check_ledger(database, accepted)
    finally:
        await database.close()


def _print(
    console: Console,
    samples: Sequence[Sample],
    judged: Sequence[Verdict],
    done: dict[str, int],
    report: LedgerReport,
) -> None:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("what", no_wrap=True)
    for title in ("after warm-up", "at the end", "growth an hour", "95 % interval", "verdict"):
        table.add_column(title, justify="right")
    moved = [verdict for verdict in judged if verdict.first or verdict.last]
    for verdict in moved:
        figures = (verdict.first, verdict.last, verdict.per_hour)
        interval = f"{verdict.low:,.1f} to {verdict.high:,.1f}"
        table.add_row(verdict.name, *(f"{figure:,.1f}" for figure in figures), interval, verdict.word)
    console.print(table)
    console.print(f"{len(judged) - len(moved)} figures stayed at zero", highlight=False)
    console.print(f"{samples[-1].seconds / 60:.1f} minutes, {samples[-1].ended:,} jobs ended; {done}", highlight=False)
    console.print(report, highlight=False)


if __name__ == "__main__":
    main()
