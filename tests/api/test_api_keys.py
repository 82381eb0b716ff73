"""API keys over HTTP: shown once, narrowed, listed, ended at once, never more than their maker has."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from litestar import Litestar

from api.main import create_app
from deploy.local.servers import Servers
from milpa.jobs import new_id
from storage.rows import Role
from tests.api.conftest import NewKey, client, running
from tests.support.stack import settings_of

KEYS = "/v1/api-keys"


async def made(http: httpx.AsyncClient, **asked: Any) -> dict[str, Any]:
    answer = await http.post(KEYS, json={"name": "a key", "role": "viewer", **asked})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def listed(http: httpx.AsyncClient) -> dict[str, dict[str, Any]]:
    answer = await http.get(KEYS)
    assert answer.status_code == 200, answer.text
    return {key["id"]: key for key in answer.json()["items"]}


async def status(app: Litestar, secret: str, path: str = "/v1/me") -> int:
    async with client(app, secret) as http:
        return (await http.get(path)).status_code


@pytest.fixture(scope="module")
async def other_app(stack: Servers) -> AsyncIterator[Litestar]:
    """Another API of the same Milpa, with connections and memory of its own."""
    async with running(create_app(settings_of(stack))) as app:
        yield app


async def test_a_key_shows_its_secret_once_and_is_good_from_then_on(app: Litestar, http: httpx.AsyncClient) -> None:
    ends = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    key = await made(http, name="nightly", role="planner", scopes=["read"], expires_at=ends)
    secret = key.pop("secret")
    assert secret.startswith(f"mlp_{key['prefix']}_")
    assert (key["name"], key["role"], key["scopes"], key["revoked_at"]) == ("nightly", "planner", ["read"], None)
    assert datetime.fromisoformat(key["expires_at"]) == datetime.fromisoformat(ends)
    answer = await http.get(KEYS)
    assert secret.rpartition("_")[2] not in answer.text
    assert (await listed(http))[key["id"]] == key
    async with client(app, secret) as holder:
        me = (await holder.get("/v1/me")).json()
    assert (me["subject"], me["name"], me["permissions"]) == (key["id"], "nightly", ["read"])
    assert (await listed(http))[key["id"]]["last_used_at"] is not None


async def test_keys_are_listed_by_pages_newest_first(http: httpx.AsyncClient) -> None:
    ids = [(await made(http))["id"] for _ in range(3)]
    first = (await http.get(KEYS, params={"limit": 2})).json()
    second = (await http.get(first["next"])).json()
    assert [key["id"] for key in first["items"]] == ids[:0:-1]
    assert second["items"][0]["id"] == ids[0]
    assert second["next"] is None


async def test_a_key_revoked_through_one_api_is_refused_by_the_other_at_the_very_next_request(
    app: Litestar, other_app: Litestar, http: httpx.AsyncClient
) -> None:
    for _ in range(10):
        key = await made(http)
        assert [await status(one, key["secret"]) for one in (app, other_app)] == [200, 200]
        assert (await http.delete(f"{KEYS}/{key['id']}")).status_code == 204
        assert [await status(one, key["secret"]) for one in (other_app, app)] == [401, 401]


async def test_a_revoked_key_stays_on_the_list_and_may_be_revoked_again(http: httpx.AsyncClient) -> None:
    key = await made(http)
    for _ in range(2):
        assert (await http.delete(f"{KEYS}/{key['id']}")).status_code == 204
    first = (await listed(http))[key["id"]]["revoked_at"]
    assert first is not None
    await http.delete(f"{KEYS}/{key['id']}")
    assert (await listed(http))[key["id"]]["revoked_at"] == first


async def test_a_key_ends_at_its_time(app: Litestar, http: httpx.AsyncClient) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=2)
    key = await made(http, expires_at=soon.isoformat())
    assert await status(app, key["secret"]) == 200
    await asyncio.sleep(max(0.0, (soon - datetime.now(UTC)).total_seconds()) + 0.1)
    assert await status(app, key["secret"]) == 401


@pytest.mark.parametrize(
    ("asked", "pointer", "code"),
    [
        ({"scopes": ["read", "fly"]}, "/scopes/1", "not_allowed"),
        ({"scopes": ["known"]}, "/scopes/0", "not_allowed"),
        ({"scopes": ["read", "submit"]}, "/scopes/1", "not_of_this_role"),
        ({"role": "teacher", "scopes": ["read"]}, "/scopes/0", "not_of_this_role"),
        ({"role": "emperor"}, "/role", "not_allowed"),
        ({"name": ""}, "/name", None),
        ({"name": "a\x00b"}, "/name", None),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "/expires_at", "in_the_past"),
        ({"expires_at": "2099-01-01T00:00:00"}, "/expires_at", None),
        ({"secret": "mlp_my_own"}, "/secret", "unknown_field"),
    ],
)
async def test_what_is_wrong_with_a_key_is_said_and_none_is_made(
    http: httpx.AsyncClient, asked: dict[str, Any], pointer: str, code: str | None
) -> None:
    before = await listed(http)
    answer = await http.post(KEYS, json={"name": "a key", "role": "viewer", **asked})
    assert answer.status_code == 422
    (issue,) = answer.json()["issues"]
    assert issue["pointer"] == pointer
    assert code in (None, issue["code"])
    assert await listed(http) == before


async def test_a_narrowed_admin_hands_out_no_more_than_it_has(app: Litestar, tenant: UUID, new_key: NewKey) -> None:
    secret = await new_key(tenant, Role.ADMIN, ("administer", "read"))
    more = [{"role": "admin"}, {"role": "planner"}, {"role": "manager", "scopes": ["manage"]}]
    no_more = [{"role": "viewer"}, {"role": "planner", "scopes": ["read"]}, {"role": "student"}]
    async with client(app, secret) as http:
        for asked in more:
            answer = await http.post(KEYS, json={"name": "more", **asked})
            assert (answer.status_code, answer.json()["type"]) == (403, "/problems/forbidden"), asked
        for asked in [*no_more, {"role": "admin", "scopes": ["read", "administer"]}]:
            await made(http, **asked)


async def test_a_key_that_expires_makes_none_that_outlives_it(app: Litestar, http: httpx.AsyncClient) -> None:
    now = datetime.now(UTC)
    maker = await made(http, role="admin", expires_at=(now + timedelta(hours=1)).isoformat())
    async with client(app, maker["secret"]) as short:
        for ends in (None, (now + timedelta(hours=2)).isoformat()):
            answer = await short.post(KEYS, json={"name": "longer", "role": "viewer", "expires_at": ends})
            assert answer.status_code == 403
        await made(short, expires_at=(now + timedelta(minutes=59)).isoformat())


async def test_the_last_key_that_administers_is_not_ended_by_a_key(
    app: Litestar, http: httpx.AsyncClient, key: str
) -> None:
    (own,) = await listed(http)
    refused = await http.delete(f"{KEYS}/{own}")
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/last-admin-key")
    await made(http, role="admin", scopes=["read"])
    await made(http, role="manager")
    assert (await http.delete(f"{KEYS}/{own}")).status_code == 409
    assert await status(app, key) == 200
    await made(http, role="admin", scopes=["administer"])
    assert (await http.delete(f"{KEYS}/{own}")).status_code == 204
    assert await status(app, key) == 401


async def test_another_tenants_key_is_a_missing_one(http: httpx.AsyncClient, stranger: httpx.AsyncClient) -> None:
    foreign = await made(stranger)
    answers = [await http.delete(f"{KEYS}/{key}") for key in (foreign["id"], new_id())]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].json().keys() == answers[1].json().keys()
    assert foreign["id"] not in await listed(http)
    assert (await listed(stranger))[foreign["id"]]["revoked_at"] is None


async def test_a_key_is_never_logged(app: Litestar, http: httpx.AsyncClient, capfd: pytest.CaptureFixture[str]) -> None:
    key = await made(http)
    await status(app, key["secret"])
    await status(app, key["secret"], "/v1/nothing")
    await http.delete(f"{KEYS}/{key['id']}")
    await status(app, key["secret"])
    captured = capfd.readouterr()
    assert key["secret"].rpartition("_")[2] not in captured.out + captured.err
