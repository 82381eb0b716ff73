from typing import Any

import httpx
import msgspec

from milpa.jobs import JobState
from tests.api.deals import body, problem
from tests.api.jobs import JobDriver


def entry(**more: Any) -> dict[str, Any]:
    return {"kind": "deal-picker", **body(**more)}


async def test_a_batch_keeps_its_jobs_in_the_order_given(http: httpx.AsyncClient) -> None:
    names = [f"case {n}" for n in range(20)]
    answer = await http.post("/v1/batches", json={"name": "cases", "jobs": [entry(name=name) for name in names]})
    batch = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == batch["links"]["self"]
    assert [job["name"] for job in batch["jobs"]] == names
    assert {job["batch_id"] for job in batch["jobs"]} == {batch["id"]}
    listed = (await http.get(batch["links"]["jobs"])).json()["items"]
    assert {job["id"] for job in listed} == {job["id"] for job in batch["jobs"]}


async def test_a_batch_counts_its_jobs_by_state(http: httpx.AsyncClient, driver: JobDriver) -> None:
    batch = (await http.post("/v1/batches", json={"jobs": [entry(), entry(), entry()]})).json()
    await driver.succeed(batch["jobs"][0]["id"])
    await http.post(f"/v1/jobs/{batch['jobs'][1]['id']}/cancel")
    shown = (await http.get(batch["links"]["self"])).json()
    assert shown["size"] == 3
    assert shown["counts"] == {"succeeded": 1, "cancelled": 1, "queued": 1}


async def test_a_thousand_jobs_in_one_batch(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/batches", json={"jobs": [entry(name=str(n)) for n in range(1000)]})
    assert answer.status_code == 202
    assert [job["name"] for job in answer.json()["jobs"]] == [str(n) for n in range(1000)]


async def test_a_batch_is_made_once_for_one_key(http: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "b-1"}
    given = {"name": "one", "jobs": [entry(), entry(name="second")]}
    first = await http.post("/v1/batches", json=given, headers=headers)
    again = await http.post("/v1/batches", json=given, headers=headers)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json()["id"] == first.json()["id"]
    assert [job["id"] for job in again.json()["jobs"]] == [job["id"] for job in first.json()["jobs"]]
    for other in ({**given, "name": "two"}, {**given, "jobs": given["jobs"][::-1]}):
        answer = await http.post("/v1/batches", json=other, headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (422, "/problems/idempotency-conflict")


async def test_a_foreign_batch_is_not_found(http: httpx.AsyncClient, stranger: httpx.AsyncClient) -> None:
    batch = (await http.post("/v1/batches", json={"jobs": [entry()]})).json()
    for part in ("", "/events"):
        assert (await stranger.get(f"/v1/batches/{batch['id']}{part}")).status_code == 404
    for part in ("/cancel", "/retry"):
        assert (await stranger.post(f"/v1/batches/{batch['id']}{part}")).status_code == 404


async def test_a_batch_is_followed_to_its_end(live: httpx.AsyncClient, driver: JobDriver) -> None:
    batch = (await live.post("/v1/batches", json={"jobs": [entry(), entry(name="b")]})).json()
    told: list[tuple[str, Any]] = []
    async with live.stream("GET", f"/v1/batches/{batch['id']}/events") as stream:
        event = ""
        async for line in stream.aiter_lines():
            field, _, value = line.partition(": ")
            if field == "event":
                event = value
            elif field == "data":
                told.append((event, msgspec.json.decode(value)))
                if len(told) == 1:
                    for job in batch["jobs"]:
                        await driver.succeed(job["id"])
    assert told[0] == ("progress", {"batch_id": batch["id"], "size": 2, "counts": {JobState.QUEUED: 2}})
    assert told[-2] == ("finished", {"batch_id": batch["id"], "size": 2, "counts": {JobState.SUCCEEDED: 2}})
    assert told[-1] == ("end", {"batch_id": batch["id"]})
    assert [name for name, _ in told].count("finished") == 1


async def test_an_ended_batch_tells_its_end_at_once(live: httpx.AsyncClient) -> None:
    batch = (
        await live.post("/v1/batches", json={"jobs": [entry(), {"kind": "deal-picker", "problem": problem()}]})
    ).json()
    for job in batch["jobs"]:
        await live.post(f"/v1/jobs/{job['id']}/cancel")
    answer = await live.get(f"/v1/batches/{batch['id']}/events")
    assert [line for line in answer.text.splitlines() if line.startswith("event")] == ["event: finished", "event: end"]


async def test_a_batch_says_when_it_was_finished(http: httpx.AsyncClient, driver: JobDriver) -> None:
    batch = (await http.post("/v1/batches", json={"jobs": [entry(), entry()]})).json()
    await driver.succeed(batch["jobs"][0]["id"])
    assert (await http.get(batch["links"]["self"])).json()["finished_at"] is None
    await driver.succeed(batch["jobs"][1]["id"])
    shown = (await http.get(batch["links"]["self"])).json()
    assert shown["finished_at"] == (await http.get(f"/v1/jobs/{batch['jobs'][1]['id']}")).json()["finished_at"]


async def test_a_batch_is_cancelled_whole(http: httpx.AsyncClient, driver: JobDriver) -> None:
    batch = (await http.post("/v1/batches", json={"jobs": [entry() for _ in range(5)]})).json()
    await driver.succeed(batch["jobs"][0]["id"])
    answer = await http.post(f"{batch['links']['self']}/cancel")
    assert answer.status_code == 202
    assert answer.json()["counts"] == {"succeeded": 1, "cancelled": 4}
    assert answer.json()["finished_at"] is not None
    again = await http.post(f"{batch['links']['self']}/cancel")
    assert (again.status_code, again.json()) == (202, answer.json())


async def test_the_failed_jobs_of_a_batch_are_retried_once_for_one_key(
    http: httpx.AsyncClient, driver: JobDriver
) -> None:
    batch = (await http.post("/v1/batches", json={"name": "night", "jobs": [entry(name=n) for n in "abc"]})).json()
    retry = f"{batch['links']['self']}/retry"
    refused = await http.post(retry)
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/nothing-to-retry")
    await driver.fail(batch["jobs"][0]["id"])
    await driver.succeed(batch["jobs"][1]["id"])
    await driver.fail(batch["jobs"][2]["id"])
    first = await http.post(retry, headers={"Idempotency-Key": "again"})
    again = await http.post(retry, headers={"Idempotency-Key": "again"})
    assert first.status_code == 202
    assert first.headers["location"] == first.json()["links"]["self"]
    assert [(job["name"], job["state"]) for job in first.json()["jobs"]] == [("a", "queued"), ("c", "queued")]
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json()["id"] == first.json()["id"] != batch["id"]
    assert (await http.get(first.json()["links"]["self"])).json()["name"] == "night"
