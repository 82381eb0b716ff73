"""The database's clock, set by hand: what Milpa asks by `now()` is answered by ours for connections that look here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import asyncpg
import msgspec

from milpa.settings import Secret, Settings

_MAKE = """
CREATE SCHEMA clock;
CREATE TABLE clock.hands (at timestamptz);
CREATE FUNCTION clock.now() RETURNS timestamptz LANGUAGE sql STABLE
    AS 'SELECT coalesce((SELECT at FROM clock.hands), pg_catalog.now())';
GRANT USAGE ON SCHEMA clock TO milpa_app, milpa_fleet;
GRANT SELECT ON clock.hands TO milpa_app, milpa_fleet;
"""


class Clock:
    """Shows one moment until it is set anew. settings: of logins that look at it."""

    def __init__(self, owner: asyncpg.Connection, settings: Settings) -> None:
        self.settings = settings
        self._owner = owner

    async def show(self, moment: datetime | str) -> None:
        """Set the clock."""
        at = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
        await self._owner.execute("TRUNCATE clock.hands")
        await self._owner.execute("INSERT INTO clock.hands VALUES ($1)", at)


@asynccontextmanager
async def hung_clock(settings: Settings) -> AsyncIterator[Clock]:
    """Hang a clock in front of the server's own, in the database of the settings."""
    address = f"{settings.database_url.reveal()}&search_path=clock,pg_catalog,public"
    owner = await asyncpg.connect(settings.database_owner_url.reveal())
    await owner.execute(_MAKE)
    try:
        yield Clock(owner, msgspec.structs.replace(settings, database_url=Secret(address)))
    finally:
        await owner.execute("DROP SCHEMA clock CASCADE")
        await owner.close()
