"""All issues at once: type errors hide nothing that can be known in spite of them, and make nothing up."""

import copy
from collections.abc import Iterator
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from api.further_issues import further_issues
from api.submissions import read_values, request_type
from milpa.settings import Settings
from solvers.decode import convert
from solvers.issues import Issue
from solvers.registry import all_kinds

SETTINGS = Settings()
KINDS = all_kinds()
Body = dict[str, Any]
Place = tuple[str | int, ...]
Found = set[tuple[str, str]]


def found_in(kind: str, body: Body) -> Found:
    reading = read_values(KINDS[kind], body, SETTINGS)
    assert reading.total == len(reading.issues)
    return {(issue.code, issue.pointer) for issue in reading.issues if issue.severity == "error"}


def deal(id_: str, **more: Any) -> Body:
    return {"id": id_, "price": 5.0, "yield": 0.05, **more}


# What is wrong in spite of a type error beside it

WRONG: list[tuple[str, Body, Found]] = [
    (
        "deal-picker",
        {
            "budget": 1.0,
            "deals": [deal("A", price=-1.0), deal("A"), deal("B", min_allocation=0.8, max_allocation=0.4)],
            "must_include": ["zz"],
            "sector_caps": {"office": -1.0},
        },
        {
            ("out_of_range", "/problem/deals/0/price"),
            ("duplicate_id", "/problem/deals/1/id"),
            ("bad_value", "/problem/deals/2/min_allocation"),
            ("unknown_id", "/problem/must_include/0"),
            ("out_of_range", "/problem/sector_caps/office"),
        },
    ),
    (
        "capex-phasing",
        {
            "horizon_months": 12,
            "monthly_cash": [1.0] * 11,
            "projects": [
                {"id": "P", "cost": 1.0, "duration_months": 2, "after": ["Q"]},
                {"id": "P", "cost": 1.0, "duration_months": 2, "uses": {"crew": 1.0}},
                {"id": "R", "cost": 1.0, "duration_months": 2, "cost_profile": [0.5, 0.6]},
            ],
        },
        {
            ("wrong_length", "/problem/monthly_cash"),
            ("unknown_id", "/problem/projects/0/after/0"),
            ("duplicate_id", "/problem/projects/1/id"),
            ("unknown_id", "/problem/projects/1/uses/crew"),
            ("bad_shares", "/problem/projects/2/cost_profile"),
        },
    ),
]
SLIPS: list[tuple[Body, str]] = [
    ({"tags": 7}, "/tags"),
    ({"name": 5}, "/name"),
    ({"color": "blue"}, "/color"),
    ({"priority": "late"}, "/priority"),
    ({"webhook_url": "nowhere"}, "/webhook_url"),
    ({"options": {"time_limit_seconds": 1e9, "threads": 0}}, "/options/threads"),
    ({"options": {"time_limit_seconds": 1e9, "sed": 1}}, "/options/sed"),
    ({"problem": {"currency": 5}}, "/problem/currency"),
    ({"problem": {"currencyy": "a"}}, "/problem/currencyy"),
    ({"problem": {"note": 1}}, "/problem/note"),
]


@given(st.sampled_from(WRONG), st.lists(st.sampled_from(SLIPS), unique_by=lambda slip: slip[1], max_size=4))
@settings(deadline=None)
def test_one_more_error_hides_no_other(case: tuple[str, Body, Found], slips: list[tuple[Body, str]]) -> None:
    kind, problem, wrong = case
    body: Body = {"problem": problem, "options": {"time_limit_seconds": 1e9}}
    for more, _ in slips:
        for part, change in more.items():
            body[part] = {**body[part], **change} if part in body else change
    found = found_in(kind, body)
    assert found >= wrong | {("out_of_range", "/options/time_limit_seconds")}
    assert {pointer for _, pointer in found} == {pointer for _, pointer in wrong} | {
        "/options/time_limit_seconds",
        *(pointer for _, pointer in slips),
    }


@pytest.mark.parametrize(
    ("field", "value"), [("price", "much"), ("name", 5), ("max_allocation", None), ("min_allocation", "half")]
)
def test_a_bad_entry_hides_neither_the_others_nor_what_refers_to_them(field: str, value: Any) -> None:
    deals = [deal("A", **{field: value}), deal("B", price=-1.0), deal("B")]
    problem = {"budget": 1.0, "deals": deals, "must_include": ["A", "zz"]}
    assert {pointer for _, pointer in found_in("deal-picker", {"problem": problem})} == {
        f"/problem/deals/0/{field}",
        "/problem/deals/1/price",
        "/problem/deals/2/id",
        "/problem/must_include/1",
    }


def test_what_refers_to_a_name_that_can_not_be_read_is_not_called_unknown() -> None:
    deals = [{**deal("A"), "id": 3}, deal("B", price=-1.0)]
    problem = {"budget": 1.0, "deals": deals, "must_include": ["3"]}
    assert {pointer for _, pointer in found_in("deal-picker", {"problem": problem})} == {
        "/problem/deals/0/id",
        "/problem/deals/1/price",
    }


# No more work than is worth it


class Form(msgspec.Struct, forbid_unknown_fields=True):
    size: Literal["S", "M", "L", "XL"]
    mood: Literal["good", "bad"]
    rows: int


@pytest.mark.parametrize(("rows", "looked_at", "told"), [(1000, 8, 1000), (60_000, 2, 0), (250_000, 1, 0)])
def test_what_is_hopeless_is_not_looked_at_again_and_again(rows: int, looked_at: int, told: int) -> None:
    body = {"size": "tiny", "mood": 5, "rows": rows}
    looks = 0

    def check(form: Form) -> list[Issue]:
        nonlocal looks
        looks += 1
        return [Issue(code="odd", pointer=f"/rows/{number}", message="") for number in range(form.rows)]

    found = convert(body, Form).issues
    assert {issue.pointer for issue in found} == {"/size", "/mood"}
    assert len(further_issues(body, Form, found, check)) == told
    assert looks == looked_at


# Nothing is made up

RIGHT: list[tuple[str, Body]] = [
    *((name, kind.example) for name, kind in KINDS.items()),
    (
        "deal-picker",
        {
            "problem": {
                "budget": 1.0,
                "deals": [deal("A", **{"yield": -0.01}), deal("B", min_allocation=0.2, max_allocation=0.4)],
                "yield_basis": "rate",
                "mode": "fractional",
                "must_include": ["A"],
                "exclude": ["B"],
                "exclusive_groups": [["A", "B"]],
                "sector_caps": {"": 0.5},
            },
            "options": {"time_limit_seconds": 7.0, "seed": 3},
        },
    ),
    (
        "capex-phasing",
        {
            "problem": {
                "horizon_months": 6,
                "objective": "makespan",
                "monthly_cash": [1.0] * 6,
                "resources": [{"id": "crew", "capacity": 2.0}],
                "projects": [
                    {"id": "P", "cost": 1.0, "duration_months": 2, "required": True, "uses": {"crew": 2.0}},
                    {"id": "Q", "cost": 1.0, "duration_months": 2, "after": ["P"], "cost_profile": [0.5, 0.5]},
                ],
            },
            "tags": ["board"],
        },
    ),
]
VALUES: list[Any] = [None, True, -1, 0.5, 10**9, 10**30, "x", "", [], [1], ["x"], {}, {"x": 1}]


def places_in(value: Any, at: Place = ()) -> Iterator[Place]:
    if at:
        yield at
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield from places_in(member, (*at, key))


def parent_of(body: Body, place: Place) -> Any:
    for part in place[:-1]:
        body = body[part]  # type: ignore[index]
    return body


def pointer(place: Place) -> str:
    return "".join(f"/{part}" for part in place)


@st.composite
def spoilt(draw: st.DrawFn) -> tuple[str, Body, set[str]]:
    """A body that was right until up to three places were given another value, taken away or misspelt.

    Only where that is an error of types: anything else might be wrong with the rest in truth.
    """
    kind, right = draw(st.sampled_from(RIGHT))
    body, touched, marks = copy.deepcopy(right), set(), set()
    for _ in range(draw(st.integers(1, 3))):
        places = [place for place in places_in(body) if not within(pointer(place), touched)]
        assume(places)
        place = draw(st.sampled_from(places))
        parent, mark = parent_of(body, place), place
        how = draw(st.sampled_from(["another", "away", "misspelt"])) if isinstance(parent, dict) else "another"
        if how == "another":
            value = draw(st.sampled_from(VALUES))
            assume(not isinstance(value, dict) or not isinstance(parent[place[-1]], dict))  # which only says less
            parent[place[-1]] = value
        else:
            value = parent.pop(place[-1])
            if how == "misspelt":
                mark = (*place[:-1], f"{place[-1]}e")
                parent[mark[-1]] = value
        touched |= {pointer(place), pointer(mark)}
        marks.add(pointer(mark))
    wrong = {issue.pointer for issue in convert(body, request_type(KINDS[kind])).issues}
    assume(all(any(within(one, {mark}) for one in wrong) for mark in marks))
    return kind, body, touched


def within(place: str, others: set[str]) -> bool:
    return any(place == other or place.startswith(f"{other}/") for other in others)


def test_the_bodies_are_right() -> None:
    assert not any(found_in(kind, body) for kind, body in RIGHT)


@given(spoilt())
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.filter_too_much])
def test_no_issue_points_at_what_is_right(case: tuple[str, Body, set[str]]) -> None:
    kind, body, touched = case
    assert {place for _, place in found_in(kind, body) if not within(place, touched)} == set()
