"""A database of storage's own, empty at the start of each test, so that no other test's jobs are in the way."""

import asyncio
import re
from collections.abc import AsyncIterator

import asyncpg
import msgspec
import pytest
from redis.asyncio import Redis

from deploy.local.servers import Servers
from milpa.settings import Secret, Settings
from storage.migrate import migrate
from storage.tables import metadata
from storage.transaction import Database
from tests.support.stack import settings_of

NAME = "milpa_storage"
TABLES = ", ".join(name for name in metadata.tables if name not in {"queues", "audit_log", "audit_retention"})


def other_database(settings: Settings, name: str) -> Settings:
    """The same server and logins, another database."""
    address, owner_address = (
        Secret(re.sub(r"@/\w+\?", f"@/{name}?", url.reveal()))
        for url in (settings.database_url, settings.database_owner_url)
    )
    return msgspec.structs.replace(settings, database_url=address, database_owner_url=owner_address)


async def create_database(settings: Settings, name: str) -> None:
    """Make an empty database on the same server."""
    connection = await asyncpg.connect(settings.database_owner_url.reveal())
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()


@pytest.fixture(scope="session")
def settings(servers: Servers) -> Settings:
    """Settings of a migrated database of storage's own."""
    settings = settings_of(servers)
    asyncio.run(create_database(settings, NAME))
    settings = other_database(settings, NAME)
    asyncio.run(migrate(settings))
    return settings


@pytest.fixture(scope="session")
async def redis(servers: Servers) -> AsyncIterator[Redis]:
    """A Redis database of storage's own."""
    client = Redis.from_url(servers.redis.url, db=1)
    yield client
    await client.aclose()


@pytest.fixture(scope="session")
async def database(settings: Settings) -> AsyncIterator[Database]:
    """The database as API and workers see it, without signals."""
    database = await Database.connect(settings)
    yield database
    await database.close()


@pytest.fixture
async def owner(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    """The owner's connection, which row-level security does not bind: for planting what no store would write."""
    connection = await asyncpg.connect(settings.database_owner_url.reveal())
    yield connection
    await connection.close()


@pytest.fixture(autouse=True)
async def empty(owner: asyncpg.Connection, redis: Redis) -> None:
    """Start with no tenant, no job, no worker, open queues and an empty Redis."""
    await owner.execute(f"TRUNCATE {TABLES}")
    await owner.execute("UPDATE queues SET paused_at = NULL")
    await redis.flushdb()
