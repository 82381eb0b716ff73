"""Workers that die, stall or are told to go while they hold jobs: others finish them, and nothing is written twice."""

import asyncio
import signal
import time
from random import Random
from typing import Any

import pytest

from milpa.jobs import EventType, JobState
from milpa.settings import Settings
from tests.faults.conftest import QUICK
from tests.faults.crew import Crew, until
from tests.faults.figures import took
from tests.faults.form import FULL, rounds
from tests.faults.load import load

SHIPPED = {name: getattr(Settings(), name) for name in QUICK}
PACES = [QUICK, SHIPPED] if FULL else [QUICK]
JOB_SECONDS = 1.5


def _of(pace: dict[str, Any]) -> str:
    return f"{pace['lease_seconds']:g} s lease"


@pytest.mark.parametrize("pace", PACES, ids=_of, indirect=True)
async def test_the_jobs_of_workers_killed_at_random_moments_are_finished_by_others(
    crew: Crew, dice: Random, pace: dict[str, Any]
) -> None:
    await crew.start_two(interactive_slots=2)
    async with load(crew, dice):
        for _ in rounds(2, 15 if pace is QUICK else 3):
            jobs = [await crew.submit("answer", seconds=JOB_SECONDS) for _ in range(4)]
            victim = await crew.holder(dice.choice(jobs))
            await asyncio.sleep(dice.uniform(0, JOB_SECONDS / 2))
            killed_at = await victim.kill()
            held = await crew.held_by(victim)
            await crew.start(interactive_slots=2)
            for job_id in held:
                rescued = await crew.event(job_id, EventType.RESCUED)
                took(f"kill -9 to rescued, {_of(pace)}", rescued.at.timestamp() - killed_at)
            for job_id in held:
                job = await crew.ended(job_id)
                assert (job.state, job.attempt, job.crash_count) == (JobState.SUCCEEDED, 2, 1)
                assert job.finished_at is not None
                took(f"kill -9 to finished elsewhere, {_of(pace)}", job.finished_at.timestamp() - killed_at)
                assert [event.type for event in await crew.events(job_id) if event.type in _STEPS] == [
                    EventType.QUEUED, EventType.STARTED, EventType.RESCUED, EventType.STARTED, EventType.SUCCEEDED,
                ]  # fmt: skip


_STEPS = set(EventType) - {EventType.PHASE, EventType.INCUMBENT, EventType.FILE}


async def test_a_worker_that_comes_back_after_its_lease_writes_nothing(crew: Crew, dice: Random) -> None:
    await crew.start_two()
    async with load(crew, dice):
        for _ in rounds(1, 6):
            job_id = await crew.submit("answer", seconds=1.0)
            zombie = await crew.holder(job_id)
            zombie.send(signal.SIGSTOP)
            job = await crew.ended(job_id)
            assert (job.state, job.attempt) == (JobState.SUCCEEDED, 2)
            solution = await crew.solution(job_id)
            before = zombie.said().count("lease_lost")
            zombie.send(signal.SIGCONT)
            await until(lambda: zombie.said().count("lease_lost") > before, zombie.said)  # noqa: B023
            assert await crew.solution(job_id) == solution


async def test_workers_told_to_go_one_after_the_other_give_their_jobs_back_uncounted(crew: Crew, dice: Random) -> None:
    await crew.start_two(interactive_slots=2)
    async with load(crew, dice):
        for _ in rounds(1, 6):
            long = [await crew.submit("climb", seconds=3.0) for _ in range(2)]
            leaver = await crew.holder(dice.choice(long))
            await asyncio.sleep(dice.uniform(0, 1.0))
            told_at = time.monotonic()
            leaver.send(signal.SIGTERM)
            assert await leaver.ended() == 0
            took("SIGTERM to drained", time.monotonic() - told_at)
            await crew.start(interactive_slots=2)
            for job_id in long:
                await crew.ended(job_id)
    for job_id in crew.accepted:
        job = await crew.job(job_id)
        assert (job.state, job.crash_count, job.error_count) == (JobState.SUCCEEDED, 0, 0)
