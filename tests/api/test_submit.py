import asyncio
import gzip

import httpx
import msgspec
import zstandard

from api.submissions import request_type
from milpa.jobs import FileFormat
from solvers.registry import get_kind
from tests.api.conftest import BASE
from tests.api.deals import CSV, EXAMPLE, KIND, SUBMIT, body, problem
from tests.api.jobs import RESULT, JobDriver


async def test_an_accepted_job_says_where_it_is_and_when_to_ask_again(http: httpx.AsyncClient) -> None:
    answer = await http.post(SUBMIT, json=body(name="Q3 shortlist", tags=["board"], files=["xlsx"], priority="batch"))
    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"{BASE}/v1/jobs/{job['id']}" == job["links"]["self"]
    assert int(answer.headers["retry-after"]) >= 1
    assert (job["kind"], job["state"], job["outcome"]) == ("deal-picker", "queued", None)
    assert (job["name"], job["tags"], job["priority"], job["attempt"]) == ("Q3 shortlist", ["board"], "batch", 0)
    shown = await http.get(answer.headers["location"])
    assert shown.json() == job


async def test_a_job_keeps_what_was_asked(http: httpx.AsyncClient, driver: JobDriver) -> None:
    options = {"time_limit_seconds": 5, "relative_gap": 0.01, "threads": 1, "seed": 7}
    answer = await http.post(SUBMIT, json=body(options=options, files=["xlsx", "pdf", "xlsx"]))
    row = await driver.row(answer.json()["id"])
    assert msgspec.to_builtins(row.options) == options
    assert row.files == [FileFormat.XLSX, FileFormat.PDF]


async def test_links_lead_only_to_what_is_there(http: httpx.AsyncClient, driver: JobDriver) -> None:
    job = (await http.post(SUBMIT, json=body())).json()
    assert set(job["links"]) == {"self", "events", "problem"}
    await driver.succeed(job["id"])
    job = (await http.get(job["links"]["self"])).json()
    assert set(job["links"]) == {"self", "events", "problem", "result", "report", "files", "log"}
    for link in job["links"].values():
        assert (await http.get(link)).status_code == 200, link


async def test_the_same_key_and_body_is_the_same_job_as_it_is_now(http: httpx.AsyncClient, driver: JobDriver) -> None:
    headers = {"Idempotency-Key": "order 66".replace(" ", "-")}
    first = await http.post(SUBMIT, json=body(), headers=headers)
    assert "idempotency-replayed" not in first.headers
    await driver.succeed(first.json()["id"])
    reordered = dict(reversed(EXAMPLE.items()))
    again = await http.post(SUBMIT, json={"problem": reordered}, headers=headers)
    assert again.status_code == 202
    assert again.headers["idempotency-replayed"] == "true"
    assert (again.json()["id"], again.json()["state"]) == (first.json()["id"], "succeeded")


OTHERS = {
    "problem": problem(budget=1),
    "options": {"seed": 1},
    "files": ["pdf"],
    "name": "other",
    "tags": ["other"],
    "priority": "batch",
    "webhook_url": "https://hooks.example/other",
    "reuse": True,
}


async def test_the_same_key_with_another_body_is_refused(http: httpx.AsyncClient) -> None:
    assert OTHERS.keys() == set(request_type(get_kind(KIND)).__struct_fields__)
    headers = {"Idempotency-Key": "k-1"}
    await http.post(SUBMIT, json=body(), headers=headers)
    for field, other in OTHERS.items():
        answer = await http.post(SUBMIT, json={**body(), field: other}, headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (422, "/problems/idempotency-conflict"), field
    assert len((await http.get("/v1/jobs")).json()["items"]) == 1


async def test_a_refused_body_does_not_use_the_key_up(http: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "k-2"}
    assert (await http.post(SUBMIT, json={"problem": {}}, headers=headers)).status_code == 422
    answer = await http.post(SUBMIT, json=body(), headers=headers)
    assert answer.status_code == 202
    assert "idempotency-replayed" not in answer.headers


async def test_many_submits_at_once_with_one_key_make_one_job(http: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "k-3"}
    answers = await asyncio.gather(*(http.post(SUBMIT, json=body(), headers=headers) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1


async def test_another_tenants_key_of_the_same_name_is_another_key(
    http: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    headers = {"Idempotency-Key": "k-4"}
    mine = await http.post(SUBMIT, json=body(), headers=headers)
    theirs = await stranger.post(SUBMIT, json=body(name="theirs"), headers=headers)
    assert theirs.status_code == 202
    assert mine.json()["id"] != theirs.json()["id"]


async def test_a_key_that_is_no_key_is_refused(http: httpx.AsyncClient) -> None:
    for key in ("x" * 256, "with space"):
        answer = await http.post(SUBMIT, json=body(), headers={"Idempotency-Key": key})
        assert answer.status_code == 422
        assert answer.json()["issues"][0]["pointer"] == "/headers/Idempotency-Key"


async def test_prefer_wait_answers_with_the_result_inside(http: httpx.AsyncClient, driver: JobDriver) -> None:
    headers = {"Prefer": "wait=30", "Idempotency-Key": "w-1"}
    waiting = asyncio.create_task(http.post(SUBMIT, json=body(), headers=headers))
    jobs: list[dict[str, str]] = []
    while not jobs:
        jobs = (await http.get("/v1/jobs")).json()["items"]
    await driver.succeed(jobs[0]["id"])
    answer = await waiting
    assert answer.status_code == 200
    assert answer.headers["preference-applied"] == "wait=30"
    assert (answer.json()["state"], answer.json()["result"]) == ("succeeded", RESULT)


async def test_a_wait_that_is_too_short_answers_202(http: httpx.AsyncClient) -> None:
    answer = await http.post(SUBMIT, json=body(), headers={"Prefer": "respond-async, wait=0"})
    assert answer.status_code == 202
    assert answer.headers["preference-applied"] == "wait=0"
    assert "result" not in answer.json()


async def test_a_longer_wait_than_thirty_is_thirty(http: httpx.AsyncClient, driver: JobDriver) -> None:
    headers = {"Idempotency-Key": "w-2"}
    job = (await http.post(SUBMIT, json=body(), headers=headers)).json()
    await driver.succeed(job["id"])
    answer = await http.post(SUBMIT, json=body(), headers={**headers, "Prefer": "wait=3600"})
    assert (answer.status_code, answer.headers["preference-applied"]) == (200, "wait=30")


async def test_what_is_preferred_may_come_on_lines_of_its_own(http: httpx.AsyncClient) -> None:
    lines = [("Prefer", "respond-async"), ("Prefer", "wait=0"), ("Content-Type", "application/json")]
    answer = await http.post(SUBMIT, content=msgspec.json.encode(body()), headers=lines)
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "wait=0")


async def test_a_failed_job_ends_the_wait_without_a_result(http: httpx.AsyncClient, driver: JobDriver) -> None:
    headers = {"Idempotency-Key": "w-3"}
    job = (await http.post(SUBMIT, json=body(), headers=headers)).json()
    await driver.fail(job["id"])
    answer = await http.post(SUBMIT, json=body(), headers={**headers, "Prefer": "wait=30"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (200, "boom")
    assert "result" not in answer.json()


async def test_validate_only_makes_nothing(http: httpx.AsyncClient) -> None:
    answer = await http.post(SUBMIT, params={"validate_only": "true"}, json={"problem": problem(budget=-1)})
    assert answer.status_code == 200
    assert [issue["pointer"] for issue in answer.json()["issues"]] == ["/problem/budget"]
    answer = await http.post(SUBMIT, params={"validate_only": "true"}, json=body())
    assert (answer.status_code, answer.json()) == (200, {"issues": []})
    assert (await http.get("/v1/jobs")).json()["items"] == []


async def test_a_cap_for_nothing_is_a_warning_kept_with_the_job(http: httpx.AsyncClient) -> None:
    given = {"problem": problem(sector_caps={"office": 1.5, "hotel\x00": 1})}
    answer = await http.post(SUBMIT, json=given)
    assert answer.status_code == 202
    [warning] = answer.json()["warnings"]
    assert warning["severity"] == "warning"
    assert warning["pointer"].startswith("/problem/sector_caps/hotel")
    issues = (await http.post(SUBMIT, params={"validate_only": "true"}, json=given)).json()["issues"]
    assert [issue["severity"] for issue in issues] == ["warning"]


async def test_reuse_answers_at_once_from_an_earlier_job(http: httpx.AsyncClient, driver: JobDriver) -> None:
    earlier = (await http.post(SUBMIT, json=body())).json()
    await driver.succeed(earlier["id"])
    answer = await http.post(SUBMIT, json=body(reuse=True))
    job = answer.json()
    assert answer.status_code == 202
    assert (job["state"], job["outcome"], job["reused_from"]) == ("succeeded", "optimal", earlier["id"])
    assert job["id"] != earlier["id"]
    assert (await http.get(job["links"]["result"])).json() == RESULT


async def test_reuse_of_another_problem_solves_anew(http: httpx.AsyncClient, driver: JobDriver) -> None:
    earlier = (await http.post(SUBMIT, json=body())).json()
    await driver.succeed(earlier["id"])
    job = (await http.post(SUBMIT, json={"problem": problem(budget=99_999), "reuse": True})).json()
    assert (job["state"], job["reused_from"]) == ("queued", None)


async def test_packed_bodies_are_unpacked(http: httpx.AsyncClient) -> None:
    raw = msgspec.json.encode(body())
    for coding, packed in (
        ("gzip", gzip.compress(raw)),
        ("gzip", gzip.compress(raw[:100]) + gzip.compress(raw[100:])),
        ("zstd", zstandard.compress(raw)),
    ):
        headers = {"Content-Encoding": coding, "Content-Type": "application/json"}
        answer = await http.post(SUBMIT, content=packed, headers=headers)
        assert answer.status_code == 202, answer.text


async def test_rows_come_as_a_file_beside_the_job(http: httpx.AsyncClient) -> None:
    given = {"problem": {key: value for key, value in EXAMPLE.items() if key != "deals"}, "name": "from a table"}
    files = {"job": (None, msgspec.json.encode(given), "application/json"), "rows": ("deals.csv", CSV, "text/csv")}
    answer = await http.post(SUBMIT, files=files)
    assert answer.status_code == 202, answer.text
    assert answer.json()["name"] == "from a table"
    kept = (await http.get(answer.json()["links"]["problem"])).json()
    assert [(deal["id"], deal["price"]) for deal in kept["deals"]] == [("A", 60000.0), ("B", 50000.0)]
    assert kept["sector_caps"] == {"office": 1.5}


async def test_the_same_table_under_the_same_key_is_the_same_job(http: httpx.AsyncClient) -> None:
    files = {"job": (None, b'{"problem": {"budget": 1}}'), "rows": ("deals.csv", CSV)}
    headers = {"Idempotency-Key": "t-1"}
    first = await http.post(SUBMIT, files=files, headers=headers)
    again = await http.post(SUBMIT, files=files, headers=headers)
    assert first.json()["id"] == again.json()["id"]
    assert again.headers["idempotency-replayed"] == "true"
