"""Two real workers that share out their slots; each test ends with the ledger."""

from collections.abc import AsyncIterator

import pytest

from milpa.settings import Settings
from storage.transaction import Database
from tests.faults.conftest import QUICK, database, hiring, redis, servers, settings, stack, steady, tenant
from tests.faults.crew import Crew

__all__ = ["database", "redis", "servers", "settings", "stack", "steady", "tenant"]
"""Imported, fixtures are new ones here: servers of their own, because workers take whatever job they find."""


@pytest.fixture(scope="module")
async def lasting_crew(settings: Settings, database: Database) -> AsyncIterator[Crew]:
    """Two workers, each with two slots for people and one for what comes by night."""
    async with hiring(settings, database, interactive_slots=2, batch_slots=1, **QUICK) as crew:
        await crew.start_two()
        yield crew


@pytest.fixture
def crew(steady: Crew) -> Crew:
    """Both of them at the service of the test's tenant."""
    return steady
