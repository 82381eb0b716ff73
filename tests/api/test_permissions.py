"""Every route × every role × own and foreign tenant, held against the one table in docs/permissions.md."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import httpx
import pytest
from litestar import Litestar
from sqlalchemy import event

from api.auth import declared_routes
from api.main import create_app
from api.principal import GRANTS, Permission
from milpa.jobs import new_id
from milpa.settings import Settings
from solvers.registry import all_kinds
from storage.rows import Role
from storage.tables import metadata
from storage.transaction import Database
from tests.api.conftest import NewKey, client, connect, served
from tests.api.jobs import JobDriver
from tests.api.things import BODIES, make_things
from tests.storage.steps import add_tenant

DOCUMENT = Path(__file__).parents[2] / "docs/permissions.md"
ROLES = list(Role)
OPEN, YES, NO = "open", "yes", "no"
ROUTES = [
    (method, path, requires)
    for method, path, requires in declared_routes(create_app(Settings()))
    if path not in {f"/v1/{kind}/jobs" for kind in all_kinds()}  # they ask what /v1/{kind}/jobs does
]
IDS = re.compile(r"\{\w+_id\}")
ERASES = "DELETE"


class Route(NamedTuple):
    method: str
    path: str


def table() -> dict[Route, dict[Role, str]]:
    """Read the document's table."""
    rows: dict[Route, dict[Role, str]] = {}
    for line in DOCUMENT.read_text().splitlines():
        cells = [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        if re.fullmatch(r"[A-Z]+", cells[0]):
            route = Route(cells[0], cells[1])
            assert route not in rows, f"{route} is there twice"
            rows[route] = dict(zip(ROLES, cells[2:], strict=True))
    return rows


TABLE = table()


def test_the_table_names_the_roles_in_their_order() -> None:
    (head,) = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| method")]
    assert [cell.strip() for cell in head.strip("|").split("|")] == ["method", "path", *ROLES]


def test_the_table_has_a_row_for_every_route_and_no_other() -> None:
    assert set(TABLE) == {Route(method, path) for method, path, _ in ROUTES}


def test_each_route_declares_what_the_table_says() -> None:
    for method, path, requires in ROUTES:
        for role in ROLES:
            declared = OPEN if requires is Permission.PUBLIC else YES if requires in GRANTS[role] else NO
            assert TABLE[Route(method, path)][role] == declared, f"{method} {path} for {role}"


def test_teachers_and_students_may_ask_who_they_are_and_nothing_else() -> None:
    for role in (Role.TEACHER, Role.STUDENT):
        assert [route for route, cells in TABLE.items() if cells[role] == YES] == [Route("GET", "/v1/me")]


@pytest.fixture(scope="module")
async def addresses(app: Litestar, twin: str) -> AsyncIterator[tuple[str, str]]:
    """The APIs on sockets: streams that do not end must be left in the middle."""
    async with served(app) as address:
        yield address, twin


Things = dict[str, str]


async def things_of(app: Litestar, database: Database, tenant: UUID, new_key: NewKey) -> Things:
    async with client(app, await new_key(tenant)) as http:
        return await make_things(http, JobDriver(database, tenant))


@pytest.fixture
async def own(app: Litestar, database: Database, tenant: UUID, new_key: NewKey) -> Things:
    """The tenant's things."""
    return await things_of(app, database, tenant, new_key)


@pytest.fixture
async def other(database: Database) -> UUID:
    """Another tenant."""
    return await add_tenant(database)


@pytest.fixture
async def foreign(app: Litestar, database: Database, other: UUID, new_key: NewKey) -> Things:
    """The other tenant's things."""
    return await things_of(app, database, other, new_key)


def missing_like(things: Things) -> Things:
    """Ids that nobody has."""
    return {name: str(new_id()) if name.endswith("_id") else value for name, value in things.items()}


class Said(NamedTuple):
    """An answer without what differs from request to request."""

    status: int
    body: Any
    headers: frozenset[str]


async def ask(http: httpx.AsyncClient, route: Route, ids: dict[str, str]) -> Said:
    """Ask a route about these things."""
    path = re.sub(r"\{(\w+)\}", lambda found: ids[found[1]], route.path)
    async with http.stream(route.method, path, json=BODIES.get(route)) as answer:
        streams = answer.headers.get("content-type", "").startswith("text/event-stream")
        problem = None if streams or answer.is_success or answer.is_redirect else await read(answer)
        return Said(answer.status_code, problem, frozenset(answer.headers) - {"date", "content-length"})


async def read(answer: httpx.Response) -> Any:
    await answer.aread()
    return answer.json() | {"request_id": ""}


@pytest.mark.parametrize("role", ROLES)
async def test_in_ones_own_tenant_each_role_may_what_the_table_says(
    addresses: tuple[str, str], tenant: UUID, own: Things, new_key: NewKey, role: Role
) -> None:
    in_order = sorted(TABLE, key=lambda route: route.method == ERASES)
    async with connect(await new_key(tenant, role), *addresses) as http:
        for route in in_order:
            status = (await ask(http, route, own)).status
            if TABLE[route][role] == NO:
                assert status == 403, f"{route}: {status}"
            else:
                assert status not in (401, 403, 415), f"{route}: {status}"
                assert status < 500, f"{route}: {status}"
                assert (status == 404) == ("{token}" in route.path), f"{route}: it is there, and yet {status}"


WITH_IDS = sorted(route for route in TABLE if IDS.search(route.path))


def test_every_route_with_an_id_that_takes_a_body_has_a_good_one_to_try() -> None:
    taking = {
        Route(method, route.path_format)
        for route in create_app(Settings()).routes
        for handler in route.route_handlers  # type: ignore[union-attr]
        for method in handler.http_methods
        if getattr(handler.opt.get("operation"), "body", None) is not None and IDS.search(route.path_format)
    }
    assert taking <= set(BODIES)


@pytest.mark.parametrize("role", ROLES)
async def test_another_tenants_things_are_missing_things_to_every_role(  # noqa: PLR0917  fixtures and the case
    addresses: tuple[str, str],
    tenant: UUID,
    other: UUID,
    foreign: Things,
    new_key: NewKey,
    settings: Settings,
    role: Role,
) -> None:
    before = await rows_of(settings, other)
    missing = missing_like(foreign)
    async with connect(await new_key(tenant, role), *addresses) as http:
        for route in WITH_IDS:
            theirs, nobodys = await ask(http, route, foreign), await ask(http, route, missing)
            assert theirs.status == (404 if TABLE[route][role] == YES else 403), f"{route}: {theirs}"
            assert theirs == nobodys, route
    assert await rows_of(settings, other) == before


async def test_another_tenants_id_runs_the_very_statements_that_a_missing_one_does(
    app: Litestar, here: httpx.AsyncClient, foreign: Things
) -> None:
    missing = missing_like(foreign)
    with statements_noted(app):
        for route in WITH_IDS:
            way, *ways = [await statements_of(here, route, ids) for ids in (foreign, foreign, missing, missing)]
            assert any("WHERE" in statement for statement in way[1:]), f"{route} looks for it"
            assert all(other == way for other in ways), (route, way, ways)


_BESIDE = ("SET last_used_at", "SELECT limits")
"""What follows the clock: the noting of a key's use, and limits of the caller that are asked for anew."""
_run: ContextVar[list[str]] = ContextVar("statements of this request")


async def statements_of(http: httpx.AsyncClient, route: Route, ids: Things) -> list[str]:
    """Ask about what is not there, and return the statements that were run for it."""
    run: list[str] = []
    token = _run.set(run)  # what runs beside requests has another context, or that of a request before
    try:
        assert (await ask(http, route, ids)).status == 404, route
        return list(run)
    finally:
        _run.reset(token)


@contextmanager
def statements_noted(app: Litestar) -> Iterator[None]:
    """Note the statements of each request, in its own list."""

    def note(statement: str) -> None:
        if not any(beside in statement for beside in _BESIDE):
            _run.get([]).append(statement)

    def by_sqlalchemy(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        note(statement)

    def by_asyncpg(said: asyncpg.connection.LoggedQuery) -> None:
        note(said.query)

    def taken(connection: Any, *_: Any) -> None:
        connection.driver_connection.add_query_logger(by_asyncpg)

    database = app.state.services.database
    engines = [engine.sync_engine for engine in (database._engine, database._lookups)]
    for engine in engines:
        event.listen(engine, "checkout", taken)
        event.listen(engine, "before_cursor_execute", by_sqlalchemy)
    try:
        yield
    finally:
        for engine in engines:
            event.remove(engine, "checkout", taken)
            event.remove(engine, "before_cursor_execute", by_sqlalchemy)


async def rows_of(settings: Settings, tenant: UUID) -> dict[str, list[Any]]:
    """Return all that the tenant has, as PostgreSQL's owner sees it."""
    owner = await asyncpg.connect(settings.database_owner_url.reveal())
    try:
        return {
            name: await owner.fetch(f"SELECT * FROM {name} WHERE tenant_id = $1 ORDER BY 1, 2, 3", tenant)  # noqa: S608
            for name, found in metadata.tables.items()
            if "tenant_id" in found.c
        }
    finally:
        await owner.close()


@pytest.mark.parametrize(
    "query",
    ["jobs/compare?ids={job_id},{own}", "jobs/compare?ids={own},{own2}&baseline={job_id}", "jobs?batch_id={batch_id}",
     "webhooks/deliveries?job_id={job_id}", "webhooks/deliveries?batch_id={batch_id}", "audit?target={job_id}"],
)  # fmt: skip
async def test_another_tenants_ids_find_nothing_in_queries(
    http: httpx.AsyncClient, driver: JobDriver, own: Things, foreign: Things, query: str
) -> None:
    mine = {"own": own["job_id"], "own2": (await make_things(http, driver))["job_id"]}
    asked = [query.format(**ids, **mine) for ids in (foreign, missing_like(foreign))]
    theirs, nobodys = [await http.get(f"/v1/{one}") for one in asked]
    assert theirs.status_code == nobodys.status_code
    if theirs.is_success:
        assert theirs.json() == nobodys.json() == {"items": [], "next": None}
    else:
        assert theirs.json() | {"request_id": ""} == nobodys.json() | {"request_id": ""}
