"""A crew of real workers with short leases; each test ends with the ledger."""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from milpa.settings import Settings
from storage.ledger import check_ledger
from storage.transaction import Database
from tests.faults.crew import Crew


@pytest.fixture
async def crew(settings: Settings, database: Database, tenant: UUID) -> AsyncIterator[Crew]:
    """Workers to start, which are all ended with nothing left behind, and a ledger that must hold afterwards."""
    quick = msgspec.structs.replace(
        settings,
        lease_seconds=2.0,
        heartbeat_seconds=0.5,
        sweep_seconds=0.5,
        interactive_slots=1,
        batch_slots=0,
        child_memory_bytes=800_000_000,
        log_level="info",
    )
    with tempfile.TemporaryDirectory(prefix="milpa-crew-") as folder:
        mute = await Database.connect(quick)
        crew = Crew(quick, Path(folder), database, mute, tenant)
        try:
            yield crew
        finally:
            await crew.end()
            await mute.close()
        report = await check_ledger(database, crew.accepted)
        assert report.ok, report
        for job_id in crew.accepted:
            assert (await crew.job(job_id)).state.ended
