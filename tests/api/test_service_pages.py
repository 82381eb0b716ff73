import re

import httpx
import msgspec
from litestar import Litestar

from api.main import create_app
from deploy.local.servers import Servers
from milpa.settings import Settings
from tests.api.conftest import client, running
from tests.support.stack import settings_of


async def test_docs_need_no_network(app: Litestar) -> None:
    async with client(app, None) as http:
        page = await http.get("/docs")
        addresses = re.findall(r'(?:src|href|spec-url)="([^"]*)"', page.text)
        assert set(addresses) == {"/docs/redoc.min.js", "/openapi.json", "data:,"}
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "http" not in policy
        viewer = await http.get("/docs/redoc.min.js")
        assert viewer.headers["content-type"].startswith("text/javascript")
        assert b"Redoc" in viewer.content
        assert (await http.get("/openapi.json")).status_code == 200


async def test_the_bare_address_leads_to_the_documentation(app: Litestar) -> None:
    async with client(app, None) as http:
        led = await http.get("/")
        assert led.status_code == 302
        assert led.headers["location"] == "docs"  # relative: right below whatever path a proxy serves it at


async def test_health_needs_no_key(app: Litestar) -> None:
    async with client(app, None) as http:
        assert (await http.get("/health/live")).json() == {"status": "ok"}
        assert (await http.get("/health/ready")).json() == {"status": "ok", "redis": "ok"}


async def test_metrics_count_by_route_and_never_by_id(http: httpx.AsyncClient) -> None:
    for path in ("/v1/jobs/01890000-0000-7000-8000-000000000000", "/nowhere/at/all"):
        await http.get(path)
        await http.get(path)  # by the other API: each counts its own
    figures = (await http.get("/metrics")).text
    assert 'milpa_requests_total{method="GET",route="/v1/jobs/{job_id}",status="404"}' in figures
    assert 'milpa_requests_total{method="GET",route="none",status="404"}' in figures
    assert "milpa_request_seconds_bucket" in figures
    assert "milpa_streams 0.0" in figures
    assert "01890000" not in figures
    assert "nowhere" not in figures


async def test_metrics_are_off_by_setting(stack: Servers) -> None:
    quiet = create_app(msgspec.structs.replace(settings_of(stack), metrics=False))
    async with client(quiet, None) as http:
        assert (await http.get("/metrics")).status_code == 404


async def test_links_start_with_the_public_address_when_it_is_set(stack: Servers, key: str) -> None:
    settings = msgspec.structs.replace(settings_of(stack), public_url="https://milpa.example/base/")
    async with running(create_app(settings)) as app, client(app, key) as http:
        kinds = (await http.get("/v1/kinds")).json()["items"]
    assert kinds[0]["links"]["self"].startswith("https://milpa.example/base/v1/kinds/")


async def test_other_origins_are_shut_out_unless_set(http: httpx.AsyncClient, stack: Servers) -> None:
    asking = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
    closed = await http.options("/v1/jobs", headers=asking)
    assert "access-control-allow-origin" not in closed.headers
    assert (closed.status_code, closed.headers["allow"]) == (204, "GET, HEAD, OPTIONS")
    settings = msgspec.structs.replace(settings_of(stack), cors_origins=("https://elsewhere.example",))
    async with client(create_app(settings), None) as open_http:
        allowed = await open_http.options("/v1/jobs", headers=asking)
        assert allowed.headers["access-control-allow-origin"] == "https://elsewhere.example"
        refused = await open_http.options("/v1/jobs", headers={**asking, "Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in refused.headers


def test_creating_the_app_asks_for_no_server() -> None:
    assert create_app(Settings()).routes
