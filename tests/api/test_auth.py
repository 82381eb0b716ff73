import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import httpx
import pytest
from litestar import Litestar, asgi, get
from litestar.types import Receive, Scope, Send

from api import main
from api.auth import declared_routes
from api.main import create_app
from api.principal import GRANTS, Permission
from milpa.errors import FatalError
from milpa.jobs import new_id
from milpa.settings import Settings
from storage.rows import Role
from storage.transaction import Database
from tests.api.conftest import NewKey, client
from tests.support.planted import NAME

_PUBLIC = {
    "/",
    "/health/live",
    "/health/ready",
    "/metrics",
    "/docs",
    "/docs/redoc.min.js",
    "/openapi.json",
    "/v1/downloads/{token}",
    "/v1/downloads/exports/{token}",
}


ROUTES = declared_routes(create_app(Settings()))


def test_only_what_must_be_open_is_open() -> None:
    assert {path for _, path, requires in ROUTES if requires is Permission.PUBLIC} == _PUBLIC


@get("/v1/forgotten", sync_to_thread=False)
def _forgotten() -> None:
    """Say nothing of who may."""


@asgi("/v1/mounted", copy_scope=True)
async def _mounted(scope: Scope, receive: Receive, send: Send) -> None:
    """Say nothing either, by another sort of route."""


@pytest.mark.parametrize("route", [_forgotten, _mounted])
def test_a_route_without_a_declared_permission_does_not_start(route: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "_ROUTES", [*main._ROUTES, route])
    with pytest.raises(FatalError, match="declares no permission") as refused:
        create_app(Settings())
    assert refused.value.code == "undeclared_route"


def test_each_role_includes_the_one_before() -> None:
    ladder = [Role.VIEWER, Role.PLANNER, Role.MANAGER, Role.ADMIN]
    for lower, higher in pairwise(ladder):
        assert GRANTS[lower] < GRANTS[higher]


def address(path: str) -> str:
    return re.sub(r"\{\w+_id\}", lambda _: str(new_id()), path).replace("{kind}", "none")


@pytest.mark.parametrize("key", [None, "mlp_000000000000_" + "0" * 64, "mlp_x", "eyJhbGciOiJub25lIn0.e30."])
async def test_without_a_good_key_nothing_is_said(app: Litestar, key: str | None) -> None:
    async with client(app, key) as http:
        for method, path, requires in ROUTES:
            if requires is not Permission.PUBLIC:
                answer = await http.request(method, address(path))
                assert (answer.status_code, answer.json()["type"]) == (401, "/problems/unauthorized"), path
                assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic mlp_a_b", "mlp_a_b", "Bearer mlp_ä"])
async def test_headers_that_are_no_key(app: Litestar, header: str) -> None:
    async with client(app, None) as http:
        answer = await http.get("/v1/me", headers={b"Authorization": header.encode()})
        assert answer.status_code == 401


async def test_scopes_narrow_a_role(app: Litestar, tenant: UUID, new_key: NewKey) -> None:
    async with client(app, await new_key(tenant, Role.ADMIN, ("read",))) as http:
        assert (await http.get("/v1/jobs")).status_code == 200
        answer = await http.post(f"/v1/jobs/{new_id()}/cancel")
        assert (answer.status_code, answer.json()["type"]) == (403, "/problems/forbidden")


async def test_a_revoked_or_expired_key_is_none(app: Litestar, tenant: UUID, database: Database) -> None:
    async with database.transaction(tenant) as transaction:
        revoked = await transaction.api_keys.create("revoked", Role.ADMIN)
        await transaction.api_keys.revoke(revoked.row.id)
        past = datetime.now(UTC) - timedelta(seconds=1)
        expired = await transaction.api_keys.create("expired", Role.ADMIN, expires_at=past)
    for key in (revoked, expired):
        async with client(app, key.secret) as http:
            assert (await http.get("/v1/me")).status_code == 401


async def test_me_says_who_and_what(app: Litestar, tenant: UUID, new_key: NewKey) -> None:
    async with client(app, await new_key(tenant, Role.PLANNER)) as http:
        me = (await http.get("/v1/me")).json()
    assert (me["tenant_id"], me["role"], me["permissions"]) == (str(tenant), "planner", ["read", "submit"])
    assert (me["kind"], me["name"], UUID(me["subject"]).version) == ("api_key", NAME, 7)
    assert me["limits"]["body_bytes"] == 32_000_000
    assert "mlp_" not in str(me)


async def test_a_key_is_never_logged(http: httpx.AsyncClient, key: str, capfd: pytest.CaptureFixture[str]) -> None:
    await http.get("/v1/me")
    await http.get("/v1/nothing")
    captured = capfd.readouterr()
    assert key not in captured.out + captured.err
