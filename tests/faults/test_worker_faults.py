"""Workers that die, stall or are told to go while they hold a job: another finishes it, and nothing is written twice."""

import asyncio
import signal

from milpa.jobs import EventType, JobState
from tests.faults.crew import Crew, solvers_of, until


async def test_a_worker_killed_mid_solve_takes_its_solver_along_and_another_finishes_the_job(crew: Crew) -> None:
    worker = await crew.start()
    job_id = await crew.submit("climb", seconds=3.0)
    await crew.event(job_id, EventType.STARTED)
    assert list(solvers_of(worker))
    worker.send(signal.SIGKILL)
    await until(lambda: not list(solvers_of(worker)), lambda: "the solver outlived its worker")
    await crew.start()
    job = await crew.ended(job_id)
    assert (job.state, job.attempt, job.crash_count) == (JobState.SUCCEEDED, 2, 1)
    assert [event.type for event in await crew.events(job_id) if event.type is not EventType.INCUMBENT] == [
        EventType.QUEUED, EventType.STARTED, EventType.RESCUED, EventType.STARTED, EventType.SUCCEEDED,
    ]  # fmt: skip


async def test_a_worker_that_comes_back_after_its_lease_writes_nothing(crew: Crew) -> None:
    workers = await asyncio.gather(crew.start(), crew.start())
    job_id = await crew.submit("answer", seconds=1.0)
    zombie = await crew.holder(job_id)
    zombie.send(signal.SIGSTOP)
    job = await crew.ended(job_id)
    assert (job.state, job.attempt) == (JobState.SUCCEEDED, 2)
    solution = await crew.solution(job_id)
    zombie.send(signal.SIGCONT)
    await until(lambda: "lease_lost" in zombie.said(), zombie.said)
    assert await crew.solution(job_id) == solution
    await asyncio.gather(*(worker.end() for worker in workers if worker is not zombie))
    assert (await crew.ended(await crew.submit("answer"))).state is JobState.SUCCEEDED


async def test_sigterm_gives_the_job_back_uncounted_and_another_worker_finishes_it(crew: Crew) -> None:
    await asyncio.gather(crew.start(), crew.start())
    job_id = await crew.submit("climb", seconds=3.0)
    holder = await crew.holder(job_id)
    holder.send(signal.SIGTERM)
    assert await holder.ended() == 0
    job = await crew.ended(job_id)
    assert (job.state, job.attempt, job.crash_count, job.error_count) == (JobState.SUCCEEDED, 2, 0, 0)
