"""Exports over HTTP: asked for, looked at, fetched by a link that ends; made by a worker's own code."""

import io
import zipfile
from uuid import UUID

import httpx
import pytest
from litestar import Litestar

from api.exports import ExportLink
from milpa.jobs import new_id
from milpa.settings import TenantLimits
from storage.objects import ObjectStore
from storage.rows import Role
from storage.transaction import Database
from tests.api.conftest import NewKey, client
from tests.api.deals import SUBMIT, body
from tests.api.jobs import JobDriver
from tests.api.test_audit import audit
from tests.api.test_openapi import fits
from workers.export import Exporter


@pytest.fixture
def exporter(app: Litestar, database: Database) -> Exporter:
    services = app.state.services
    return Exporter(services.settings, database, ObjectStore(services.settings), kinds="solvers.kinds")


async def made(http: httpx.AsyncClient, exporter: Exporter) -> dict[str, object]:
    asked = await http.post("/v1/exports", json={})
    assert asked.status_code == 202, asked.text
    path = asked.headers["location"]
    assert "file" not in asked.json()["links"]
    while (await http.get(path)).json()["state"] in {"pending", "running"}:
        await exporter.make_next()
    return dict((await http.get(path)).json())


async def test_an_export_is_asked_for_made_and_fetched(
    app: Litestar, http: httpx.AsyncClient, exporter: Exporter, driver: JobDriver
) -> None:
    job = (await http.post(SUBMIT, json=body(name="board"))).json()["id"]
    await driver.succeed(job)
    ready = await made(http, exporter)
    assert ready["state"] == "ready"
    link = await http.get(str(ready["links"]["file"]))  # type: ignore[index]
    assert (link.status_code, link.headers["cache-control"]) == (302, "no-store")
    async with client(app, None) as anyone:
        fetched = await anyone.get(link.headers["location"])
    assert fetched.status_code == 200
    assert len(fetched.content) == ready["size"]
    assert 'filename="milpa-export-' in fetched.headers["content-disposition"]
    assert "sandbox" in fetched.headers["content-security-policy"]
    with zipfile.ZipFile(io.BytesIO(fetched.content)) as archive:
        assert f"jobs/{job}/result.json" in archive.namelist()
    rows = [row["action"] for row in await audit(http, target=ready["id"])]
    assert rows == ["download_export", "fetch_export", "make_export", "create_export"]


async def test_answers_are_what_the_document_says(http: httpx.AsyncClient, exporter: Exporter) -> None:
    ready = await made(http, exporter)
    fits(await http.post("/v1/exports", json={"subject": {"kind": "user", "id": "x"}}), "/v1/exports", "post")
    fits(await http.post("/v1/exports", json={"subject": {"kind": ""}}), "/v1/exports", "post")
    fits(await http.get("/v1/exports"), "/v1/exports")
    fits(await http.get(f"/v1/exports/{ready['id']}"), "/v1/exports/{export_id}")
    fits(await http.get("/v1/audit"), "/v1/audit")
    fits(await http.delete("/v1/subjects/student/none"), "/v1/subjects/{person_kind}/{person_id}", "delete")


async def test_what_is_asked_for_is_decoded_under_the_tenants_limits(
    http: httpx.AsyncClient, database: Database, tenant: UUID
) -> None:
    async with database.fleet() as fleet:
        await fleet.tenants.set_limits(tenant, TenantLimits(max_json_depth=1))
    answer = await http.post("/v1/exports", json={"subject": {"kind": "user", "id": "x"}})
    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/malformed-json")


async def test_what_is_not_ready_is_409_and_what_is_not_there_404(
    app: Litestar, http: httpx.AsyncClient, tenant: UUID
) -> None:
    row = (await http.post("/v1/exports", json={})).json()
    assert (await http.get(f"/v1/exports/{row['id']}/file")).status_code == 409
    for path in (f"/v1/exports/{new_id()}", f"/v1/exports/{new_id()}/file"):
        assert (await http.get(path)).status_code == 404
    links = app.state.services.export_links
    for link, status in (
        (ExportLink(tenant, UUID(row["id"]), 2**40), 404),
        (ExportLink(tenant, UUID(row["id"]), 1), 403),
        (ExportLink(new_id(), UUID(row["id"]), 2**40), 404),
    ):
        assert (await http.get(f"/v1/downloads/exports/{links.sign(link)}")).status_code == status
    assert (await http.get("/v1/downloads/exports/forged")).status_code == 404


async def test_a_foreign_export_is_none(
    http: httpx.AsyncClient, stranger: httpx.AsyncClient, exporter: Exporter
) -> None:
    ready = await made(http, exporter)
    assert (await stranger.get(f"/v1/exports/{ready['id']}")).status_code == 404
    assert (await stranger.get(f"/v1/exports/{ready['id']}/file")).status_code == 404
    assert (await stranger.get("/v1/exports")).json()["items"] == []


async def test_only_an_admin_exports_and_erases(app: Litestar, tenant: UUID, new_key: NewKey) -> None:
    async with client(app, await new_key(tenant, Role.MANAGER)) as manager:
        assert (await manager.post("/v1/exports", json={})).status_code == 403
        assert (await manager.get("/v1/exports")).status_code == 403
        assert (await manager.delete("/v1/subjects/student/S1")).status_code == 403


async def test_exports_are_listed_in_pages(http: httpx.AsyncClient) -> None:
    ids = [(await http.post("/v1/exports", json={})).json()["id"] for _ in range(3)]
    first = (await http.get("/v1/exports?limit=2")).json()
    second = (await http.get(first["next"])).json()
    assert [row["id"] for row in first["items"] + second["items"]] == ids[::-1]
