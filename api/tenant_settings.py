"""The settings that hold for whoever asks: everybody's, with the limits that their tenant has otherwise."""

import time
from uuid import UUID

from milpa.settings import Settings
from storage.transaction import Database

KNOWN_SECONDS = 10.0
"""How long a tenant's limits are taken for unchanged."""
_MOST_KNOWN = 10_000


class TenantSettings:
    """The settings of each tenant, asked for once in a while."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._known: dict[UUID, tuple[float, Settings]] = {}

    async def of(self, tenant: UUID) -> Settings:
        """Return the settings that hold for this tenant."""
        until, settings = self._known.get(tenant, (0.0, self._settings))
        if time.monotonic() < until:
            return settings
        async with self._database.lookups() as tenants:
            settings = self._settings.with_limits(await tenants.limits(tenant))
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[tenant] = (time.monotonic() + KNOWN_SECONDS, settings)
        return settings
