"""Fixtures over the real servers: one stack per test process, one tenant per test."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from deploy.local.servers import Servers
from milpa.settings import Settings
from tests.support.stack import running_servers, settings_of

if TYPE_CHECKING:
    from storage.transaction import Database


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """PostgreSQL and Redis, empty."""
    with running_servers() as servers:
        yield servers


@pytest.fixture(scope="session")
def settings(servers: Servers) -> Settings:
    """Settings that point at the servers, with a seal key and a signing key."""
    return settings_of(servers)


@pytest.fixture(scope="session")
def stack(servers: Servers, settings: Settings) -> Servers:
    """The servers, migrated."""
    from storage.migrate import migrate

    asyncio.run(migrate(settings))
    return servers


@pytest.fixture(scope="session")
async def redis(servers: Servers) -> AsyncIterator[Redis]:
    """A client of the stack's Redis."""
    client = Redis.from_url(servers.redis.url)
    yield client
    await client.aclose()


@pytest.fixture(scope="session")
async def database(stack: Servers, redis: Redis) -> "AsyncIterator[Database]":
    """The stack's database, as API and workers see it."""
    from storage.transaction import Database

    database = await Database.connect(settings_of(stack), redis)
    yield database
    await database.close()


@pytest.fixture
async def tenant(database: "Database") -> UUID:
    """A fresh tenant."""
    async with database.fleet() as fleet:
        return (await fleet.tenants.create(f"test-{uuid4()}")).id
