import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text

from milpa.jobs import Priority
from storage.rows import JobFilter
from storage.transaction import Database
from tests.api.deals import body, deal, problem

AWAY = "https://example.com/hook"


def entry(**more: Any) -> dict[str, Any]:
    return {"kind": "deal-picker", **body(**more)}


def nightly(**more: Any) -> dict[str, Any]:
    return {"name": "night", "cron": "0 2 * * *", "timezone": "Asia/Riyadh", "jobs": [entry(), entry()], **more}


async def made(http: httpx.AsyncClient, **more: Any) -> dict[str, Any]:
    answer = await http.post("/v1/schedules", json=nightly(**more))
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == answer.json()["links"]["self"]
    return dict(answer.json())


async def test_a_schedule_says_when_it_is_due_next(http: httpx.AsyncClient) -> None:
    schedule = await made(http, webhook_url=AWAY, overlap="queue", catch_up_minutes=5)
    due = datetime.fromisoformat(schedule["next_due_at"])
    assert (due.hour, due.minute) == (23, 0), "two in Riyadh, in UTC"
    assert 0 < (due - datetime.now(UTC)).total_seconds() <= 86_400
    fields = ("name", "cron", "timezone", "size", "webhook_url", "overlap", "catch_up_minutes", "enabled")
    assert [schedule[name] for name in fields] == ["night", "0 2 * * *", "Asia/Riyadh", 2, AWAY, "queue", 5, True]
    assert (await http.get(schedule["links"]["self"])).json() == schedule


async def test_a_schedule_is_made_once_for_one_key(http: httpx.AsyncClient) -> None:
    async def post(name: str = "night", **more: Any) -> httpx.Response:
        return await http.post("/v1/schedules", json=nightly(name=name, **more), headers=headers)

    headers = {"Idempotency-Key": f"schedule-{uuid4()}"}
    first, *again = await asyncio.gather(*(post() for _ in range(5)))
    assert {answer.status_code for answer in (first, *again)} == {201}
    assert len({answer.json()["id"] for answer in (first, *again)}) == 1
    assert sum(answer.headers.get("idempotency-replayed") == "true" for answer in (first, *again)) == 4
    assert len((await http.get("/v1/schedules")).json()["items"]) == 1
    for other in (await post("day"), await post(cron="0 3 * * *"), await post(jobs=[entry()])):
        assert (other.status_code, other.json()["type"]) == (422, "/problems/idempotency-conflict")
    job = await http.post("/v1/deal-picker/jobs", json=body(), headers=headers)
    assert job.status_code == 422, "nor for a job"
    assert (await http.delete(first.json()["links"]["self"])).status_code == 204
    assert (await post("day")).status_code == 201, "erased with the schedule"


async def test_what_is_left_out_has_its_default(http: httpx.AsyncClient) -> None:
    schedule = await made(http)
    fields = ("webhook_url", "overlap", "catch_up_minutes", "enabled")
    assert [schedule[name] for name in fields] == [None, "skip", 60, True]


async def test_all_that_is_wrong_comes_at_once_with_pointers_into_the_jobs(http: httpx.AsyncClient) -> None:
    jobs = [
        entry(),
        {"kind": "none", "problem": {}},
        {"kind": "deal-picker", "problem": problem(budget=-1)},
        {"kind": "deal-picker", "problem": problem(deals=[deal(price="cheap"), deal()]), "priority": "late"},
        {"problem": {}},
    ]
    given = nightly(cron="0 25 * * *", timezone="Mars/Olympus", jobs=jobs, overlap="both", catch_up_minutes=0, extra=1)
    answer = await http.post("/v1/schedules", json=given)
    assert answer.status_code == 422
    assert {issue["pointer"]: issue["code"] for issue in answer.json()["issues"]} == {
        "/cron": "bad_cron",
        "/timezone": "unknown_timezone",
        "/overlap": "not_allowed",
        "/catch_up_minutes": "out_of_range",
        "/extra": "unknown_field",
        "/jobs/1/kind": "unknown_kind",
        "/jobs/2/problem/budget": "out_of_range",
        "/jobs/3/problem/deals/0/price": "wrong_type",
        "/jobs/3/problem/deals/1/id": "duplicate_id",
        "/jobs/3/priority": "not_allowed",
        "/jobs/4/kind": "missing_field",
    }
    assert answer.json()["issues_total"] == len(answer.json()["issues"])
    assert (await http.get("/v1/schedules")).json()["items"] == []


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"cron": "@daily"}, "/cron"),
        ({"cron": "* * * * * *"}, "/cron"),
        ({"cron": "0 0 30 2 *"}, "/cron"),
        ({"cron": "1" * 101}, "/cron"),
        ({"timezone": "../../etc/passwd"}, "/timezone"),
        ({"timezone": "Europe"}, "/timezone"),
        ({"timezone": "localtime"}, "/timezone"),
        ({"jobs": []}, "/jobs"),
        ({"jobs": {}}, "/jobs"),
        ({"jobs": [entry()] * 1001}, "/jobs"),
        ({"name": ""}, "/name"),
        ({"catch_up_minutes": 10_081}, "/catch_up_minutes"),
        ({"webhook_url": "ftp://example.com"}, "/webhook_url"),
        ({"enabled": None}, "/enabled"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_what_is_refused(http: httpx.AsyncClient, method: str, changes: dict[str, Any], pointer: str) -> None:
    address = "/v1/schedules" if method == "POST" else (await made(http))["links"]["self"]
    answer = await http.request(method, address, json=nightly(**changes))
    assert answer.status_code == 422
    assert {issue["pointer"] for issue in answer.json()["issues"]} == {pointer}


async def test_a_body_that_is_no_object_is_refused(http: httpx.AsyncClient) -> None:
    assert (await http.post("/v1/schedules", json=[])).status_code == 422
    assert (
        await http.post("/v1/schedules", content=b"{", headers={"Content-Type": "application/json"})
    ).status_code == 400


async def test_run_now_submits_its_jobs_as_one_batch_in_the_line_for_batches(
    http: httpx.AsyncClient, database: Database, tenant: UUID
) -> None:
    jobs = [entry(name="late"), entry(name="soon", priority="interactive")]
    schedule = await made(http, jobs=jobs, webhook_url=AWAY, enabled=False)
    answer = await http.post(schedule["links"]["self"] + "/run")
    run = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == run["links"]["batch"]
    assert (run["state"], run["due_at"], run["size"], run["counts"]) == ("started", None, 2, {"queued": 2})
    assert (await http.get(run["links"]["batch"])).json()["name"] == "night"
    listed = (await http.get(run["links"]["jobs"])).json()["items"]
    assert {job["name"]: job["priority"] for job in listed} == {"late": "batch", "soon": "interactive"}
    async with database.transaction(tenant) as transaction:
        assert (await transaction.batches.get(UUID(run["batch_id"]))).webhook_url == AWAY


async def test_run_now_is_one_run_for_one_key(http: httpx.AsyncClient) -> None:
    first, second = await made(http), await made(http)
    headers = {"Idempotency-Key": f"run-{uuid4()}"}
    run, again = [await http.post(first["links"]["self"] + "/run", headers=headers) for _ in range(2)]
    assert run.json() == again.json()
    assert "idempotency-replayed" not in run.headers
    assert again.headers["idempotency-replayed"] == "true"
    other = await http.post(second["links"]["self"] + "/run", headers=headers)
    assert (other.status_code, other.json()["type"]) == (422, "/problems/idempotency-conflict")


async def test_runs_are_listed_with_their_batches_newest_first(
    http: httpx.AsyncClient, database: Database, tenant: UUID
) -> None:
    schedule = await made(http, cron="0 * * * *", catch_up_minutes=150)
    async with database.transaction(tenant) as transaction:
        set_back = text("UPDATE schedules SET next_due_at = next_due_at - interval '5 hours'")
        await transaction.connection.execute(set_back)
    while True:
        async with database.transaction(tenant) as transaction:
            if not await transaction.schedules.run_due(UUID(schedule["id"])):
                break
    await http.post(schedule["links"]["self"] + "/run")
    pages, address = [], schedule["links"]["runs"] + "?limit=2"
    while address:
        page = (await http.get(address)).json()
        pages.append(page["items"])
        address = page["next"]
    runs = [run for page in pages for run in page]
    assert [len(page) for page in pages] == [2, 2, 2]
    assert (runs[0]["due_at"], runs[0]["state"]) == (None, "started")
    by_due = sorted(runs[1:], key=lambda run: run["due_at"])
    for run in by_due:
        age = datetime.fromisoformat(run["created_at"]) - datetime.fromisoformat(run["due_at"])
        assert (run["state"] == "missed") == (age > timedelta(minutes=150))
    made_up_for = [run["state"] for run in by_due if run["state"] != "missed"]
    assert made_up_for == ["started"] + ["skipped"] * (len(made_up_for) - 1)
    for run in runs:
        assert (run["batch_id"] is not None) == (run["state"] == "started") == ("batch" in run["links"])
    assert {run["id"] for run in runs if run["counts"] == {"queued": 2}} == {
        run["id"] for run in runs if run["state"] == "started"
    }


async def test_patch_changes_what_it_names_and_moves_the_next_due_time(http: httpx.AsyncClient) -> None:
    schedule = await made(http, webhook_url=AWAY)
    address = schedule["links"]["self"]
    named = (await http.patch(address, json={"name": "other", "webhook_url": None, "jobs": [entry()]})).json()
    assert (named["name"], named["webhook_url"], named["size"]) == ("other", None, 1)
    assert named["next_due_at"] == schedule["next_due_at"]
    moved = (await http.patch(address, json={"cron": "30  4 * * *", "timezone": "UTC"})).json()
    assert (moved["cron"], datetime.fromisoformat(moved["next_due_at"]).strftime("%H:%M")) == ("30 4 * * *", "04:30")
    off = (await http.patch(address, json={"enabled": False})).json()
    assert (off["enabled"], off["next_due_at"]) == (False, None)
    on = (await http.patch(address, json={"enabled": True})).json()
    assert on["next_due_at"] == moved["next_due_at"]
    assert (await http.get(address)).json() == on


async def test_the_jobs_of_a_schedule_can_be_read_and_given_again(http: httpx.AsyncClient) -> None:
    schedule = await made(
        http, jobs=[entry(name="a", tags=["x"], files=["pdf"], options={"seed": 3}, webhook_url=AWAY), entry()]
    )
    shown = (await http.get(schedule["links"]["jobs"])).json()
    first = shown["jobs"][0]
    assert (first["name"], first["tags"], first["files"], first["options"]["seed"]) == ("a", ["x"], ["pdf"], 3)
    assert (first["priority"], first["webhook_url"]) == (Priority.BATCH, AWAY)
    assert first["problem"]["budget"] == problem()["budget"]
    again = await made(http, **shown)
    assert (await http.get(again["links"]["jobs"])).json() == shown


async def test_schedules_are_listed_newest_first_page_by_page(http: httpx.AsyncClient) -> None:
    ids = [(await made(http, name=str(number)))["id"] for number in range(5)]
    seen, address = [], "/v1/schedules?limit=2"
    while address:
        page = (await http.get(address)).json()
        seen += [schedule["id"] for schedule in page["items"]]
        address = page["next"]
    assert seen == ids[::-1]


async def test_a_cursor_only_fits_its_own_list(http: httpx.AsyncClient, stranger: httpx.AsyncClient) -> None:
    schedule, _ = await made(http), await made(http)
    following = (await http.get("/v1/schedules?limit=1")).json()["next"]
    cursor = following.partition("cursor=")[2]
    for client, address in ((http, schedule["links"]["runs"]), (stranger, "/v1/schedules"), (http, "/v1/jobs")):
        answer = await client.get(f"{address}?cursor={cursor}")
        assert answer.status_code == 422
        assert answer.json()["issues"][0]["code"] == "bad_cursor"


async def test_a_removed_schedule_is_gone_and_its_batches_stay(
    http: httpx.AsyncClient, database: Database, tenant: UUID
) -> None:
    schedule = await made(http)
    run = (await http.post(schedule["links"]["self"] + "/run")).json()
    assert (await http.delete(schedule["links"]["self"])).status_code == 204
    assert (await http.delete(schedule["links"]["self"])).status_code == 404
    assert (await http.get(schedule["links"]["runs"])).status_code == 404
    assert (await http.get(run["links"]["batch"])).status_code == 200
    async with database.transaction(tenant) as transaction:
        assert len(await transaction.jobs.list(JobFilter(batch_id=UUID(run["batch_id"])), 10)) == 2


async def test_a_foreign_schedule_is_not_found(http: httpx.AsyncClient, stranger: httpx.AsyncClient) -> None:
    address = (await made(http))["links"]["self"]
    for method, part in (("GET", ""), ("GET", "/jobs"), ("GET", "/runs"), ("POST", "/run"), ("DELETE", "")):
        assert (await stranger.request(method, address + part)).status_code == 404
    assert (await stranger.patch(address, json={"name": "mine"})).status_code == 404
    assert (await stranger.get("/v1/schedules")).json()["items"] == []
