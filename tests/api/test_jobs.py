import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from milpa.errors import TransientError
from milpa.jobs import JobState, LimitReached, Outcome, new_id
from storage.objects import ObjectStore
from storage.rows import Ending
from storage.transaction import Database
from tests.api.deals import SUBMIT, body
from tests.api.jobs import JobDriver
from tests.api.test_openapi import fits


async def submit(http: httpx.AsyncClient, **more: Any) -> dict[str, Any]:
    answer = await http.post(SUBMIT, json=body(**more))
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    return job


async def ids(http: httpx.AsyncClient, **query: Any) -> list[str]:
    answer = await http.get("/v1/jobs", params=query)
    assert answer.status_code == 200, answer.text
    return [job["id"] for job in answer.json()["items"]]


# Lists


async def test_pages_hold_every_job_once_newest_first(http: httpx.AsyncClient) -> None:
    made = [(await submit(http))["id"] for _ in range(7)]
    seen, pages, address = [], 0, "/v1/jobs?limit=3"
    while address:
        answer = await http.get(address)
        page = answer.json()
        seen += [job["id"] for job in page["items"]]
        address, pages = page["next"], pages + 1
        assert answer.headers.get("link") == (f'<{address}>; rel="next"' if address else None)
    assert (seen, pages) == (made[::-1], 3)


async def test_a_job_made_meanwhile_does_not_shift_the_pages(http: httpx.AsyncClient) -> None:
    made = [(await submit(http))["id"] for _ in range(4)]
    first = (await http.get("/v1/jobs?limit=2")).json()
    await submit(http)
    second = (await http.get(first["next"])).json()
    assert [job["id"] for job in second["items"]] == [made[1], made[0]]


async def test_filters_hold_together(http: httpx.AsyncClient, driver: JobDriver) -> None:
    ended = await submit(http, name="Harbour 50% off", tags=["board", "q3"])
    queued = await submit(http, name="harbour again", tags=["board"])
    await driver.succeed(ended["id"])
    assert await ids(http, state="succeeded") == [ended["id"]]
    assert await ids(http, state="queued,succeeded") == [queued["id"], ended["id"]]
    assert await ids(http, state=["queued", "running"]) == [queued["id"]]
    assert await ids(http, kind="deal-picker") == [queued["id"], ended["id"]]
    assert await ids(http, kind="debt-stack") == []
    assert await ids(http, tag="q3") == [ended["id"]]
    assert await ids(http, tag="board", state="queued") == [queued["id"]]
    assert await ids(http, name="HARBOUR") == [queued["id"], ended["id"]]
    assert await ids(http, name="50% off") == [ended["id"]]
    assert await ids(http, name="50_") == []
    assert await ids(http, batch_id=str(new_id())) == []
    made = datetime.fromisoformat(queued["created_at"])
    assert await ids(http, created_before=queued["created_at"]) == [ended["id"]]
    assert await ids(http, created_after=(made - timedelta(microseconds=1)).isoformat()) == [queued["id"]]


async def test_a_cursor_fits_only_the_list_it_came_from(http: httpx.AsyncClient, stranger: httpx.AsyncClient) -> None:
    for _ in range(3):
        await submit(http)
        await submit(stranger)
    address = (await http.get("/v1/jobs?limit=1&state=queued")).json()["next"]
    cursor = httpx.URL(address).params["cursor"]
    assert (await http.get("/v1/jobs", params={"cursor": cursor, "state": "queued", "limit": 2})).status_code == 200
    foreign = [
        await http.get("/v1/jobs", params={"cursor": cursor}),
        await stranger.get(address.replace("http://milpa.test", "")),
        await http.get("/v1/jobs", params={"cursor": ("A" if cursor[0] != "A" else "B") + cursor[1:]}),
        await http.get("/v1/jobs", params={"cursor": "ä" * 30}),
    ]
    for answer in foreign:
        assert answer.status_code == 422
        assert answer.json()["issues"][0]["pointer"] == "/query/cursor"


async def test_a_tenant_sees_its_own_jobs_only(http: httpx.AsyncClient, stranger: httpx.AsyncClient) -> None:
    mine = await submit(http)
    assert await ids(stranger) == []
    missing = await stranger.get(f"/v1/jobs/{new_id()}")
    for method, path in (
        ("GET", ""),
        ("GET", "/problem"),
        ("GET", "/result"),
        ("GET", "/events"),
        ("GET", "/files"),
        ("POST", "/stop"),
        ("POST", "/cancel"),
        ("POST", "/retry"),
        ("DELETE", ""),
    ):
        answer = await stranger.request(method, f"/v1/jobs/{mine['id']}{path}")
        same = {**answer.json(), "request_id": missing.json()["request_id"]}
        assert (answer.status_code, same) == (404, missing.json()), path
    assert (await http.get(f"/v1/jobs/{mine['id']}")).json()["state"] == "queued"


# Looking and waiting


async def test_an_etag_changes_with_the_job_alone(http: httpx.AsyncClient, driver: JobDriver) -> None:
    path = f"/v1/jobs/{(await submit(http))['id']}"
    etag = (await http.get(path)).headers["etag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        answer = await http.get(path, headers={"If-None-Match": known})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
    assert (await http.get(path, headers={"If-None-Match": '"other"'})).status_code == 200
    await driver.claim(path.rpartition("/")[2])
    answer = await http.get(path, headers={"If-None-Match": etag})
    assert (answer.status_code, answer.json()["state"]) == (200, "running")


async def test_one_of_several_tags_on_several_lines_is_enough(http: httpx.AsyncClient) -> None:
    address = f"/v1/jobs/{(await submit(http))['id']}"
    tag = (await http.get(address)).headers["etag"]
    lines = [("If-None-Match", '"another"'), ("If-None-Match", f'"a third", W/{tag}')]
    assert (await http.get(address, headers=lines)).status_code == 304


async def test_wait_holds_until_the_end(http: httpx.AsyncClient, driver: JobDriver) -> None:
    job = await submit(http)
    waiting = asyncio.create_task(http.get(f"/v1/jobs/{job['id']}?wait=30"))
    claim = await driver.claim(job["id"])
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await driver.succeed(job["id"], claim=claim)
    answer = await waiting
    assert (answer.json()["state"], answer.json()["outcome"]) == ("succeeded", "optimal")


async def test_wait_ends_with_its_time(http: httpx.AsyncClient) -> None:
    job = await submit(http)
    answer = await http.get(f"/v1/jobs/{job['id']}?wait=0.2")
    assert (answer.status_code, answer.json()["state"]) == (200, "queued")


async def test_no_wait_is_longer_than_the_longest(here: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.jobs.MAX_WAIT_SECONDS", 0.2)
    job = await submit(here)
    async with asyncio.timeout(30):
        answer = await here.get(f"/v1/jobs/{job['id']}?wait=3600")
    assert (answer.status_code, answer.json()["state"]) == (200, "queued")


async def test_wait_does_not_need_redis_to_tell(
    http: httpx.AsyncClient, driver: JobDriver, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await submit(http)
    waiting = asyncio.create_task(http.get(f"/v1/jobs/{job['id']}?wait=30"))
    monkeypatch.setattr(database, "signals", None)
    await driver.succeed(job["id"])
    assert (await waiting).json()["state"] == "succeeded"


async def test_an_infeasible_problem_is_an_answer(http: httpx.AsyncClient, driver: JobDriver) -> None:
    job = await submit(http)
    await driver.succeed(job["id"], outcome=Outcome.INFEASIBLE)
    shown = (await http.get(f"/v1/jobs/{job['id']}")).json()
    assert (shown["state"], shown["outcome"], shown["error"]) == ("succeeded", "infeasible", None)


# Ending, again, away


async def test_stopping_a_queued_job_ends_it_without_a_solution(http: httpx.AsyncClient) -> None:
    job = await submit(http)
    answer = await http.post(f"/v1/jobs/{job['id']}/stop")
    assert answer.status_code == 202
    ended = answer.json()
    assert (ended["state"], ended["outcome"], ended["limit_reached"]) == ("succeeded", "no_solution", "stopped")
    answers = {part: await http.get(link) for part, link in ended["links"].items() if part != "events"}
    assert {part: answer.status_code for part, answer in answers.items()} == dict.fromkeys(answers, 200)
    fits(answers["result"], "/v1/jobs/{job_id}/result")
    result = answers["result"].json()
    assert (result["outcome"], result["objective"], result["solution"]) == ("no_solution", None, None)
    fits(answers["report"], "/v1/jobs/{job_id}/report")
    assert answers["report"].json()["sentences"] == ["The job was stopped before anything was found."]
    assert answers["files"].json()["items"] == []
    files = await http.post(ended["links"]["files"], json={"formats": ["pdf"]})
    assert (files.status_code, files.json()["type"]) == (409, "/problems/job-without-report")


async def test_a_wait_for_a_job_stopped_with_nothing_has_a_result_that_says_so(http: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "stopped"}
    job = (await http.post(SUBMIT, json=body(), headers=headers)).json()
    await http.post(f"/v1/jobs/{job['id']}/stop")
    answer = await http.post(SUBMIT, json=body(), headers={**headers, "Prefer": "wait=30"})
    fits(answer, SUBMIT, "post")
    assert answer.json()["result"]["outcome"] == "no_solution"


async def test_what_a_running_job_left_when_it_was_stopped_with_nothing(
    http: httpx.AsyncClient, driver: JobDriver
) -> None:
    job = await submit(http, name="Stopped")
    claim = await driver.claim(job["id"])
    links = (await http.post(f"/v1/jobs/{job['id']}/stop")).json()["links"]
    assert "result" not in links
    killed = Ending(state=JobState.SUCCEEDED, outcome=Outcome.NO_SOLUTION, limit_reached=LimitReached.STOPPED)
    await driver.finish(claim, killed)
    links = (await http.get(links["self"])).json()["links"]
    assert (await http.get(links["result"])).json()["outcome"] == "no_solution"
    report = (await http.get(links["report"])).json()
    assert (report["title"], report["subtitle"]) == ("Stopped", "Deal picker")


async def test_cancelling_a_queued_job_ends_it(http: httpx.AsyncClient) -> None:
    job = await submit(http)
    answer = await http.post(f"/v1/jobs/{job['id']}/cancel")
    assert (answer.status_code, answer.json()["state"]) == (202, "cancelled")
    result = await http.get(f"/v1/jobs/{job['id']}/result")
    assert (result.status_code, result.json()["type"]) == (409, "/problems/no-result")


@pytest.mark.parametrize("verb", ["stop", "cancel"])
async def test_a_running_job_is_asked_to_end(http: httpx.AsyncClient, driver: JobDriver, verb: str) -> None:
    job = await submit(http)
    claim = await driver.claim(job["id"])
    answer = await http.post(f"/v1/jobs/{job['id']}/{verb}")
    assert (answer.status_code, answer.json()["state"]) == (202, "running")
    async with driver.database.transaction(driver.tenant) as transaction:
        beat = await transaction.jobs.heartbeat(claim.ref, 60.0)
    assert beat is not None
    assert (beat.stop, beat.cancel) == (verb == "stop", verb == "cancel")


@pytest.mark.parametrize("verb", ["stop", "cancel"])
async def test_an_ended_job_cannot_be_ended_again(http: httpx.AsyncClient, driver: JobDriver, verb: str) -> None:
    job = await submit(http)
    await driver.succeed(job["id"])
    answer = await http.post(f"/v1/jobs/{job['id']}/{verb}")
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/job-ended")


async def test_a_failed_job_is_retried_as_a_new_one(http: httpx.AsyncClient, driver: JobDriver) -> None:
    job = await submit(http, name="again", tags=["x"])
    await driver.fail(job["id"])
    answer = await http.post(f"/v1/jobs/{job['id']}/retry")
    again = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"].endswith(again["id"])
    assert again["id"] != job["id"]
    assert (again["state"], again["name"], again["tags"], again["attempt"]) == ("queued", "again", ["x"], 0)
    before = (await http.get(f"/v1/jobs/{job['id']}/problem")).json()
    assert (await http.get(f"/v1/jobs/{again['id']}/problem")).json() == before


async def test_only_what_failed_or_was_cancelled_is_retried(http: httpx.AsyncClient, driver: JobDriver) -> None:
    job = await submit(http)
    answer = await http.post(f"/v1/jobs/{job['id']}/retry")
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/not-retryable")
    await driver.succeed(job["id"])
    assert (await http.post(f"/v1/jobs/{job['id']}/retry")).status_code == 409


async def test_an_ended_job_is_erased(http: httpx.AsyncClient, driver: JobDriver) -> None:
    job = await submit(http)
    answer = await http.delete(f"/v1/jobs/{job['id']}")
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/job-not-ended")
    await driver.succeed(job["id"])
    answer = await http.delete(f"/v1/jobs/{job['id']}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await http.get(f"/v1/jobs/{job['id']}")).status_code == 404
    assert (await http.delete(f"/v1/jobs/{job['id']}")).status_code == 404
    assert await ids(http) == []


async def test_a_job_erased_while_the_object_store_is_away_is_erased(
    here: httpx.AsyncClient, driver: JobDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await submit(here)
    await driver.succeed(job["id"])

    async def away(_store: ObjectStore, _keys: Sequence[str]) -> None:
        raise TransientError("object_store_unavailable", "")

    monkeypatch.setattr(ObjectStore, "delete", away)
    answer = await here.delete(f"/v1/jobs/{job['id']}")
    assert answer.status_code == 204, "its objects are nobody's now, and collected as such"
    assert (await here.get(f"/v1/jobs/{job['id']}")).status_code == 404
