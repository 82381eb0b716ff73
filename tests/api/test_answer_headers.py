"""What browsers are told by every answer: what may be framed, guessed, kept, referred and asked from elsewhere."""

from typing import Any

import httpx
import msgspec
import pytest
from litestar import Litestar

from api.answer_headers import ALWAYS
from api.main import create_app
from deploy.local.servers import Servers
from deploy.serve import server_config
from milpa.errors import UsageError
from milpa.settings import Settings
from tests.api.conftest import client, running, serving
from tests.api.deals import SUBMIT, body
from tests.api.jobs import JobDriver
from tests.api.test_problem_details import broken
from tests.support.stack import settings_of

NOWHERE = "01890000-0000-7000-8000-000000000000"
HSTS = "strict-transport-security"


def is_hardened(answer: httpx.Response) -> None:
    headers = answer.headers
    for name, value in ALWAYS:
        assert len(headers.get_list(name.decode())) == 1, name
        if name not in {b"content-security-policy", b"cache-control"}:
            assert headers[name.decode()] == value.decode()
    policy = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in policy.get("script-src", "")
    assert "*" not in headers["content-security-policy"]


async def test_every_answer_has_them(http: httpx.AsyncClient, driver: JobDriver) -> None:
    made = await http.post(SUBMIT, json=body())
    path = f"/v1/jobs/{made.json()['id']}"
    shown = await http.get(path)
    answers = {
        202: made,
        200: shown,
        304: await http.get(path, headers={"If-None-Match": shown.headers["etag"]}),
        400: await http.post(SUBMIT, content=b"{", headers={"Content-Type": "application/json"}),
        401: await http.get(path, headers={"Authorization": "Bearer nobody"}),
        404: await http.get(f"/v1/jobs/{NOWHERE}"),
        405: await http.put("/v1/jobs"),
        409: await http.get(f"{path}/result"),
        413: await http.post(
            SUBMIT, content=b"", headers={"Content-Type": "application/json", "Content-Length": "9" * 12}
        ),
        415: await http.post(SUBMIT, content=b"x", headers={"Content-Type": "text/plain"}),
        422: await http.post(SUBMIT, json={}),
    }
    await driver.succeed(made.json()["id"])
    answers[204] = await http.delete(path)
    for status, answer in answers.items():
        assert answer.status_code == status
        is_hardened(answer)
        assert answer.headers["cache-control"] in {"no-store", "private, no-cache"}
        assert HSTS not in answer.headers


@pytest.mark.parametrize(
    "path", ["/docs", "/docs/redoc.min.js", "/openapi.json", "/health/live", "/metrics", "/", "/v1/x"]
)
async def test_so_do_pages_and_what_is_not_there(app: Litestar, path: str) -> None:
    async with client(app, None) as http:
        is_hardened(await http.get(path))
        is_hardened(await http.options(path))


async def test_so_do_faults(stack: Servers) -> None:
    app = create_app(settings_of(stack))
    app.register(broken)
    async with client(app, None) as http:
        answer = await http.get("/broken")
    assert (answer.status_code, answer.headers["cache-control"]) == (500, "no-store")
    is_hardened(answer)


async def test_streams_too(live: httpx.AsyncClient) -> None:
    async with live.stream("GET", "/v1/events", headers={"Accept": "text/event-stream"}) as stream:
        is_hardened(stream)
        assert stream.headers["cache-control"] == "no-store, no-transform"


async def test_who_came_by_tls_is_to_come_so_again(stack: Servers) -> None:
    settings = msgspec.structs.replace(settings_of(stack), public_url="https://milpa.example")
    async with client(create_app(settings), None) as http:
        assert (await http.get("/health/live")).headers[HSTS] == "max-age=31536000"
        assert (await http.get("/nowhere")).headers[HSTS] == "max-age=31536000"
    async with client(create_app(msgspec.structs.replace(settings, hsts_seconds=0)), None) as http:
        assert HSTS not in (await http.get("/health/live")).headers


@pytest.mark.parametrize(("proxies", "believed"), [(("127.0.0.1",), True), ((), False), (("10.0.0.0/8",), False)])
async def test_a_trusted_proxy_says_that_it_was_tls(proxies: tuple[str, ...], believed: bool) -> None:
    settings = Settings(trusted_proxies=proxies)
    config = server_config(create_app(settings), settings)
    async with serving(config) as address, httpx.AsyncClient(base_url=address) as http:
        answer = await http.get("/health/live", headers={"X-Forwarded-Proto": "https"})
    assert (HSTS in answer.headers) is believed


# Pages of other origins

HOME = "https://app.example"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization, content-type"}


def allowed(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


async def test_no_other_origin_may_ask_unless_set(http: httpx.AsyncClient) -> None:
    for origin in (HOME, "null", "http://milpa.test"):
        assert allowed(await http.get("/v1/me", headers={"Origin": origin})) == {}
        assert allowed(await http.options(SUBMIT, headers={"Origin": origin, **PREFLIGHT})) == {}


@pytest.mark.parametrize(
    "stranger",
    [
        "http://app.example",
        "https://app.example:8443",
        "https://app.example.evil.example",
        "https://evil.app.example",
        "https://appxexample",
        "https://app.example/",
        "HTTPS://APP.EXAMPLE",
        "null",
        "*",
    ],
)
async def test_an_origin_is_that_one_exactly(stack: Servers, key: str, stranger: str) -> None:
    settings = msgspec.structs.replace(settings_of(stack), cors_origins=(HOME, "http://localhost:3000"))
    async with running(create_app(settings)) as app, client(app, key) as http:
        for origin in (HOME, "http://localhost:3000"):
            answer = await http.get("/v1/me", headers={"Origin": origin})
            assert answer.headers["access-control-allow-origin"] == origin
            assert "Origin" in answer.headers["vary"]
            assert "access-control-allow-credentials" not in answer.headers
            asked = await http.options(SUBMIT, headers={"Origin": origin, **PREFLIGHT})
            assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (204, origin)
        for answer in (
            await http.get("/v1/me", headers={"Origin": stranger}),
            await http.options(SUBMIT, headers={"Origin": stranger, **PREFLIGHT}),
        ):
            assert "access-control-allow-origin" not in answer.headers
            is_hardened(answer)


@pytest.mark.parametrize(
    "asked", [{"Access-Control-Request-Method": "TRACE"}, {"Access-Control-Request-Headers": "x-evil"}]
)
async def test_only_methods_and_headers_that_there_are(stack: Servers, asked: dict[str, Any]) -> None:
    settings = msgspec.structs.replace(settings_of(stack), cors_origins=(HOME,))
    async with client(create_app(settings), None) as http:
        assert (await http.options(SUBMIT, headers={"Origin": HOME, **PREFLIGHT, **asked})).status_code == 400


@pytest.mark.parametrize(
    "origin", ["*", "https://*.example", "app.example", "https://app.example/", "null", "https://a b"]
)
def test_an_origin_that_is_none_is_refused_at_the_start(origin: str) -> None:
    with pytest.raises(UsageError, match="MILPA_CORS_ORIGINS"):
        create_app(Settings(cors_origins=(origin,)))
