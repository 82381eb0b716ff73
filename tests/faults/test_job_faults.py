"""Solvers that crash, grow or do not listen, and cancels at any moment: the workers live on, and no job is lost."""

import asyncio
import contextlib
from random import Random
from uuid import UUID

import pytest

from milpa.errors import UsageError
from milpa.jobs import EventType, JobState, Outcome
from storage.rows import JobRow
from tests.faults.crew import Crew
from tests.faults.form import rounds, times
from tests.faults.load import load

AT_ONCE = 8
"""Cancels under way at the same time."""


async def test_a_solver_that_crashes_three_times_is_poison_and_touches_no_other_job(steady: Crew, dice: Random) -> None:
    async with load(steady, dice):
        for _ in rounds(1, 5):
            other = await steady.submit("answer", seconds=2.0)
            poison = await steady.submit("segfault")
            job = await steady.ended(poison)
            assert (job.state, job.attempt, job.crash_count) == (JobState.FAILED, 3, 3)
            assert job.error is not None
            assert job.error.code == "poison"
            neighbour = await steady.ended(other)
            assert (neighbour.state, neighbour.attempt) == (JobState.SUCCEEDED, 1)


async def test_a_solver_without_end_to_its_memory_fails_its_job(steady: Crew, dice: Random) -> None:
    async with load(steady, dice):
        for _ in rounds(1, 5):
            job = await steady.ended(await steady.submit("allocate"))
            assert (job.state, job.attempt) == (JobState.FAILED, 1)
            assert job.error is not None
            assert job.error.code == "memory_limit"


@pytest.mark.parametrize(
    ("act", "outcome"), [("climb", Outcome.FEASIBLE), ("hang", Outcome.NO_SOLUTION)], ids=["obedient", "deaf"]
)
async def test_a_stop_keeps_the_best_and_a_cancel_keeps_nothing(steady: Crew, act: str, outcome: Outcome) -> None:
    stopped, cancelled = await steady.submit(act, limit=3600.0), await steady.submit(act, limit=3600.0)
    for job_id in (stopped, cancelled):
        await steady.event(job_id, EventType.STARTED)
    async with steady.database.transaction(steady.tenant) as tenant:
        await tenant.jobs.request_stop(stopped)
        await tenant.jobs.request_cancel(cancelled)
    best = await steady.ended(stopped)
    assert (best.state, best.outcome, best.limit_reached) == (JobState.SUCCEEDED, outcome, "stopped")
    nothing = await steady.ended(cancelled)
    assert (nothing.state, nothing.outcome) == (JobState.CANCELLED, None)


async def test_cancels_at_random_phases_end_every_job_as_they_were_answered(steady: Crew, dice: Random) -> None:
    room = asyncio.Semaphore(AT_ONCE)

    async def cancelled(act: str, after_seconds: float) -> None:
        async with room:
            job_id = await steady.submit(act, seconds=0.2)
            await asyncio.sleep(after_seconds)
            asked = await cancel(steady, job_id)
            assert (await steady.ended(job_id)).state is (JobState.CANCELLED if asked else JobState.SUCCEEDED)

    async with load(steady, dice):
        acts = [(dice.choice(["answer", "climb"]), dice.uniform(0, 1.0) ** 2) for _ in range(times(40, 1000))]
        await asyncio.gather(*(cancelled(act, seconds) for act, seconds in acts))


async def cancel(crew: Crew, job_id: UUID) -> JobRow | None:
    """Cancel the job; None: it has ended already."""
    async with crew.database.transaction(crew.tenant) as tenant:
        with contextlib.suppress(UsageError):
            return await tenant.jobs.request_cancel(job_id)
    return None
