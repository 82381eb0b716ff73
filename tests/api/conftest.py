"""The API over the real stack: in this process, behind uvicorn where bytes must flow, and in a process of its own.

Both are on one PostgreSQL and Redis, and requests go to one and the other in turn.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import cycle
from uuid import UUID, uuid4

import asyncpg
import httpx
import msgspec
import pytest
import uvicorn
from litestar import Litestar

from api.main import create_app
from deploy.local.servers import Servers
from storage.rows import Role
from storage.transaction import Database
from tests.api.jobs import JobDriver
from tests.support.api_process import address_of, api_process, listening
from tests.support.planted import NAME
from tests.support.stack import settings_of

BASE = "http://milpa.test"
NewKey = Callable[..., Awaitable[str]]


class InTurn(httpx.AsyncBaseTransport):
    """Hands requests to one API and the other in turn."""

    def __init__(self, *apis: httpx.AsyncBaseTransport) -> None:
        self._apis = apis
        self._turns = cycle(apis)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await next(self._turns).handle_async_request(request)

    async def aclose(self) -> None:
        for api in self._apis:
            await api.aclose()


class At(httpx.AsyncHTTPTransport):
    """Connects to this address, wherever a request says that it goes."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._address = httpx.URL(address)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(host=self._address.host, port=self._address.port)
        return await super().handle_async_request(request)


def client(app: Litestar, key: str | None, *, alone: bool = False) -> httpx.AsyncClient:
    """Return a client of this app and, if it has one and is not to be alone, of its twin in turn."""
    headers = {"User-Agent": NAME, **({"Authorization": f"Bearer {key}"} if key else {})}
    twin = None if alone else app.state.get("twin")
    here = httpx.ASGITransport(app=app, raise_app_exceptions=False)  # type: ignore[arg-type]
    transport = InTurn(here, *([At(twin)] if twin else []))
    return httpx.AsyncClient(transport=transport, base_url=BASE, headers=headers, timeout=60)


@asynccontextmanager
async def running(app: Litestar) -> AsyncIterator[Litestar]:
    """Run the app's lifespan in one task of its own: fixtures begin and end in different ones."""
    started, ending = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        async with app.lifespan():
            started.set()
            await ending.wait()

    task = asyncio.create_task(live())
    waiting = asyncio.create_task(started.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    try:
        if not task.done():
            yield app
    finally:
        ending.set()
        await task


@pytest.fixture(scope="session")
def twin(stack: Servers) -> Iterator[str]:
    """The address of an API in a process of its own."""
    with listening() as twin, api_process(settings_of(stack), twin):
        yield address_of(twin)


@pytest.fixture(scope="session")
async def app(stack: Servers, twin: str) -> AsyncIterator[Litestar]:
    """An API in this process, beside its twin."""
    async with running(create_app(settings_of(stack))) as app:
        app.state["twin"] = twin
        yield app


@pytest.fixture(scope="session")
async def small_app(stack: Servers) -> AsyncIterator[Litestar]:
    """An API that takes little: bodies of 20 kB, uploads of 5 kB, one stream."""
    settings = settings_of(stack)
    small = msgspec.structs.replace(settings, max_body_bytes=20_000, max_upload_bytes=5_000, max_streams=1)
    async with running(create_app(small)) as app:
        yield app


@pytest.fixture
def new_key(database: Database) -> NewKey:
    async def make(tenant: UUID, role: Role = Role.ADMIN, scopes: tuple[str, ...] = ()) -> str:
        async with database.fleet() as fleet:
            return (await fleet.tenants.create_key(tenant, NAME, role, scopes)).secret

    return make


@pytest.fixture
async def key(new_key: NewKey, tenant: UUID) -> str:
    return await new_key(tenant)


@pytest.fixture
async def http(app: Litestar, key: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the tenant's admin."""
    async with client(app, key) as http:
        yield http


@pytest.fixture
async def here(app: Litestar, key: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API in this process alone, for tests that reach into it."""
    async with client(app, key, alone=True) as http:
        yield http


@pytest.fixture
async def small_http(small_app: Litestar, key: str) -> AsyncIterator[httpx.AsyncClient]:
    async with client(small_app, key) as http:
        yield http


@pytest.fixture
async def stranger(app: Litestar, database: Database, new_key: NewKey) -> AsyncIterator[httpx.AsyncClient]:
    """A client of another tenant's admin."""
    async with database.fleet() as fleet:
        other = await fleet.tenants.create(f"stranger-{uuid4()}")
    async with client(app, await new_key(other.id)) as http:
        yield http


@pytest.fixture
def driver(database: Database, tenant: UUID) -> JobDriver:
    """Ends the tenant's jobs as a worker would."""
    return JobDriver(database, tenant)


@pytest.fixture
async def owner(stack: Servers) -> AsyncIterator[asyncpg.Connection]:
    """The database as its owner sees it."""
    connection = await asyncpg.connect(settings_of(stack).database_owner_url.reveal())
    yield connection
    await connection.close()


@asynccontextmanager
async def served(app: Litestar) -> AsyncIterator[str]:
    """Serve the app by uvicorn on a free port; yields its address."""
    config = uvicorn.Config(app, port=0, lifespan="off", log_level="critical", access_log=False)  # type: ignore[arg-type]
    async with serving(config) as address:
        yield address


@asynccontextmanager
async def serving(config: uvicorn.Config) -> AsyncIterator[str]:
    """Serve as configured, but on a free port and without the app's own beginning and end; yields the address."""
    config.port, config.lifespan = 0, "off"
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[method-assign]
    await _start(server)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.force_exit = True
        await server.shutdown()


async def _start(server: uvicorn.Server) -> None:
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup()


def connect(key: str, *addresses: str) -> httpx.AsyncClient:
    """Return a client over real sockets, of these APIs in turn."""
    headers = {"Authorization": f"Bearer {key}"}
    transport = InTurn(*map(At, addresses))
    return httpx.AsyncClient(transport=transport, base_url=addresses[0], headers=headers, timeout=60)


@pytest.fixture
async def live(app: Litestar, twin: str, key: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the tenant's admin over real sockets."""
    async with served(app) as address, connect(key, address, twin) as http:
        yield http


@pytest.fixture
async def live_here(app: Litestar, key: str) -> AsyncIterator[httpx.AsyncClient]:
    """The same of the API in this process alone."""
    async with served(app) as address, connect(key, address) as http:
        yield http
