import asyncpg
import httpx
import pytest

from tests.api.deals import EXAMPLE, SUBMIT, body
from tests.api.jobs import LOG, REPORT, RESULT, JobDriver


async def test_the_problem_is_shown_as_solved(http: httpx.AsyncClient) -> None:
    job = (await http.post(SUBMIT, json=body())).json()
    shown = (await http.get(job["links"]["problem"])).json()
    assert {key: shown[key] for key in ("budget", "sector_caps")} == {
        "budget": 100_000.0,
        "sector_caps": {"office": 1.5},
    }
    assert [deal["id"] for deal in shown["deals"]] == [deal["id"] for deal in EXAMPLE["deals"]]


async def test_what_came_out_is_shown_as_it_was_kept(http: httpx.AsyncClient, driver: JobDriver) -> None:
    job = (await http.post(SUBMIT, json=body())).json()
    await driver.succeed(job["id"])
    path = f"/v1/jobs/{job['id']}"
    assert (await http.get(f"{path}/result")).json() == RESULT
    assert (await http.get(f"{path}/report")).json() == REPORT
    log = await http.get(f"{path}/log")
    assert (log.content, log.headers["content-type"]) == (LOG, "text/plain; charset=utf-8")


@pytest.mark.parametrize("part", ["result", "report", "log"])
async def test_nothing_comes_out_before_the_end(http: httpx.AsyncClient, driver: JobDriver, part: str) -> None:
    job = (await http.post(SUBMIT, json=body())).json()
    for _ in range(2):
        answer = await http.get(f"/v1/jobs/{job['id']}/{part}")
        assert (answer.status_code, answer.json()["type"]) == (409, "/problems/job-not-ended")
        if part != "log":
            break
    await driver.fail(job["id"])
    answer = await http.get(f"/v1/jobs/{job['id']}/{part}")
    assert answer.status_code == (200 if part == "log" else 409)


async def test_what_was_kept_for_its_time_is_said_to_be_removed(
    http: httpx.AsyncClient, driver: JobDriver, owner: asyncpg.Connection
) -> None:
    solved, stopped = [(await http.post(SUBMIT, json=body())).json() for _ in range(2)]
    await driver.succeed(solved["id"])
    await http.post(f"/v1/jobs/{stopped['id']}/stop")
    ids = [solved["id"], stopped["id"]]
    await owner.execute("UPDATE jobs SET finished_at = now() - interval '60 days' WHERE id = ANY ($1)", ids)
    async with driver.database.fleet() as fleet:
        await fleet.jobs.prune(30)
    for job in ids:
        for part in ("problem", "result", "report"):
            answer = await http.get(f"/v1/jobs/{job}/{part}")
            assert (answer.status_code, "it was removed" in answer.json()["detail"]) == (404, True)
