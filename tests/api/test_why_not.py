"""Why not: a child job in which something is forced, and what that costs."""

import asyncio
from typing import Any

import httpx
import pytest

from milpa.jobs import Outcome
from solvers.kind import JobKind
from solvers.registry import all_kinds
from tests.api.asking import Answer, issues_of, problem_of, succeeded
from tests.api.deals import problem
from tests.api.jobs import JobDriver

FORCE = {"deal_id": "D"}


async def ask(http: httpx.AsyncClient, job: str, force: Any = FORCE, **headers: str) -> httpx.Response:
    return await http.post(f"/v1/jobs/{job}/why-not", json={"force": force, "name": "Why not D?"}, headers=headers)


async def price_of(http: httpx.AsyncClient, job: Answer) -> Answer:
    answer = await http.get(f"/v1/jobs/{job['id']}/why-not")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_what_is_forced_becomes_a_child(http: httpx.AsyncClient, driver: JobDriver) -> None:
    parent = await succeeded(http, driver, options={"seed": 3})
    answer = await ask(http, parent)
    child = answer.json()
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == child["links"]["self"]
    assert (child["parent_id"], child["name"], child["state"]) == (parent, "Why not D?", "queued")
    assert (await problem_of(http, child))["must_include"] == ["D"]
    claim = await driver.claim(child["id"])
    assert claim.warm_start is not None
    assert claim.job.options.seed == 3


async def test_its_price_is_the_change_of_the_objective(http: httpx.AsyncClient, driver: JobDriver) -> None:
    child = (await ask(http, await succeeded(http, driver))).json()
    await driver.succeed(child["id"], objective=8_150.0)
    answer = await price_of(http, child)
    assert (answer["parent_objective"], answer["objective"], answer["price"]) == (9_400.0, 8_150.0, -1_250.0)
    assert (answer["job"]["id"], answer["parent_id"], answer["force"]) == (child["id"], child["parent_id"], FORCE)
    assert answer["breaks"] == []


async def test_what_can_not_be_says_which_constraints_break(http: httpx.AsyncClient, driver: JobDriver) -> None:
    parent = await succeeded(http, driver, problem=problem(exclude=["D"]))
    child = (await ask(http, parent)).json()
    asked = await problem_of(http, child)
    assert (asked["must_include"], asked["exclude"]) == (["D"], [])
    conflicts, sentences = ["must_include:D", "budget"], ["Must include D and Budget can't hold together."]
    await driver.succeed(
        child["id"],
        outcome=Outcome.INFEASIBLE,
        objective=None,
        result={
            "outcome": "infeasible",
            "solution": None,
            "explanation": {"conflicts": conflicts, "sentences": sentences},
        },
    )
    answer = await price_of(http, child)
    assert answer["breaks"] == ["exclude:D", *conflicts]
    assert answer["sentences"] == sentences
    assert (answer["objective"], answer["price"]) == (None, None)
    assert answer["job"]["outcome"] == "infeasible"


async def test_who_waits_gets_the_price_at_once(http: httpx.AsyncClient, driver: JobDriver) -> None:
    parent = await succeeded(http, driver)

    async def work() -> None:
        while not (waiting := (await http.get("/v1/jobs?state=queued")).json()["items"]):  # noqa: ASYNC110  another request makes it
            await asyncio.sleep(0.02)
        await driver.succeed(waiting[0]["id"], objective=9_000.0)

    answer, _ = await asyncio.gather(ask(http, parent, prefer="wait=30"), work())
    assert (answer.status_code, answer.headers["preference-applied"]) == (200, "wait=30")
    assert answer.json()["price"] == -400.0


async def test_who_does_not_wait_long_enough_gets_the_job(http: httpx.AsyncClient, driver: JobDriver) -> None:
    answer = await ask(http, await succeeded(http, driver), prefer="wait=0")
    assert (answer.status_code, answer.json()["state"]) == (202, "queued")


async def test_there_is_no_price_before_the_end_nor_of_any_other_job(
    http: httpx.AsyncClient, stranger: httpx.AsyncClient, driver: JobDriver
) -> None:
    parent = await succeeded(http, driver)
    child = (await ask(http, parent)).json()
    early = await http.get(f"/v1/jobs/{child['id']}/why-not")
    assert (early.status_code, early.json()["type"]) == (409, "/problems/job-not-ended")
    await driver.fail(child["id"])
    failed = await http.get(f"/v1/jobs/{child['id']}/why-not")
    assert (failed.status_code, failed.json()["type"]) == (409, "/problems/no-result")
    assert (await http.get(f"/v1/jobs/{parent}/why-not")).status_code == 404
    assert (await stranger.get(f"/v1/jobs/{child['id']}/why-not")).status_code == 404


@pytest.mark.parametrize(
    ("force", "issues"),
    [
        ({"deal_id": "Z"}, {"/force/deal_id": "unknown_id"}),
        ({}, {"/force/deal_id": "missing_field"}),
        ({"deal_id": 5, "dealid": "A"}, {"/force/deal_id": "wrong_type", "/force/dealid": "unknown_field"}),
        ("D", {"/force": "wrong_type"}),
    ],
)
async def test_what_can_not_be_forced_is_refused(
    http: httpx.AsyncClient, driver: JobDriver, force: Any, issues: dict[str, str]
) -> None:
    assert issues_of(await ask(http, await succeeded(http, driver), force)) == issues


async def test_a_why_not_is_asked_once_for_one_key(http: httpx.AsyncClient, driver: JobDriver) -> None:
    parent = await succeeded(http, driver)
    http.headers["Idempotency-Key"] = "n-1"
    first, again = await ask(http, parent), await ask(http, parent)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json()["id"] == first.json()["id"]
    answer = await ask(http, parent, {"deal_id": "A"})
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/idempotency-conflict")


@pytest.mark.parametrize("kind", all_kinds().values(), ids=lambda kind: kind.name)
async def test_a_kind_says_what_can_be_asked(http: httpx.AsyncClient, kind: JobKind[Any, Any]) -> None:
    detail = (await http.get(f"/v1/kinds/{kind.name}")).json()
    assert kind.why_not is not None
    assert detail["force_schema"]["$ref"].endswith(kind.why_not.force.__name__)
    assert [field["name"] for field in detail["frontier"]] == [field.name for field in kind.frontier]
