"""What if: children of a job, one for each case."""

from uuid import uuid4

import httpx
import msgspec
import pytest
from litestar import Litestar

from storage.rows import Role
from tests.api.asking import issues_of, problem_of, succeeded
from tests.api.conftest import NewKey, client
from tests.api.deals import SUBMIT, body, deal, problem
from tests.api.jobs import RESULT, JobDriver

CASES = [
    {"name": "Budget +10 %", "patch": {"budget": 110_000}},
    {"name": "Without A", "patch": {"deals": {"A": None}}},
    {"name": "B is dearer", "patch": {"deals": {"B": {"price": 55_000}}, "sector_caps": {"office": None}}},
]


async def ask(http: httpx.AsyncClient, job: str, cases: object, **more: object) -> httpx.Response:
    return await http.post(f"/v1/jobs/{job}/what-if", json={"cases": cases, **more})


async def test_each_case_becomes_a_child_in_the_order_of_the_cases(http: httpx.AsyncClient, driver: JobDriver) -> None:
    parent = await succeeded(http, driver)
    answer = await ask(http, parent, CASES)
    made = answer.json()
    assert answer.status_code == 202, answer.text
    assert [job["name"] for job in made["jobs"]] == [case["name"] for case in CASES]
    assert {job["parent_id"] for job in made["jobs"]} == {parent}
    assert {job["batch_id"] for job in made["jobs"]} == {made["batch_id"]}
    assert (await http.get(answer.headers["location"])).json()["size"] == len(CASES)
    budget, without, dearer = [await problem_of(http, job) for job in made["jobs"]]
    assert budget["budget"] == 110_000
    assert [deal["id"] for deal in without["deals"]] == ["B", "C", "D"]
    assert [deal["price"] for deal in dearer["deals"]] == [60_000, 55_000, 40_000, 80_000]
    assert dearer["sector_caps"] == {}
    assert dearer["budget"] == 100_000


async def test_a_child_starts_from_the_solution_of_its_parent(http: httpx.AsyncClient, driver: JobDriver) -> None:
    made = (await ask(http, await succeeded(http, driver), CASES[:1])).json()
    claim = await driver.claim(made["jobs"][0]["id"])
    assert claim.warm_start is not None
    assert msgspec.json.decode(claim.warm_start)["solution"] == RESULT["solution"]


async def test_options_are_the_parents_with_those_given_on_top(http: httpx.AsyncClient, driver: JobDriver) -> None:
    parent = await succeeded(http, driver, options={"seed": 7, "time_limit_seconds": 11}, priority="batch")
    made = (await ask(http, parent, CASES[:1], options={"time_limit_seconds": None, "relative_gap": 0.01})).json()
    row = await driver.row(made["jobs"][0]["id"])
    assert (row.options.seed, row.options.time_limit_seconds, row.options.relative_gap) == (7, None, 0.01)
    assert row.priority == "batch"


async def test_a_suggestion_is_a_case_as_it_stands(http: httpx.AsyncClient, driver: JobDriver) -> None:
    change = {"label": "Budget: 110,000", "patch": {"budget": 110_000}, "expected_change": 800.0, "valid_from": None}
    repair = {"label": "x" * 300, "patch": {"budget": 1_000_000}, "cost": 900_000.0}
    answer = await ask(http, await succeeded(http, driver), [{**change, "valid_to": 130_000.0}, repair])
    assert answer.status_code == 202, answer.text
    assert [job["name"] for job in answer.json()["jobs"]] == ["Budget: 110,000", "x" * 200]


async def test_all_that_is_wrong_with_all_cases_is_said_at_once_and_nothing_is_made(
    http: httpx.AsyncClient, driver: JobDriver
) -> None:
    parent = await succeeded(http, driver)
    cases = [
        {"name": "good", "patch": {"budget": 1}},
        {"name": "no such deal", "patch": {"deals": {"Z": None}}},
        {"name": "wrong price", "patch": {"deals": {"B": {"price": -1}, "C": {"colour": "red"}}}},
        {"name": "new deal without a price", "patch": {"deals": {"N": {"yield": 5}}}},
        {"name": "not in the patch", "patch": {"must_include": ["A"], "deals": {"A": None}}},
        {"name": "gone", "patch": {"budget": None}},
        {"name": "whole list", "patch": {"deals": [{"id": "A", "price": 1, "yield": "a lot"}]}},
        {"name": "cap", "patch": {"sector_caps": {"a/b": -1}}},
    ]
    before = len((await http.get("/v1/jobs?limit=200")).json()["items"])
    answer = await ask(http, parent, cases, options={"threads": 0})
    assert issues_of(answer) == {
        "/options/threads": "out_of_range",
        "/cases/1/patch/deals/Z": "unknown_id",
        "/cases/2/patch/deals/C/colour": "unknown_field",
        "/cases/2/patch/deals/B/price": "out_of_range",
        "/cases/3/patch/deals/N/price": "missing_field",
        "/cases/4/patch/must_include/0": "unknown_id",
        "/cases/5/patch/budget": "missing_field",
        "/cases/6/patch/deals/0/yield": "wrong_type",
        "/cases/7/patch/sector_caps/a~1b": "out_of_range",
    }
    assert answer.json()["issues_total"] == 9
    assert len((await http.get("/v1/jobs?limit=200")).json()["items"]) == before


async def test_an_issue_that_the_patch_causes_elsewhere_points_into_the_patched_problem(
    http: httpx.AsyncClient, driver: JobDriver
) -> None:
    parent = await succeeded(http, driver, problem={**body()["problem"], "must_include": ["A"]})
    answer = await ask(http, parent, [{"name": "A is gone", "patch": {"deals": {"A": None}}}])
    assert issues_of(answer) == {"/cases/0/problem/must_include/0": "unknown_id"}


@pytest.mark.parametrize(
    ("asked", "issues"),
    [
        ({"cases": []}, {"/cases": "too_few"}),
        ({"cases": [{"name": "x", "patch": {}}] * 21}, {"/cases": "too_many"}),
        ({"cases": [{"name": "x"}]}, {"/cases/0/patch": "missing_field"}),
        ({"cases": [{"patch": 5}], "speed": 1}, {"/cases/0/patch": "wrong_type", "/speed": "unknown_field"}),
        ({"cases": [{"patch": {}}], "options": {"sped": 1}}, {"/options/sped": "unknown_field"}),
    ],
)
async def test_what_is_no_question_is_refused(
    http: httpx.AsyncClient, driver: JobDriver, asked: object, issues: dict[str, str]
) -> None:
    parent = await succeeded(http, driver)
    assert issues_of(await http.post(f"/v1/jobs/{parent}/what-if", json=asked)).keys() == issues.keys()


async def test_an_infinite_number_is_refused_where_it_stands(http: httpx.AsyncClient, driver: JobDriver) -> None:
    parent = await succeeded(http, driver)
    answer = await http.post(
        f"/v1/jobs/{parent}/what-if",
        content=b'{"cases": [{"patch": {"budget": 1e999}}]}',
        headers={"Content-Type": "application/json"},
    )
    assert issues_of(answer) == {"/cases/0/patch/budget": "not_finite"}


@pytest.mark.parametrize("question", ["what-if", "why-not", "frontier"])
async def test_only_a_job_that_has_succeeded_can_be_asked_about(
    http: httpx.AsyncClient, driver: JobDriver, question: str
) -> None:
    asked = {
        "what-if": {"cases": CASES},
        "why-not": {"force": {"deal_id": "D"}},
        "frontier": {"against": "budget"},
    }[question]
    waiting = (await http.post(SUBMIT, json=body())).json()["id"]
    failed = (await http.post(SUBMIT, json=body())).json()["id"]
    await driver.fail(failed)
    for job, kind in ((waiting, "/problems/job-not-ended"), (failed, "/problems/no-result")):
        answer = await http.post(f"/v1/jobs/{job}/{question}", json=asked)
        assert (answer.status_code, answer.json()["type"]) == (409, kind)


@pytest.mark.parametrize("question", ["what-if", "why-not", "frontier"])
async def test_who_may_ask_about_what(  # noqa: PLR0917  fixtures and the case
    app: Litestar,
    http: httpx.AsyncClient,
    stranger: httpx.AsyncClient,
    driver: JobDriver,
    new_key: NewKey,
    question: str,
) -> None:
    asked = {
        "what-if": {"cases": CASES},
        "why-not": {"force": {"deal_id": "D"}},
        "frontier": {"against": "budget"},
    }[question]
    job = await succeeded(http, driver)
    assert (await stranger.post(f"/v1/jobs/{job}/{question}", json=asked)).status_code == 404
    assert (await http.post(f"/v1/jobs/{uuid4()}/{question}", json=asked)).status_code == 404
    async with client(app, await new_key(driver.tenant, Role.VIEWER)) as viewer:
        assert (await viewer.post(f"/v1/jobs/{job}/{question}", json=asked)).status_code == 403


async def test_a_large_problem_takes_fewer_cases_at_once(small_http: httpx.AsyncClient, driver: JobDriver) -> None:
    deals = [deal(id=f"deal-{number}") for number in range(180)]
    parent = await succeeded(small_http, driver, problem=problem(deals=deals))
    many = await ask(small_http, parent, [{"patch": {"budget": 5}}] * 20)
    assert (many.status_code, many.json()["type"]) == (413, "/problems/question-too-large")
    assert (await ask(small_http, parent, [{"patch": {"budget": 5}}] * 5)).status_code == 202


async def test_a_what_if_is_asked_once_for_one_key(http: httpx.AsyncClient, driver: JobDriver) -> None:
    parent, other = await succeeded(http, driver), await succeeded(http, driver)
    http.headers["Idempotency-Key"] = "w-1"
    first, again = await ask(http, parent, CASES), await ask(http, parent, CASES)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == first.json()
    for job, cases in ((parent, CASES[:2]), (other, CASES)):
        answer = await ask(http, job, cases)
        assert (answer.status_code, answer.json()["type"]) == (422, "/problems/idempotency-conflict")
