"""A nightly batch beside people: how long a person's small job takes from submit to its answer, with and without it.

The batch is a thousand small deal pickers on the batch queue; people's jobs come one by one while it runs.
"""

import statistics
import sys
import time

from rich.console import Console
from rich.table import Table

from milpa.client import Client
from milpa.jobs import JobState
from tests.benchmarks.small_jobs import KIND, small_problem, stack

NIGHTLY = 1000
PEOPLE = 100
WARM_UP = 20


def main(nightly: int = NIGHTLY) -> None:
    """Measure and print."""
    with stack() as (folders, url), Client(url, folders.admin_key.read_text().strip()) as client:
        people(client, WARM_UP)
        alone = people(client, PEOPLE)
        entry = {"kind": KIND, "problem": small_problem(), "priority": "batch"}
        batch = client.submit_batch([entry] * nightly)
        while not client.batch(batch.id).counts.get(JobState.SUCCEEDED):
            time.sleep(0.02)
        beside = people(client, PEOPLE)
        left = nightly - client.batch(batch.id).counts[JobState.SUCCEEDED]
        solves = [job.solve_seconds for job in client.jobs(batch_id=batch.id, state="succeeded", limit=200)]
    table = Table(
        "people's jobs", "median ms", "p99 ms", "worst ms", title=f"{PEOPLE} jobs one by one, a batch of {nightly}"
    )
    for name, seconds in (("alone", alone), ("beside the batch", beside)):
        centiles = statistics.quantiles(seconds, n=100)
        table.add_row(name, *(f"{1e3 * value:.1f}" for value in (centiles[49], centiles[98], max(seconds))))
    Console(width=110).print(table)
    print(
        f"{left} of the batch were left at the end; a solve of it: median {1e3 * statistics.median(filter(None, solves)):.1f} ms"
    )


def people(client: Client, count: int) -> list[float]:
    """Return the seconds that each of so many jobs takes, one after the other."""
    problem, seconds = small_problem(), []
    for _ in range(count):
        began = time.perf_counter()
        client.submit(KIND, problem, wait=30)
        seconds.append(time.perf_counter() - began)
    return seconds


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else NIGHTLY)
