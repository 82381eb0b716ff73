"""Webhooks over HTTP: whom to tell, with which secret, and what was told."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from storage.rows import Role
from storage.transaction import Database
from storage.webhook_rows import Attempted, DeliveryRef
from tests.api.conftest import NewKey, client
from tests.api.deals import SUBMIT, body
from tests.api.jobs import JobDriver

URL = "https://example.org/hook"
FAILED = Attempted(delivered=False, seconds=0.2, status=500, response="no")


async def made(http: httpx.AsyncClient, **more: Any) -> dict[str, Any]:
    answer = await http.post("/v1/webhooks", json={"url": URL, **more})
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == answer.json()["links"]["self"]
    return dict(answer.json())


async def attempt(driver: JobDriver, attempted: Attempted) -> None:
    """Try all that is due for the tenant, as a worker would."""
    async with driver.database.fleet() as fleet:
        taken = await fleet.deliveries.take(1000, each=1000, share=1000, lease_seconds=60)
    for ref in taken:
        if ref.tenant_id == driver.tenant:
            await record(driver.database, ref, attempted)


async def record(database: Database, ref: DeliveryRef, attempted: Attempted) -> None:
    async with database.transaction(ref.tenant_id) as transaction:
        await transaction.deliveries.record(ref, attempted)


async def deliveries(http: httpx.AsyncClient, address: str = "/v1/webhooks/deliveries") -> list[dict[str, Any]]:
    answer = await http.get(address)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


async def test_a_webhook_shows_its_secret_once(http: httpx.AsyncClient) -> None:
    webhook = await made(http, events=["job.failed"], kinds=["deal-picker"], tags=["board"])
    secret = webhook.pop("secret")
    assert secret.startswith("whsec_")
    assert (webhook["events"], webhook["kinds"], webhook["tags"]) == (["job.failed"], ["deal-picker"], ["board"])
    assert (webhook["enabled"], webhook["disabled_reason"], webhook["failing_since"]) == (True, None, None)
    shown = await http.get(webhook["links"]["self"])
    listed = await http.get("/v1/webhooks")
    assert shown.json() == webhook
    assert listed.json() == {"items": [webhook], "next": None}
    assert secret not in shown.text + listed.text


async def test_what_is_left_out_of_a_change_stays(http: httpx.AsyncClient) -> None:
    webhook = await made(http, events=["job.failed"], tags=["a"])
    address = webhook["links"]["self"]
    changed = (await http.patch(address, json={"tags": [], "url": URL + "/2"})).json()
    assert (changed["url"], changed["tags"], changed["events"]) == (URL + "/2", [], ["job.failed"])
    disabled = (await http.patch(address, json={"enabled": False})).json()
    assert (disabled["enabled"], disabled["disabled_reason"]) == (False, "asked")
    refused = await http.post(f"{address}/test")
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/webhook-disabled")
    enabled = (await http.patch(address, json={"enabled": True})).json()
    assert (enabled["enabled"], enabled["disabled_reason"], enabled["disabled_at"]) == (True, None, None)


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"url": "ftp://example.org/"}, "/url", None),
        ({"url": "https://127.0.0.1/"}, "/url", "bad_address"),
        ({"url": "https://[::1]/"}, "/url", "bad_address"),
        ({"url": "http://169.254.169.254/latest/meta-data"}, "/url", "bad_address"),
        ({"url": "https://user:secret@example.org/"}, "/url", "bad_address"),
        ({"url": "https://example.org:22/"}, "/url", "bad_address"),
        ({"url": "https://xn--a/"}, "/url", "bad_address"),
        ({"url": f"https://{'xn--' * 400}/"}, "/url", "bad_address"),
        ({"url": "https://example.org/" + "x" * 2000}, "/url", None),
        ({"events": ["job.exploded"]}, "/events/0", None),
        ({"kinds": ["deal-picker", "tea-picker"]}, "/kinds/1", "unknown_kind"),
        ({"tags": [""]}, "/tags/0", None),
        ({"secret": "mine"}, "/secret", "unknown_field"),
    ],
)
async def test_what_is_wrong_with_a_webhook_is_said_with_its_place(
    http: httpx.AsyncClient, change: dict[str, Any], pointer: str, code: str | None
) -> None:
    webhook = await made(http)
    for answer in (
        await http.post("/v1/webhooks", json={"url": URL, **change}),
        await http.patch(webhook["links"]["self"], json=change),
    ):
        assert answer.status_code == 422, answer.text
        (issue,) = answer.json()["issues"]
        assert issue["pointer"] == pointer
        assert code is None or issue["code"] == code


@pytest.mark.parametrize("url", ["http://10.0.0.1/", "nowhere", 5])
async def test_all_that_is_wrong_with_a_webhook_is_said_at_once(http: httpx.AsyncClient, url: object) -> None:
    webhook = await made(http)
    wrong = {"url": url, "events": ["job.exploded"], "kinds": [7, "tea-picker"], "tags": "board"}
    for answer in (
        await http.post("/v1/webhooks", json=wrong),
        await http.patch(webhook["links"]["self"], json=wrong),
    ):
        assert answer.status_code == 422, answer.text
        pointers = sorted(issue["pointer"] for issue in answer.json()["issues"])
        assert pointers == ["/events/0", "/kinds/0", "/kinds/1", "/tags", "/url"]
        assert answer.json()["issues_total"] == 5


async def test_an_erased_webhook_is_gone_with_its_log(http: httpx.AsyncClient, driver: JobDriver) -> None:
    webhook = await made(http)
    job = (await http.post(SUBMIT, json=body())).json()
    await driver.succeed(job["id"])
    assert len(await deliveries(http)) == 1
    assert (await http.delete(webhook["links"]["self"])).status_code == 204
    assert (await http.delete(webhook["links"]["self"])).status_code == 404
    assert (await http.get(webhook["links"]["self"])).status_code == 404
    assert await deliveries(http) == []


async def test_secrets_are_rotated(http: httpx.AsyncClient) -> None:
    webhook = await made(http)
    for address in (f"{webhook['links']['self']}/rotate", "/v1/webhooks/secret"):
        first, second = (await http.post(address)).json(), (await http.post(address)).json()
        assert first["secret"].startswith("whsec_")
        assert len({first["secret"], second["secret"], webhook["secret"]}) == 3
        assert first["overlap_hours"] == 24


async def test_deliveries_show_every_attempt_and_are_tried_anew(http: httpx.AsyncClient, driver: JobDriver) -> None:
    webhook = await made(http)
    jobs = [(await http.post(SUBMIT, json=body())).json() for _ in range(3)]
    for job in jobs:
        await driver.succeed(job["id"])
    log = webhook["links"]["deliveries"]
    pending = await deliveries(http, log)
    assert [one["job_id"] for one in pending] == [job["id"] for job in reversed(jobs)]
    assert {(one["webhook_id"], one["type"], one["state"], one["url"]) for one in pending} == {
        (webhook["id"], "job.succeeded", "pending", URL)
    }
    await attempt(driver, FAILED)
    failed = await deliveries(http, log + "?state=failed")
    assert len(failed) == 3
    assert [(one["number"], one["status"], one["error"], one["response"]) for one in failed[0]["attempts"]] == [
        (1, 500, None, "no")
    ]
    assert (failed[0]["next_at"], failed[0]["ended_at"] is not None) == (None, True)
    again = await http.post(f"/v1/webhooks/deliveries/{failed[0]['id']}/redeliver")
    assert (again.status_code, again.json()["state"], again.json()["id"]) == (202, "pending", failed[0]["id"])
    assert again.json()["next_at"] is not None
    await attempt(driver, Attempted(delivered=True, seconds=0.1, status=200))
    (delivered,) = await deliveries(http, log + "?state=delivered")
    assert [one["status"] for one in delivered["attempts"]] == [500, 200]


async def test_a_range_of_deliveries_is_tried_anew(http: httpx.AsyncClient, driver: JobDriver) -> None:
    webhook = await made(http)
    for _ in range(3):
        await driver.succeed((await http.post(SUBMIT, json=body())).json()["id"])
    await attempt(driver, FAILED)
    address = f"{webhook['links']['self']}/redeliver"
    hour = timedelta(hours=1)
    now = datetime.now(UTC)
    for asked, count in [
        ({"since": (now + hour).isoformat()}, 0),
        ({"until": (now - hour).isoformat()}, 0),
        ({"state": "delivered"}, 0),
        ({"since": (now - hour).isoformat(), "until": (now + hour).isoformat()}, 3),
        ({}, 0),
        ({"state": None}, 3),
    ]:
        answer = await http.post(address, json=asked)
        assert (answer.status_code, answer.json()) == (202, {"count": count}), asked
    assert (await http.post(address, json={"since": "2026-01-01T00:00:00"})).status_code == 422


async def test_deliveries_come_in_pages(http: httpx.AsyncClient, driver: JobDriver) -> None:
    webhook = await made(http)
    for _ in range(5):
        await driver.succeed((await http.post(SUBMIT, json=body())).json()["id"])
    seen: list[str] = []
    address: str | None = webhook["links"]["deliveries"] + "?limit=2"
    while address:
        page = (await http.get(address)).json()
        seen += [one["id"] for one in page["items"]]
        address = page["next"]
    assert seen == [one["id"] for one in await deliveries(http)]
    assert len(seen) == 5


async def test_a_test_ping_is_a_delivery(http: httpx.AsyncClient) -> None:
    webhook = await made(http, events=["job.failed"])
    answer = await http.post(f"{webhook['links']['self']}/test")
    assert (answer.status_code, answer.json()["type"]) == (202, "webhook.test")
    assert [one["id"] for one in await deliveries(http)] == [answer.json()["id"]]


async def test_a_job_and_a_batch_name_addresses_of_their_own(http: httpx.AsyncClient, driver: JobDriver) -> None:
    job = (await http.post(SUBMIT, json=body(webhook_url=URL))).json()
    entry = {"kind": "deal-picker", **body(webhook_url=URL + "/entry")}
    asked = {"jobs": [entry, {"kind": "deal-picker", **body()}], "webhook_url": URL + "/batch"}
    batch = (await http.post("/v1/batches", json=asked)).json()
    for one in (job, *batch["jobs"]):
        await driver.succeed(one["id"])
    assert [one["url"] for one in await deliveries(http, f"/v1/webhooks/deliveries?job_id={job['id']}")] == [URL]
    assert [one["url"] for one in await deliveries(http, f"/v1/webhooks/deliveries?batch_id={batch['id']}")] == [
        URL + "/batch"
    ]
    assert len(await deliveries(http)) == 3
    assert {one["webhook_id"] for one in await deliveries(http)} == {None}


async def test_an_address_that_nothing_is_sent_to_refuses_the_job(http: httpx.AsyncClient) -> None:
    inside = "http://10.0.0.1/hook"
    for address, given, pointers in [
        (SUBMIT, body(webhook_url=inside), ["/webhook_url"]),
        (
            SUBMIT,
            body(webhook_url=inside, options={"time_limit_seconds": 1e6}),
            ["/options/time_limit_seconds", "/webhook_url"],
        ),
        (
            "/v1/batches",
            {"webhook_url": inside, "jobs": [{"kind": "deal-picker", **body(webhook_url=inside)}]},
            ["/webhook_url", "/jobs/0/webhook_url"],
        ),
    ]:
        answer = await http.post(address, json=given)
        assert answer.status_code == 422
        assert [issue["pointer"] for issue in answer.json()["issues"]] == pointers


async def test_one_key_with_another_address_is_another_request(http: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "hook-1"}
    first = await http.post(SUBMIT, json=body(webhook_url=URL), headers=headers)
    again = await http.post(SUBMIT, json=body(webhook_url=URL), headers=headers)
    other = await http.post(SUBMIT, json=body(webhook_url=URL + "/2"), headers=headers)
    assert again.json()["id"] == first.json()["id"]
    assert other.status_code == 422


async def test_webhooks_are_the_admins_and_the_tenants_own(
    http: httpx.AsyncClient, stranger: httpx.AsyncClient, driver: JobDriver, app: Any, new_key: NewKey
) -> None:
    webhook = await made(http)
    await http.post(f"{webhook['links']['self']}/test")
    (delivery,) = await deliveries(http)
    address = f"/v1/webhooks/{webhook['id']}"
    routes = [
        ("GET", address, None),
        ("PATCH", address, {"enabled": False}),
        ("DELETE", address, None),
        ("POST", f"{address}/rotate", None),
        ("POST", f"{address}/test", None),
        ("GET", f"{address}/deliveries", None),
        ("POST", f"{address}/redeliver", {}),
        ("POST", f"/v1/webhooks/deliveries/{delivery['id']}/redeliver", None),
    ]
    for method, path, given in routes:
        assert (await stranger.request(method, path, json=given)).status_code == 404, path
    assert (await stranger.get("/v1/webhooks")).json()["items"] == []
    assert await deliveries(stranger) == []
    async with client(app, await new_key(driver.tenant, Role.MANAGER)) as manager:
        own = [
            ("GET", "/v1/webhooks", None),
            ("POST", "/v1/webhooks", {"url": URL}),
            ("POST", "/v1/webhooks/secret", None),
        ]
        for method, path, given in (*routes, *own):
            assert (await manager.request(method, path, json=given)).status_code == 403, path
