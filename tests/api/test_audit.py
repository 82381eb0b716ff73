"""The audit over HTTP: every write, every look at personal data and every refusal leaves one row, and says who."""

import asyncio
import csv
import io
import re
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest
from litestar import Litestar
from litestar.routes import HTTPRoute

from api.main import create_app
from api.operations import Operation
from api.principal import Permission
from milpa.jobs import new_id
from milpa.settings import Settings
from storage.audit_buffer import AuditBuffer
from storage.audit_rows import Actor, ActorKind, AuditFilter, NewAudit
from storage.rows import Role
from storage.transaction import Database
from tests.api.conftest import NewKey, client, running
from tests.api.deals import SUBMIT, body
from tests.api.jobs import JobDriver
from tests.api.test_files import one_file
from tests.support.stack import settings_of

READS_OF_PERSONAL_DATA = {
    "/v1/audit",
    "/v1/downloads/exports/{token}",
    "/v1/exports/{export_id}/file",
    "/v1/downloads/{token}",
    "/v1/jobs/compare",
    "/v1/jobs/{job_id}/files",
    "/v1/jobs/{job_id}/files/{name}",
    "/v1/jobs/{job_id}/log",
    "/v1/jobs/{job_id}/problem",
    "/v1/jobs/{job_id}/report",
    "/v1/jobs/{job_id}/result",
    "/v1/jobs/{job_id}/why-not",
    "/v1/schedules/{schedule_id}/jobs",
    "/v1/webhooks/deliveries",
    "/v1/webhooks/{webhook_id}/deliveries",
}
"""Whatever shows a problem, a result, a report, a log, a file, an export, what receivers answered, or who did what."""


def routes() -> list[tuple[str, str, str, bool]]:
    """Return `(method, path, action, personal)` of every route that asks who is asking, and of links."""
    found = []
    for route in create_app(Settings()).routes:
        assert isinstance(route, HTTPRoute)
        for handler in route.route_handlers:
            operation: Operation | None = handler.opt.get("operation")
            for method in handler.http_methods - {"OPTIONS", "HEAD"}:
                personal = bool(operation and operation.personal)
                if handler.opt.get("requires") is not Permission.PUBLIC:
                    found.append((method, route.path_format, handler.name or handler.handler_name, personal))
    return sorted(found)


ROUTES = routes()
AUDITED = [(method, path, action) for method, path, action, personal in ROUTES if method != "GET" or personal]


def address(path: str) -> str:
    """Fill in ids of what is not there."""
    return re.sub(r"\{\w+_id\}", lambda _: str(new_id()), path).replace("{kind}", "none").replace("{name}", "x.pdf")


async def audit(http: httpx.AsyncClient, **where: Any) -> list[dict[str, Any]]:
    """Return the rows, newest first, once all that was answered is written; not those of looking at the audit."""
    await asyncio.sleep(0.2)
    rows = (await http.get("/v1/audit", params={"limit": 200, **where})).json()["items"]
    return [row for row in rows if row["action"] != "list_audit"]


def test_what_shows_personal_data_is_declared_so() -> None:
    app = create_app(Settings())
    found = {
        route.path_format
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        if (operation := handler.opt.get("operation")) and operation.personal
    }
    assert found == READS_OF_PERSONAL_DATA


async def test_every_write_and_every_look_at_personal_data_leaves_one_row(
    http: httpx.AsyncClient, app: Litestar, tenant: UUID
) -> None:
    del app, tenant
    expected = []
    for number, (method, path, action) in enumerate(AUDITED):
        request_id = f"walk-{number:08}"
        answer = await http.request(method, address(path), headers={"X-Request-ID": request_id})
        assert answer.status_code < 500, f"{method} {path}: {answer.text}"
        expected.append((request_id, action, answer.status_code))
    await asyncio.sleep(0.2)
    rows = await everything(http)
    found = [(row["request_id"], row["action"], row["status"]) for row in rows if row["request_id"].startswith("walk-")]
    assert sorted(found) == sorted(expected)


async def test_what_only_looks_around_leaves_none(http: httpx.AsyncClient) -> None:
    for method, path, _, personal in ROUTES:
        if method == "GET" and not personal and path != "/v1/events":
            await http.get(address(path))
    assert await audit(http) == []


async def everything(http: httpx.AsyncClient) -> list[dict[str, Any]]:
    """Follow the pages to the end."""
    rows, following = [], "/v1/audit?limit=20"
    while following:
        page = (await http.get(following)).json()
        rows += page["items"]
        following = page["next"]
    return rows


async def test_a_submit_names_its_job_who_and_whence(http: httpx.AsyncClient, tenant: UUID, key: str) -> None:
    del tenant, key
    me = (await http.get("/v1/me")).json()
    answer = await http.post(SUBMIT, json=body(), headers={"X-Request-ID": "trace-12345678"})
    [row] = await audit(http)
    job = answer.json()
    assert row["targets"] == [job["id"]]
    assert (row["action"], row["status"], row["request_id"]) == ("submit_deal_picker", 202, "trace-12345678")
    assert (row["kind"], row["subject"], row["role"]) == ("api_key", me["subject"], "admin")
    assert row["address"] == "127.0.0.1"
    assert row["at"] >= job["created_at"]


async def test_what_is_made_is_named(http: httpx.AsyncClient, driver: JobDriver) -> None:
    batch = (await http.post("/v1/batches", json={"jobs": [{"kind": "deal-picker", **body()}]})).json()
    given = {"name": "n", "cron": "0 2 * * *", "timezone": "UTC", "jobs": [{"kind": "deal-picker", **body()}]}
    schedule = (await http.post("/v1/schedules", json=given)).json()
    webhook = (await http.post("/v1/webhooks", json={"url": "https://example.org/hook"})).json()
    run = (await http.post(f"/v1/schedules/{schedule['id']}/run")).json()
    job = batch["jobs"][0]["id"]
    await http.post(f"/v1/jobs/{job}/cancel")
    again = (await http.post(f"/v1/jobs/{job}/retry")).json()
    await driver.succeed(again["id"])
    cases = {"cases": [{"patch": {"budget": 1}}]}
    children = (await http.post(f"/v1/jobs/{again['id']}/what-if", json=cases)).json()
    forced = (await http.post(f"/v1/jobs/{again['id']}/why-not", json={"force": {"deal_id": "D"}})).json()
    assert [(row["action"], row["targets"]) for row in reversed(await audit(http))] == [
        ("submit_batch", [batch["id"]]),
        ("create_schedule", [schedule["id"]]),
        ("create_webhook", [webhook["id"]]),
        ("run_schedule", [schedule["id"], run["id"]]),
        ("cancel", [job]),
        ("retry", [job, again["id"]]),
        ("ask_what_if", [again["id"], children["batch_id"]]),
        ("ask_why_not", [again["id"], forced["id"]]),
    ]


async def test_what_is_refused_is_kept_with_its_status(
    app: Litestar, http: httpx.AsyncClient, tenant: UUID, new_key: NewKey
) -> None:
    async with client(app, await new_key(tenant, Role.VIEWER)) as viewer:
        assert (await viewer.post(SUBMIT, json=body())).status_code == 403
        assert (await viewer.get("/v1/webhooks")).status_code == 403
        subject = (await viewer.get("/v1/me")).json()["subject"]
    assert (await http.post(SUBMIT, json={"problem": {}})).status_code == 422
    assert (await http.delete(f"/v1/jobs/{new_id()}")).status_code == 404
    job = (await http.post(SUBMIT, json=body())).json()["id"]
    assert (await http.delete(f"/v1/jobs/{job}")).status_code == 409
    rows = [(row["action"], row["status"]) for row in await audit(http)]
    assert sorted(rows) == sorted([
        ("submit_deal_picker", 403), ("list_webhooks", 403), ("submit_deal_picker", 422), ("erase", 404),
        ("submit_deal_picker", 202), ("erase", 409),
    ])  # fmt: skip
    assert {row["action"] for row in await audit(http, subject=subject)} == {"submit_deal_picker", "list_webhooks"}


async def test_a_file_fetched_by_a_link_is_kept_as_the_links(
    app: Litestar, http: httpx.AsyncClient, driver: JobDriver, stack: Any
) -> None:
    job = (await http.post(SUBMIT, json=body())).json()["id"]
    await driver.succeed(job, files=[await one_file(driver, job, stack)])
    [file] = (await http.get(f"/v1/jobs/{job}/files")).json()["items"]
    location = (await http.get(file["url"])).headers["location"]
    async with client(app, None) as anyone:
        assert (await anyone.get(location)).status_code == 200
    [row] = await audit(http, action="download")
    assert (row["kind"], row["targets"], row["status"], row["role"]) == ("link", [job], 200, None)
    assert [row["action"] for row in await audit(http, target=job)] == [
        "download", "fetch_file", "list_files", "submit_deal_picker",
    ]  # fmt: skip


async def test_reads_are_written_before_a_clean_end(
    stack: Any, database: Database, new_key: NewKey, tenant: UUID
) -> None:
    key = await new_key(tenant)
    async with running(create_app(settings_of(stack))) as app, client(app, key) as http:
        job = (await http.post(SUBMIT, json=body())).json()["id"]
        for _ in range(20):
            await http.get(f"/v1/jobs/{job}/problem")
    async with database.transaction(tenant) as transaction:
        rows = await transaction.audit.list(AuditFilter(action="show_problem"))
    assert len(rows) == 20


async def test_when_nothing_can_be_kept_nothing_personal_is_shown_and_nothing_more_waits(
    app: Litestar, here: httpx.AsyncClient, tenant: UUID, new_key: NewKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = (await here.post(SUBMIT, json=body())).json()["id"]
    before = await audit(here)
    monkeypatch.setattr("storage.audit_buffer.MOST_WAITING", 0)
    put = list[NewAudit]()
    monkeypatch.setattr(AuditBuffer, "put", lambda _self, deed: put.append(deed))
    assert (await here.get(f"/v1/jobs/{job}/problem")).status_code == 503
    assert (await here.post(SUBMIT, json=body())).status_code == 503
    async with client(app, await new_key(tenant, Role.VIEWER), alone=True) as viewer:
        assert (await viewer.get("/v1/webhooks")).status_code == 503, "whose refusal could not be kept"
    assert (await here.get(f"/v1/jobs/{job}")).status_code == 200
    assert app.state.services.audit.full
    assert put == []
    monkeypatch.undo()
    assert await audit(here) == before


async def test_a_table_holds_every_row_and_no_formula(
    http: httpx.AsyncClient, database: Database, tenant: UUID, stranger: httpx.AsyncClient
) -> None:
    formula = "=HYPERLINK(1)"
    actor = Actor(tenant_id=tenant, kind=ActorKind.JWT, subject=formula, role="viewer", address="-1")
    async with database.fleet() as fleet:
        deeds = [NewAudit(actor=actor, action="+x", targets=["@y"], status=200) for _ in range(2500)]
        await fleet.audit.keep(deeds)
    answer = await http.get("/v1/audit?limit=5", headers={"Accept": "text/csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    assert "attachment" in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == 2500
    assert {cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "-", "@"))} == set()
    assert {row["subject"] for row in rows} == {f"'{formula}"}
    other = await stranger.get("/v1/audit", headers={"Accept": "text/csv"})
    assert formula not in other.text


async def test_only_an_admin_reads_the_audit_of_its_own_tenant(
    app: Litestar, http: httpx.AsyncClient, stranger: httpx.AsyncClient, tenant: UUID, new_key: NewKey
) -> None:
    await http.post(SUBMIT, json=body())
    await http.post(SUBMIT, json=body())
    assert await audit(stranger) == []
    async with client(app, await new_key(tenant, Role.MANAGER)) as manager:
        assert (await manager.get("/v1/audit")).status_code == 403
    cursor = (await http.get("/v1/audit?limit=1")).json()["next"]
    assert (await stranger.get(cursor)).status_code == 422


async def test_a_cursor_fits_only_the_filters_it_came_from(http: httpx.AsyncClient) -> None:
    for _ in range(3):
        await http.post(SUBMIT, json=body())
    address = (await http.get("/v1/audit?limit=1&action=submit_deal_picker")).json()["next"]
    assert (await http.get(address)).status_code == 200
    assert (await http.get(address.replace("limit=1", "limit=2"))).status_code == 200
    for other in ("&subject=x", "&since=2020-01-01T00:00:00Z"):
        assert (await http.get(address + other)).status_code == 422
    assert (await http.get(address.replace("deal_picker", "batch"))).status_code == 422


async def test_no_row_holds_what_was_submitted(http: httpx.AsyncClient, database: Database) -> None:
    del database
    await http.post(SUBMIT, json=body(name="Zwetschge", tags=["Zwetschge"]))
    await http.get(f"/v1/jobs/{new_id()}/files/Zwetschge.pdf")
    assert b"Zwetschge" not in msgspec.json.encode(await audit(http))
