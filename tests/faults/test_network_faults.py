"""Connections to PostgreSQL that break around a COMMIT: whatever was kept, nobody acts on it twice."""

import asyncio
from collections.abc import AsyncIterator
from random import Random

import pytest

from deploy.local.servers import Servers
from milpa.client import AsyncClient
from milpa.jobs import EventType, JobState
from milpa.settings import Secret
from tests.faults.api import api_key, gateway, submitting, two_apis
from tests.faults.crew import Crew
from tests.faults.form import rounds, times
from tests.faults.load import load
from tests.faults.proxy import Mischief, PostgresProxy, Streams, listening

SHARE = 0.06
"""Of all COMMITs, how many meet a mischief."""


@pytest.fixture
async def proxy(servers: Servers, crew: Crew, dice: Random) -> AsyncIterator[PostgresProxy]:
    """Stands before PostgreSQL; what it delays is later than a lease at times."""
    path = servers.folders.sockets / ".s.PGSQL.5432"

    async def connect() -> Streams:
        return await asyncio.open_unix_connection(str(path))

    proxy = PostgresProxy(connect, dice, late_seconds=1.2 * crew.settings.lease_seconds)
    async with listening(proxy):
        yield proxy


async def test_connections_that_break_while_a_commit_is_in_flight_lose_and_double_nothing(
    crew: Crew, dice: Random, proxy: PostgresProxy
) -> None:
    through = {"database_url": Secret(proxy.url)}
    await crew.start_two(["workers.main"], interactive_slots=2, **through)
    asked: list[str] = []
    async with (
        two_apis(crew.changed(**through), crew.folder) as apis,
        gateway(apis, dice) as front,
        AsyncClient(front.address, await api_key(crew), retries=60) as client,
    ):
        submit = await submitting(crew, client, asked)
        async with load(crew, dice, submit, submitters=2):
            proxy.share = SHARE
            while min(proxy.done[mischief] for mischief in Mischief) < times(3, 50):
                await asyncio.sleep(0.1)
                if dice.random() < 0.02:
                    proxy.cut()
            proxy.share = 0.0
    print(f"    COMMITs: {dict(proxy.done)}")
    assert len(set(crew.accepted)) == len(asked) == await crew.count()


async def test_connections_that_fall_silent_cost_no_job_an_attempt(crew: Crew, proxy: PostgresProxy) -> None:
    await crew.start_two(database_url=Secret(proxy.url), lease_seconds=6.0)
    for _ in rounds(1, 6):
        running = await crew.submit("answer", seconds=8.0)
        await crew.event(running, EventType.STARTED)
        assert proxy.silence() > 0
        job = await crew.ended(running)
        assert (job.state, job.attempt, job.crash_count) == (JobState.SUCCEEDED, 1, 0)
