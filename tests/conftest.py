"""Fixtures over the real servers: one stack per test process, one tenant per test."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, TextIO, cast
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from redis.asyncio import Redis

from deploy.local.servers import Servers
from milpa.logging import configure
from milpa.settings import Settings
from tests.support import planted
from tests.support.stack import running_servers, settings_of

if TYPE_CHECKING:
    from storage.transaction import Database

# No test asserts how fast a machine is, and a busy one may be slow at making up examples too.
hypothesis_settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("any machine")


class _Both:
    """Writes to a file and to stderr as it is at the moment, which pytest exchanges for every test."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        sys.stderr.write(text)
        return self._file.write(text)

    def flush(self) -> None:
        self._file.flush()

    def isatty(self) -> bool:
        return False


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--attack", type=int, default=1, help="how many times as long the tests in tests/api/attack go on")


@pytest.fixture(scope="session", autouse=True)
def no_log_holds_what_was_planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Collect the logs of this process, and fail the run when they, or those of any process it started, hold a mark."""
    file = tmp_path_factory.mktemp("logs") / "pytest.log"
    with file.open("w") as log:
        configure("debug", to=cast("TextIO", _Both(log)))
        yield
    planted.WATCH.look([file])
    assert planted.WATCH.found == []


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
