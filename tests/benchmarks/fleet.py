"""The fleet: jobs per second with one, two and four worker processes of two slots each.

Probes that do nothing show what queue and database can do; small deal pickers are what people send, and there the cores
set the limit. A batch makes all jobs wait at once; the time from the first start to the last end counts.
"""

import asyncio
import sys
from collections.abc import Sequence

import msgspec
from rich.console import Console
from rich.table import Table

from deploy.local.folders import DataDir
from deploy.local.stack import running
from deploy.local.teller import Teller
from milpa.client import Client
from milpa.jobs import Job, JobState
from storage.migrate import migrate
from storage.rows import JobRow, NewJob
from storage.submit import MAX_BATCH
from tests.benchmarks.small_jobs import DEALS, KIND, small_problem
from tests.benchmarks.workers import hired
from tests.support.stack import running_servers, settings_of, temporary_folder

PROCESSES = (1, 2, 4)
SLOTS = 2
WARM_UP = 50
"""Jobs before those that count, until every child is warm."""


def main(jobs: int = MAX_BATCH) -> None:
    """Measure and print."""
    title = f"Jobs per second, {jobs} jobs, {SLOTS} slots a process"
    table = Table("a job is", *(f"{count} worker processes" for count in PROCESSES), title=title)
    table.add_row("nothing", *(f"{asyncio.run(_probes(count, jobs)):.0f}" for count in PROCESSES))
    table.add_row(f"{DEALS} deals", *(f"{_deals(count, jobs):.0f}" for count in PROCESSES))
    Console(width=110).print(table)


async def _probes(processes: int, jobs: int) -> float:
    """Rate of jobs that do nothing, submitted beside the API."""
    with running_servers() as servers:
        settings = msgspec.structs.replace(settings_of(servers), interactive_slots=SLOTS, batch_slots=0)
        await migrate(settings)
        async with hired(settings) as crew:
            await asyncio.gather(*(crew.start() for _ in range(processes)))
            probe = NewJob(kind="probe", kind_version=1, input=b'{"act":"answer"}')
            for count in (WARM_UP, jobs):
                async with crew.database.transaction(crew.tenant) as tenant:
                    waiting = [job.id for job in (await tenant.jobs.submit_batch(None, [probe] * count)).jobs]
                ended = [await crew.ended(job_id) for job_id in waiting]
    return _rate(ended)


def _deals(processes: int, jobs: int) -> float:
    """Rate of small deal pickers through the whole stack."""
    with temporary_folder() as folder:
        folder.chmod(0o711)
        folders = DataDir(folder / "data")
        with (
            running(folders, "127.0.0.1", 0, processes, Teller(Console(stderr=True))) as stack,
            Client(stack.url, folders.admin_key.read_text().strip()) as client,
        ):
            entry = {"kind": KIND, "problem": small_problem()}
            for count in (WARM_UP, jobs):
                batch = client.submit_batch([entry] * count)
                *_, last = client.batch_events(batch.id)
                assert last.counts == {JobState.SUCCEEDED: count}
            return _rate(client.jobs(batch_id=batch.id, limit=jobs))


def _rate(ended: Sequence[Job | JobRow]) -> float:
    starts = [job.started_at.timestamp() for job in ended if job.started_at is not None]
    ends = [job.finished_at.timestamp() for job in ended if job.finished_at is not None]
    return len(ended) / (max(ends) - min(starts))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else MAX_BATCH)
