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
