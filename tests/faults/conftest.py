"""Crews of real workers with short leases. Each test ends with the ledger."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from milpa.settings import Settings
from storage.ledger import check_ledger
from storage.transaction import Database
from tests.conftest import database, redis, servers, settings, stack, tenant
from tests.faults.crew import Crew
from tests.support.planted import WATCH

__all__ = ["database", "redis", "servers", "settings", "stack", "tenant"]
"""Imported, fixtures are new ones here: servers of their own, because workers take whatever job they find, and the
ledger looks at every job there is."""


@pytest.fixture
async def crew(settings: Settings, database: Database, tenant: UUID) -> AsyncIterator[Crew]:
    """Workers to start and to hurt; all are ended after the test, with nothing left behind."""
    async with _hiring(settings, database) as crew, _ledger(crew, tenant):
        yield crew


@pytest.fixture(scope="module")
async def lasting_crew(settings: Settings, database: Database) -> AsyncIterator[Crew]:
    """One worker with two slots that several tests share, because whatever they do, it must live on."""
    async with _hiring(settings, database) as crew:
        await crew.start(interactive_slots=2)
        yield crew


@pytest.fixture
async def steady(lasting_crew: Crew, tenant: UUID) -> AsyncIterator[Crew]:
    """The lasting crew, working for the tenant of this test. Afterwards its worker still serves."""
    (worker,) = lasting_crew.workers
    async with _ledger(lasting_crew, tenant):
        yield lasting_crew
        following = await lasting_crew.submit("answer")
        await lasting_crew.ended(following)
        assert lasting_crew.workers == [worker]
        assert await lasting_crew.holder(following) is worker


@asynccontextmanager
async def _hiring(settings: Settings, database: Database) -> AsyncIterator[Crew]:
    quick = msgspec.structs.replace(
        settings,
        lease_seconds=2.0,
        heartbeat_seconds=0.5,
        sweep_seconds=0.5,
        interactive_slots=1,
        batch_slots=0,
        child_memory_bytes=800_000_000,
    )
    mute = await Database.connect(quick)
    with tempfile.TemporaryDirectory(prefix="milpa-crew-") as folder:
        crew = Crew(quick, Path(folder), database, mute)
        try:
            yield crew
        finally:
            await crew.end()
            await mute.close()
            WATCH.look([Path(folder)])


@asynccontextmanager
async def _ledger(crew: Crew, tenant: UUID) -> AsyncIterator[None]:
    crew.tenant, crew.accepted = tenant, []
    yield
    report = await check_ledger(crew.database, crew.accepted)
    assert report.ok, report
    for job_id in crew.accepted:
        assert (await crew.job(job_id)).state.ended
