import base64
import hashlib
import re
from typing import Any
from urllib.parse import quote, unquote
from uuid import UUID

import httpx
import msgspec
import pytest
from litestar import Litestar

from api.files import FileLink
from milpa.jobs import FileFormat, new_id
from storage.objects import ObjectStore, object_key
from storage.rows import NewFile
from storage.transaction import Database
from tests.api.conftest import client
from tests.api.deals import SUBMIT, body
from tests.api.jobs import JobDriver
from tests.storage.steps import add_tenant
from tests.support.stack import settings_of

CONTENT = b"%PDF-1.7 of a kind"
NAME = "Bericht für März.pdf"


@pytest.fixture
async def job(http: httpx.AsyncClient, driver: JobDriver, stack: Any) -> dict[str, Any]:
    """A job that has ended with one file."""
    job: dict[str, Any] = (await http.post(SUBMIT, json=body())).json()
    await driver.succeed(job["id"], files=[await one_file(driver, job["id"], stack)])
    return job


async def one_file(driver: JobDriver, job_id: str, stack: Any) -> NewFile:
    """Put a file of the job into the store."""
    key = object_key(driver.tenant, UUID(job_id), 1, NAME)
    await ObjectStore(settings_of(stack)).put(key, CONTENT)
    return NewFile(
        name=NAME,
        format=FileFormat.PDF,
        media_type="application/pdf",
        size=len(CONTENT),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        object_key=key,
    )


async def test_a_file_is_listed_and_fetched_through_a_link(
    app: Litestar, http: httpx.AsyncClient, job: dict[str, Any]
) -> None:
    listed = (await http.get(f"/v1/jobs/{job['id']}/files")).json()
    [file] = listed["items"]
    assert (file["name"], file["format"], file["size"]) == (NAME, "pdf", len(CONTENT))
    assert file["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert "object_key" not in file
    answer = await http.get(file["url"])
    assert answer.status_code == 302
    assert answer.headers["cache-control"] == "no-store"
    async with client(app, None) as anyone:
        fetched = await anyone.get(answer.headers["location"])
    assert (fetched.status_code, fetched.content) == (200, CONTENT)
    assert fetched.headers["content-type"] == "application/pdf"
    assert fetched.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in fetched.headers["content-security-policy"]
    disposition = fetched.headers["content-disposition"]
    assert (
        disposition
        == "attachment; filename=\"Bericht f_r M_rz.pdf\"; filename*=UTF-8''Bericht%20f%C3%BCr%20M%C3%A4rz.pdf"
    )


async def test_a_store_that_signs_links_is_led_to_itself(
    here: httpx.AsyncClient, job: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def presigned(_store: ObjectStore, key: str, seconds: int) -> str:
        return f"https://store.example/{key}?for={seconds}"

    monkeypatch.setattr(ObjectStore, "presigned", presigned)
    answer = await here.get(f"/v1/jobs/{job['id']}/files/{quote(NAME)}")
    address = answer.headers["location"]
    assert (answer.status_code, address.startswith("https://store.example/"), address[-8:]) == (302, True, "?for=900")


async def test_a_link_ends(app: Litestar, http: httpx.AsyncClient, job: dict[str, Any], driver: JobDriver) -> None:
    signer = app.state.services.file_links
    ended = signer.sign(FileLink(driver.tenant, UUID(job["id"]), NAME, until=1_700_000_000))
    answer = await http.get(f"/v1/downloads/{ended}")
    assert (answer.status_code, answer.json()["type"]) == (403, "/problems/link-expired")


async def test_a_link_cannot_be_made_or_changed(app: Litestar, http: httpx.AsyncClient, job: dict[str, Any]) -> None:
    location = (await http.get(f"/v1/jobs/{job['id']}/files/{NAME}")).headers["location"]
    token = location.rpartition("/")[2]
    cursor = app.state.services.cursors.sign(["x"])
    for other in (
        token[:-6] + "AAAAAA",
        token[:10] + ("A" if token[10] != "A" else "B") + token[11:],
        cursor,
        "x",
        "%00",
    ):
        answer = await http.get(f"/v1/downloads/{other}")
        assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")


async def test_a_links_signature_is_good_for_its_own_tenant_job_name_and_time_only(
    http: httpx.AsyncClient, job: dict[str, Any], driver: JobDriver, stack: Any
) -> None:
    second = (await http.post(SUBMIT, json=body())).json()
    await driver.succeed(second["id"], files=[await one_file(driver, second["id"], stack)])
    token = (await http.get(f"/v1/jobs/{job['id']}/files/{NAME}")).headers["location"].rpartition("/")[2]
    signed = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    link = msgspec.msgpack.decode(signed[16:], type=FileLink)
    assert (link.tenant, link.job_id, link.name) == (driver.tenant, UUID(job["id"]), NAME)
    for change in (
        {"tenant": new_id()},
        {"job_id": UUID(second["id"])},
        {"name": "other.pdf"},
        {"until": link.until + 1},
    ):
        changed = signed[:16] + msgspec.msgpack.encode(msgspec.structs.replace(link, **change))
        answer = await http.get(f"/v1/downloads/{base64.urlsafe_b64encode(changed).rstrip(b'=').decode()}")
        assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found"), change


async def test_a_link_that_names_another_tenant_finds_nothing_even_when_we_have_signed_it(
    app: Litestar, http: httpx.AsyncClient, job: dict[str, Any], database: Database
) -> None:
    other = await add_tenant(database)
    ours = app.state.services.file_links.sign(FileLink(other, UUID(job["id"]), NAME, until=4_000_000_000))
    assert (await http.get(f"/v1/downloads/{ours}")).status_code == 404


async def test_a_link_to_an_erased_job_leads_nowhere(http: httpx.AsyncClient, job: dict[str, Any]) -> None:
    location = (await http.get(f"/v1/jobs/{job['id']}/files/{NAME}")).headers["location"]
    await http.delete(f"/v1/jobs/{job['id']}")
    assert (await http.get(location)).status_code == 404


async def test_erasing_a_job_erases_its_objects(
    http: httpx.AsyncClient, job: dict[str, Any], driver: JobDriver, stack: Any
) -> None:
    await http.delete(f"/v1/jobs/{job['id']}")
    objects = ObjectStore(settings_of(stack))
    assert [info async for info in objects.list(f"{driver.tenant}/")] == []


async def test_foreign_and_missing_files_are_not_found(
    http: httpx.AsyncClient, stranger: httpx.AsyncClient, job: dict[str, Any]
) -> None:
    assert (await stranger.get(f"/v1/jobs/{job['id']}/files/{NAME}")).status_code == 404
    for name in ("other.pdf", "..%2f..%2fetc%2fpasswd", "%00"):
        assert (await http.get(f"/v1/jobs/{job['id']}/files/{name}")).status_code == 404


async def test_a_file_is_asked_for_later(http: httpx.AsyncClient, job: dict[str, Any]) -> None:
    path = f"/v1/jobs/{job['id']}/files"
    answer = await http.post(path, json={"formats": ["xlsx", "pdf"]})
    assert answer.status_code == 202
    assert answer.json()["pending"] == ["xlsx"]
    assert (await http.get(path)).json()["pending"] == ["xlsx"]
    events = (await http.get(f"/v1/jobs/{job['id']}/events")).json()["items"]
    assert events[-1]["type"] == "succeeded"


async def test_what_is_there_is_not_made_again(http: httpx.AsyncClient, job: dict[str, Any]) -> None:
    answer = await http.post(f"/v1/jobs/{job['id']}/files", json={"formats": ["pdf"]})
    assert (answer.status_code, answer.json()["pending"]) == (202, [])


async def test_files_are_made_of_succeeded_jobs_only(http: httpx.AsyncClient) -> None:
    job = (await http.post(SUBMIT, json=body())).json()
    answer = await http.post(f"/v1/jobs/{job['id']}/files", json={"formats": ["pdf"]})
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/job-without-report")


async def test_formats_that_are_none_are_refused(http: httpx.AsyncClient, job: dict[str, Any]) -> None:
    for given in ({"formats": ["docx"]}, {"formats": []}, {}, {"formats": ["pdf"], "x": 1}):
        assert (await http.post(f"/v1/jobs/{job['id']}/files", json=given)).status_code == 422


EVIL = [
    "a\r\nX-Evil: 1\r\n\r\n<html>.pdf",
    'x"; filename="evil.exe',
    "x; filename*=UTF-8''evil.exe",
    "\u202efdp.exe",
    "..\\..\\windows\\win.ini",
    "tab\tand \x7f.pdf",
    "n" * 3000,
    "数" * 300 + ".pdf",
]


@pytest.mark.parametrize("name", EVIL, ids=range(len(EVIL)))
async def test_no_name_of_a_file_breaks_out_of_its_header(
    http: httpx.AsyncClient, driver: JobDriver, stack: Any, name: str
) -> None:
    job = (await http.post(SUBMIT, json=body())).json()["id"]
    claim = await driver.claim(job)
    key = object_key(driver.tenant, UUID(job), 1, "a.pdf")
    await ObjectStore(settings_of(stack)).put(key, b"x")
    digest = hashlib.sha256(b"x").hexdigest()
    file = NewFile(
        name=name, format=FileFormat.PDF, media_type="application/pdf", size=1, sha256=digest, object_key=key
    )
    await driver.succeed(job, files=[file], claim=claim)
    [listed] = (await http.get(f"/v1/jobs/{job}/files")).json()["items"]
    fetched = await http.get((await http.get(listed["url"])).headers["location"])
    assert fetched.content == b"x"
    assert "x-evil" not in fetched.headers
    plain, _, encoded = fetched.headers["content-disposition"].partition("; filename*=UTF-8''")
    assert re.fullmatch(r'attachment; filename="[A-Za-z0-9_. -]*"', plain)
    assert re.fullmatch(r"[A-Za-z0-9_.~%-]*", encoded)
    assert unquote(encoded) == name
