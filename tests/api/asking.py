"""Jobs to ask about, and the questions."""

from typing import Any

import httpx

from tests.api.deals import SUBMIT, body
from tests.api.jobs import JobDriver

Answer = dict[str, Any]


async def succeeded(
    http: httpx.AsyncClient, driver: JobDriver, *, objective: float | None = 9400.0, **more: Any
) -> str:
    """Return the id of a job that has ended well."""
    job = (await http.post(SUBMIT, json=body(**more))).json()["id"]
    await driver.succeed(job, objective=objective)
    return str(job)


async def problem_of(http: httpx.AsyncClient, job: Answer) -> Answer:
    return dict((await http.get(f"/v1/jobs/{job['id']}/problem")).json())


def issues_of(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code == 422, answer.text
    return {issue["pointer"]: issue["code"] for issue in answer.json()["issues"]}
