"""Frontiers: one job solved at several values of a limit."""

from typing import Any
from uuid import uuid4

import httpx
import pytest
import vl_convert
from hypothesis import given
from hypothesis import strategies as st

from api.frontier_chart import Point, mark_dominated
from milpa.jobs import JobState, Outcome
from solvers.kind import JobKind, Sense
from solvers.registry import all_kinds
from tests.api.asking import Answer, issues_of, problem_of, succeeded
from tests.api.deals import body, problem
from tests.api.jobs import JobDriver


async def ask(http: httpx.AsyncClient, job: str, **asked: Any) -> httpx.Response:
    return await http.post(f"/v1/jobs/{job}/frontier", json=asked)


async def made(http: httpx.AsyncClient, job: str, **asked: Any) -> Answer:
    answer = await ask(http, job, **asked)
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


async def test_each_value_becomes_a_child_with_all_else_as_it_is(http: httpx.AsyncClient, driver: JobDriver) -> None:
    parent = await succeeded(http, driver, problem=problem(max_deals=2))
    batch = await made(http, parent, against="max_risk", points=4, **{"from": 0.1, "to": 0.4})
    problems = [await problem_of(http, job) for job in batch["jobs"]]
    assert [one["max_risk"] for one in problems] == [0.1, 0.2, 0.3, 0.4]
    assert {(one["budget"], one["max_deals"]) for one in problems} == {(100_000, 2)}
    assert [job["name"] for job in batch["jobs"]] == [f"Risk limit {risk}" for risk in (0.1, 0.2, 0.3, 0.4)]
    assert {job["parent_id"] for job in batch["jobs"]} == {parent}
    assert (await driver.claim(batch["jobs"][0]["id"])).warm_start is not None


async def test_the_ends_are_sensible_when_left_out(http: httpx.AsyncClient, driver: JobDriver) -> None:
    parent = await succeeded(http, driver)
    batch = await made(http, parent, against="budget", points=3)
    assert [(await problem_of(http, job))["budget"] for job in batch["jobs"]] == [50_000, 100_000, 150_000]
    batch = await made(http, parent, against="budget", points=2, **{"from": 90_000})
    assert [(await problem_of(http, job))["budget"] for job in batch["jobs"]] == [90_000, 150_000]


async def test_the_curve_comes_when_all_have_ended(http: httpx.AsyncClient, driver: JobDriver) -> None:
    parent = await succeeded(http, driver)
    batch = await made(http, parent, against="budget", points=5, **{"from": 10, "to": 50})
    await driver.succeed(batch["jobs"][0]["id"], outcome=Outcome.INFEASIBLE, objective=None)
    early = await http.get(batch["links"]["frontier"])
    assert (early.status_code, early.json()["type"]) == (409, "/problems/batch-not-ended")
    for job, objective in zip(batch["jobs"][3:0:-1], (7.0, 7.0, 5.0), strict=True):
        await driver.succeed(job["id"], objective=objective)
    await driver.fail(batch["jobs"][4]["id"])
    curve = (await http.get(batch["links"]["frontier"])).json()
    assert [point["value"] for point in curve["points"]] == [10, 20, 30, 40, 50]
    assert [point["objective"] for point in curve["points"]] == [None, 5, 7, 7, None]
    assert [point["dominated"] for point in curve["points"]] == [None, False, False, True, None]
    assert [point["outcome"] for point in curve["points"]] == ["infeasible", "optimal", "optimal", "optimal", None]
    assert curve["points"][4]["state"] == "failed"
    assert [point["job_id"] for point in curve["points"]] == [job["id"] for job in batch["jobs"]]
    assert (curve["against"], curve["label"], curve["unit"]) == ("budget", "Budget", "money")
    assert (curve["better"], curve["sense"], curve["parent_id"]) == ("minimize", "maximize", parent)


async def test_its_chart_holds_the_points_and_can_be_drawn(http: httpx.AsyncClient, driver: JobDriver) -> None:
    batch = await made(http, await succeeded(http, driver), against="max_risk", points=2, **{"from": 1, "to": 2})
    for job in batch["jobs"]:
        await driver.succeed(job["id"], objective=3.0)
    chart = (await http.get(batch["links"]["frontier"])).json()["chart"]
    assert chart["spec"]["data"]["values"] == [
        {"value": 1, "objective": 3, "point": "efficient"},
        {"value": 2, "objective": 3, "point": "dominated"},
    ]
    assert "Risk limit" in vl_convert.vegalite_to_svg(chart["spec"])


async def test_only_a_frontiers_batch_has_a_curve(
    http: httpx.AsyncClient, stranger: httpx.AsyncClient, driver: JobDriver
) -> None:
    plain = (await http.post("/v1/batches", json={"jobs": [{"kind": "deal-picker", **body()}]})).json()
    batch = await made(http, await succeeded(http, driver), against="budget", points=2)
    for job in batch["jobs"]:
        await driver.succeed(job["id"])
    assert (await http.get(f"{plain['links']['self']}/frontier")).status_code == 404
    assert (await http.get(f"/v1/batches/{uuid4()}/frontier")).status_code == 404
    assert (await stranger.get(batch["links"]["frontier"])).status_code == 404
    assert (await http.get(batch["links"]["frontier"])).status_code == 200


@pytest.mark.parametrize(
    ("asked", "issues"),
    [
        ({"against": "deals"}, {"/against": "bad_value"}),
        ({"points": 21, "from": "low"}, {"/against": "missing", "/points": "", "/from": ""}),
        ({"against": "budget", "points": 1}, {"/points": "out_of_range"}),
        ({"against": "budget", "from": 5, "to": 5}, {"/from": "out_of_range"}),
        ({"against": "budget", "from": -5, "to": 5}, {"/from": "out_of_range"}),
        ({"against": "max_risk", "from": 9, "to": 5}, {"/from": "out_of_range"}),
        ({"against": "max_risk"}, {"/from": "missing_field"}),
    ],
)
async def test_what_is_no_frontier_is_refused(
    http: httpx.AsyncClient, driver: JobDriver, asked: Answer, issues: dict[str, str]
) -> None:
    parent = await succeeded(http, driver)
    assert issues_of(await ask(http, parent, **asked)).keys() == issues.keys()


async def test_a_value_beyond_what_the_field_takes_is_refused_at_its_end(
    http: httpx.AsyncClient, driver: JobDriver
) -> None:
    stack = (await http.post("/v1/debt-stack/jobs", json=all_kinds()["debt-stack"].example)).json()["id"]
    await driver.succeed(stack)
    answer = await ask(http, stack, against="max_ltv", **{"from": 0.5, "to": 2.0})
    assert issues_of(answer) == {"/to": "out_of_range"}


async def test_a_frontier_is_asked_once_for_one_key(http: httpx.AsyncClient, driver: JobDriver) -> None:
    parent = await succeeded(http, driver)
    http.headers["Idempotency-Key"] = "f-1"
    first, again = await made(http, parent, against="budget"), await made(http, parent, against="budget")
    assert first == again
    assert (await ask(http, parent, against="budget", points=3)).status_code == 422


@pytest.mark.parametrize("kind", all_kinds().values(), ids=lambda kind: kind.name)
async def test_every_field_of_every_kind_has_ends_by_itself(
    http: httpx.AsyncClient, driver: JobDriver, kind: JobKind[Any, Any]
) -> None:
    """At the kind's example; only a limit on something that the solution alone tells may need its ends given."""
    job = (await http.post(f"/v1/{kind.name}/jobs", json=kind.example)).json()["id"]
    await driver.succeed(job)
    for field in kind.frontier:
        answer = await ask(http, job, against=field.name, points=5)
        if answer.status_code == 422:
            assert issues_of(answer) == {"/from": "missing_field"}
        else:
            assert 2 <= len(answer.json()["jobs"]) <= 5


def points_of(pairs: list[tuple[float, float | None]]) -> list[Point]:
    return [
        Point(
            value=value,
            objective=objective,
            state=JobState.SUCCEEDED,
            outcome=Outcome.INFEASIBLE if objective is None else Outcome.OPTIMAL,
            job_id=uuid4(),
        )
        for value, objective in pairs
    ]


PAIRS = st.lists(
    st.tuples(st.integers(0, 9), st.none() | st.integers(-9, 9)), min_size=1, max_size=8, unique_by=lambda pair: pair[0]
)


@given(PAIRS, st.sampled_from(Sense), st.sampled_from(Sense))
def test_the_points_left_are_those_that_nothing_beats(
    pairs: list[tuple[int, int | None]], better: Sense, sense: Sense
) -> None:
    up = 1 if sense is Sense.MAXIMIZE else -1
    right = 1 if better is Sense.MAXIMIZE else -1
    solved = [(right * value, up * objective) for value, objective in pairs if objective is not None]
    marked = mark_dominated(points_of([(float(v), o if o is None else float(o)) for v, o in pairs]), better, sense)
    for point, (value, objective) in zip(marked, pairs, strict=True):
        if objective is None:
            assert point.dominated is None
        else:
            mine = (right * value, up * objective)
            beaten = any(other != mine and other[0] >= mine[0] and other[1] >= mine[1] for other in solved)
            assert point.dominated is beaten
