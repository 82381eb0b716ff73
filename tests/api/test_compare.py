"""Comparing jobs: figures side by side, and what changed in the problem."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

from solvers.registry import get_kind
from tests.api.asking import Answer, issues_of, succeeded
from tests.api.deals import SUBMIT, body, deal, problem
from tests.api.jobs import JobDriver


def fact(name: str, value: object, **more: object) -> dict[str, Any]:
    return {"name": name, "label": name.title(), "value": value, "unit": "money", "note": "", "headline": True, **more}


async def job(http: httpx.AsyncClient, driver: JobDriver, objective: float, facts: Any = (), **changes: Any) -> str:
    made = (await http.post(SUBMIT, json={"problem": problem(**changes)})).json()["id"]
    await driver.succeed(made, objective=objective, facts=facts)
    return str(made)


async def compare(http: httpx.AsyncClient, *ids: str, **query: str) -> httpx.Response:
    return await http.get("/v1/jobs/compare", params={"ids": ",".join(ids), **query})


def by_name(answer: Answer) -> dict[str, Answer]:
    return {entry["name"]: entry for entry in answer["facts"]}


async def test_figures_stand_side_by_side_with_their_differences(http: httpx.AsyncClient, driver: JobDriver) -> None:
    first = await job(http, driver, 8_000.0, [fact("unspent", 0.0), fact("bought", "A, B"), fact("left", 3)])
    second = await job(http, driver, 9_000.0, [fact("unspent", 50.0), fact("bought", "A"), fact("new", True)])
    third = await job(http, driver, 6_000.0, [])
    answer = (await compare(http, first, second, third)).json()
    facts = by_name(answer)
    assert (answer["kind"], answer["baseline"]) == ("deal-picker", first)
    assert [one["job"]["id"] for one in answer["jobs"]] == [first, second, third]
    assert next(iter(facts)) == "objective"
    assert facts["objective"]["values"] == [8_000, 9_000, 6_000]
    assert facts["objective"]["differences"] == [0, 1_000, -2_000]
    assert facts["objective"]["relative_differences"] == [0, 0.125, -0.25]
    assert facts["unspent"]["differences"] == [0, 50, None]
    assert facts["unspent"]["relative_differences"] == [None, None, None]
    assert facts["bought"] == {
        "name": "bought",
        "label": "Bought",
        "unit": "money",
        "headline": True,
        "values": ["A, B", "A", None],
        "differences": [None, None, None],
        "relative_differences": [None, None, None],
    }
    assert facts["left"]["values"] == [3, None, None]
    assert facts["new"]["values"] == [None, True, None]


async def test_any_of_them_can_be_the_baseline(http: httpx.AsyncClient, driver: JobDriver) -> None:
    first, second = await job(http, driver, 8_000.0), await job(http, driver, -10_000.0)
    answer = (await compare(http, first, second, baseline=second)).json()
    assert answer["baseline"] == second
    assert by_name(answer)["objective"]["differences"] == [18_000, 0]
    assert by_name(answer)["objective"]["relative_differences"] == [1.8, 0]


async def test_what_changed_in_the_problem_is_listed_place_by_place(http: httpx.AsyncClient, driver: JobDriver) -> None:
    first = await job(http, driver, 1.0, max_risk=5)
    deals = [deal(price=65_000), *problem()["deals"][2:], deal(id="N/1")]
    second = await job(http, driver, 1.0, budget=120_000, deals=deals, sector_caps={"office": 2, "retail": 1})
    same, changed = (await compare(http, first, second)).json()["jobs"]
    assert (same["patch"], same["changes"], same["changes_total"]) == ({}, [], 0)
    assert changed["patch"]["budget"] == 120_000
    assert changed["patch"]["max_risk"] is None
    assert set(changed["patch"]["deals"]) == {"A", "B", "N/1"}
    places = {change["pointer"]: (change["before"], change["after"]) for change in changed["changes"]}
    assert places["/budget"] == (100_000, 120_000)
    assert places["/max_risk"] == (5, None)
    assert places["/deals/A/price"] == (60_000, 65_000)
    assert places["/sector_caps/retail"] == (None, 1)
    assert places["/deals/B"][1] is None
    assert places["/deals/N~11"][0] is None
    assert changed["changes_total"] == len(places)


async def test_the_patch_makes_the_one_problem_of_the_other(http: httpx.AsyncClient, driver: JobDriver) -> None:
    first = await job(http, driver, 1.0)
    second = await job(http, driver, 1.0, budget=77_000, deals=[deal(id="X"), deal(id="A", price=1)])
    patch = (await compare(http, first, second)).json()["jobs"][1]["patch"]
    made = (await http.post(f"/v1/jobs/{first}/what-if", json={"cases": [{"patch": patch}]})).json()["jobs"][0]
    problems = [(await http.get(f"/v1/jobs/{one}/problem")).json() for one in (made["id"], second)]
    assert problems[0] == problems[1]


async def test_a_job_that_failed_has_no_figures_but_its_problem(http: httpx.AsyncClient, driver: JobDriver) -> None:
    first = await job(http, driver, 1.0, [fact("unspent", 5.0)])
    failed = (await http.post(SUBMIT, json={"problem": problem(budget=5)})).json()["id"]
    await driver.fail(failed)
    answer = (await compare(http, first, failed)).json()
    assert by_name(answer)["unspent"]["values"] == [5, None]
    assert by_name(answer)["objective"]["values"] == [1, None]
    assert answer["jobs"][1]["job"]["state"] == "failed"
    assert answer["jobs"][1]["patch"] == {"budget": 5}


async def test_only_ended_jobs_of_one_kind_are_compared(http: httpx.AsyncClient, driver: JobDriver) -> None:
    first = await succeeded(http, driver)
    waiting = (await http.post(SUBMIT, json=body())).json()["id"]
    early = await compare(http, first, waiting)
    assert (early.status_code, early.json()["type"]) == (409, "/problems/job-not-ended")
    stack = (await http.post("/v1/debt-stack/jobs", json=get_kind("debt-stack").example)).json()["id"]
    await driver.succeed(stack)
    assert issues_of(await compare(http, first, stack)) == {"/query/ids": "bad_value"}


async def test_missing_and_foreign_jobs_are_not_found(
    http: httpx.AsyncClient, stranger: httpx.AsyncClient, driver: JobDriver
) -> None:
    first, second = await succeeded(http, driver), await succeeded(http, driver)
    for ids in ((first, str(uuid4())), (first, "nonsense")):
        assert (await compare(http, *ids)).status_code == 404
    assert (await compare(stranger, first, second)).status_code == 404
    assert (await compare(http, first, second)).status_code == 200


@pytest.mark.parametrize(
    ("query", "issues"),
    [
        ({}, {"/query/ids": "out_of_range"}),
        ({"ids": str(uuid4())}, {"/query/ids": "out_of_range"}),
        ({"ids": ",".join(str(uuid4()) for _ in range(11))}, {"/query/ids": "out_of_range"}),
        ({"ids": f"{uuid4()}," * 2 + "x", "base": "x"}, {"/query/base": "unknown_field"}),
    ],
)
async def test_what_is_no_comparison_is_refused(
    http: httpx.AsyncClient, query: dict[str, str], issues: dict[str, str]
) -> None:
    assert issues_of(await http.get("/v1/jobs/compare", params=query)) == issues


async def test_a_job_comes_once_and_the_baseline_is_one_of_them(http: httpx.AsyncClient, driver: JobDriver) -> None:
    first, second = await succeeded(http, driver), await succeeded(http, driver)
    assert issues_of(await compare(http, first, first)) == {"/query/ids": "duplicate_id"}
    other = await compare(http, first, second, baseline=str(uuid4()))
    assert issues_of(other) == {"/query/baseline": "bad_value"}
