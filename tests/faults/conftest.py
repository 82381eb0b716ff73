"""Crews of real workers with short leases. Each test ends with the ledger."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import msgspec
import pytest

from milpa.settings import Settings
from storage.ledger import check_ledger
from storage.objects import ObjectStore
from storage.transaction import Database
from tests.conftest import database, redis, servers, settings, stack, tenant
from tests.faults import figures
from tests.faults.crew import Crew, solvers_of
from tests.faults.form import SAID, SEED
from tests.support.planted import WATCH

__all__ = ["database", "redis", "servers", "settings", "stack", "tenant"]
"""Imported, fixtures are new ones here: servers of their own, because workers take whatever job they find, and the
ledger looks at every job there is."""

QUICK = {"lease_seconds": 2.0, "heartbeat_seconds": 0.5, "sweep_seconds": 0.5}
"""Leases so short that a test can wait for their end."""

HARDY = 20
"""Crashes that a job survives where workers die all the time."""


def pytest_report_header() -> str:
    return SAID


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines = figures.table()
    if lines:
        terminalreporter.section(f"recovery: {SAID}")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture
def dice(request: pytest.FixtureRequest) -> Random:
    """What decides at random; said at the start, so that a failure shows it."""
    print(f"\n    {SAID}")
    return Random(f"{SEED} {request.node.nodeid}")


@pytest.fixture
def pace(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Leases, heartbeats and sweeps of the crew."""
    return getattr(request, "param", QUICK)


@pytest.fixture
async def crew(settings: Settings, database: Database, tenant: UUID, pace: dict[str, Any]) -> AsyncIterator[Crew]:
    """Workers to start and to hurt; all are ended after the test, with nothing left behind."""
    async with hiring(settings, database, max_crashes=HARDY, **pace) as crew, _ledger(crew, tenant):
        yield crew


@pytest.fixture(scope="module")
async def lasting_crew(settings: Settings, database: Database) -> AsyncIterator[Crew]:
    """Two workers with two slots each that several tests share, because whatever they do, both must live on."""
    async with hiring(settings, database, interactive_slots=2, **QUICK) as crew:
        await crew.start_two()
        yield crew


@pytest.fixture
async def steady(lasting_crew: Crew, tenant: UUID) -> AsyncIterator[Crew]:
    """The lasting crew, working for the tenant of this test. Afterwards both of its workers still serve."""
    async with _ledger(lasting_crew, tenant):
        yield lasting_crew
        one_too_many = [await lasting_crew.submit("climb") for _ in range(lasting_crew.settings.interactive_slots + 1)]
        holders = {await lasting_crew.holder(job_id) for job_id in one_too_many}
        assert holders == set(lasting_crew.workers) == set(lasting_crew.alive)
        for job_id in one_too_many:
            async with lasting_crew.database.transaction(tenant) as mine:
                await mine.jobs.request_stop(job_id)
            await lasting_crew.ended(job_id)


@asynccontextmanager
async def hiring(settings: Settings, database: Database, **changes: Any) -> AsyncIterator[Crew]:
    """A crew with these settings, whose workers are still to be started; all are ended at exit."""
    small: dict[str, Any] = {"interactive_slots": 1, "batch_slots": 0, "child_memory_bytes": 800_000_000}
    quick = msgspec.structs.replace(settings, **small | changes)
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
    assert await crew.unended() == []
    report = await check_ledger(crew.mute, crew.accepted, ObjectStore(crew.settings))
    report = msgspec.structs.replace(report, orphan_solvers=sum(1 for _ in solvers_of(*crew.dead)))
    print(
        f"    {len(crew.accepted)} jobs accepted, lost {report.lost}, terminal events missing "
        f"{report.without_terminal_event}, doubled {report.several_terminal_events}, duplicate results "
        f"{report.duplicate_results}, stuck {report.stuck}, untold {report.untold}, orphan solvers {report.orphan_solvers}"
    )
    assert report.ok, report.broken
