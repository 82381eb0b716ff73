"""Questions after the first answer, through the client and the command line, solved by real workers."""

import json
from itertools import pairwise
from typing import Any

import pytest

from milpa import AsyncClient, Client
from milpa.client import RefusedError
from milpa.jobs import Job
from solvers.kind import JobKind, Sense
from solvers.registry import all_kinds
from tests.support.milpa_up import Up

KINDS = list(all_kinds().values())
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)

WORKED = {
    "budget": 100_000,
    "sector_caps": {"office": 1.5},
    "deals": [
        {"id": "A", "price": 60_000, "yield": 6_000, "risk": 3, "sector": "office"},
        {"id": "B", "price": 50_000, "yield": 4_000, "risk": 1, "sector": "retail"},
        {"id": "C", "price": 40_000, "yield": 3_600, "risk": 2, "sector": "office"},
        {"id": "D", "price": 80_000, "yield": 5_000, "risk": 1, "sector": "logistics"},
    ],
}
IMPOSSIBLE: dict[str, dict[str, Any]] = {
    "deal-picker": {"budget": 60_000, "must_include": ["A", "B"], "deals": WORKED["deals"]},
    "debt-stack": {
        "purchase_price": 1_000_000,
        "noi_annual": 70_000,
        "max_ltv": 0.5,
        "min_dscr": 1.25,
        "equity": {"cost_rate": 0.12, "available": 100_000},
        "tranches": [
            {"id": "s", "seniority": 1, "rate_type": "fixed", "rate": 0.05, "max_amount": 600_000, "term_years": 5}
        ],
    },
}
"""Problems that nothing solves but a repair."""
FOUND_IN_TIME = {"capex-phasing"}
"""Kinds whose suggestions promise what was found in the time there was: on a busy machine less than there is."""
BRIEFLY = {"time_limit_seconds": 3}
"""Long enough to find the best plan; proving it may take longer."""


def slack(job: Job) -> float:
    """Return how far the job's objective may be from the best, in the objective's unit."""
    assert job.objective is not None
    gap = (job.progress and job.progress.gap) or 0.0
    return max(gap, 1e-4) * max(1.0, abs(job.objective))


def solved(client: Client, kind: str, problem: object = None) -> Job:
    return client.wait(client.submit(kind, client.example(kind) if problem is None else problem), timeout=120)


@every_kind
def test_every_suggestion_can_be_posted_as_it_stands_and_keeps_its_promise(
    client: Client, kind: JobKind[Any, Any]
) -> None:
    job = solved(client, kind.name)
    suggestions = client.result(job).explanation["what_if"]
    assert suggestions
    children = [client.wait(child, timeout=120) for child in client.what_if(job, suggestions, options=BRIEFLY).jobs]
    assert job.objective is not None
    for suggestion, child in zip(suggestions, children, strict=True):
        assert child.name == suggestion["label"][:200]
        assert child.objective is not None
        change, room = child.objective - job.objective, slack(job) + slack(child)
        if kind.name in FOUND_IN_TIME:
            assert change >= suggestion["expected_change"] - room
        else:
            assert change == pytest.approx(suggestion["expected_change"], abs=room)


@pytest.mark.parametrize("kind", IMPOSSIBLE)
def test_every_repair_can_be_posted_as_it_stands_and_works(client: Client, kind: str) -> None:
    job = solved(client, kind, IMPOSSIBLE[kind])
    assert job.outcome == "infeasible"
    repairs = client.result(job).explanation["repairs"]
    assert repairs
    children = [client.wait(child, timeout=120) for child in client.what_if(job, repairs).jobs]
    assert {child.outcome for child in children} == {"optimal"}


def test_why_not_has_a_price_and_what_stands_against_it(client: Client) -> None:
    job = solved(client, "deal-picker", WORKED)
    assert job.objective == pytest.approx(9_400)
    found = client.why_not(job, {"deal_id": "D"})
    assert found.price == pytest.approx(7_000 - 9_400)
    assert (found.breaks, found.job.outcome) == ([], "optimal")
    whole = solved(client, "deal-picker", {**WORKED, "mode": "whole", "must_include": ["A"], "budget": 90_000})
    impossible = client.why_not(whole, {"deal_id": "B"})
    assert impossible.price is None
    assert set(impossible.breaks) == {"budget", "must_include:A", "must_include:B"}
    assert "can't hold together" in impossible.sentences[0]
    with pytest.raises(RefusedError) as refusal:
        client.why_not(job, {"deal_id": "nowhere"})
    assert [issue.pointer for issue in refusal.value.issues] == ["/force/deal_id"]


def test_a_tranche_has_its_price_too(client: Client) -> None:
    job = solved(client, "debt-stack")
    tranche = client.problem(job)["tranches"][0]["id"]
    found = client.why_not(job, {"tranche_id": tranche, "amount": 0})
    assert found.price is None or found.price >= -1e-6


@every_kind
def test_a_frontier_never_loosens_for_nothing(client: Client, kind: JobKind[Any, Any]) -> None:
    job = solved(client, kind.name)
    for field in kind.frontier:
        curve = client.frontier(job, field.name, points=4, options=BRIEFLY, timeout=120)
        assert [point.value for point in curve.points] == sorted(point.value for point in curve.points)
        loosening = curve.points if field.better is Sense.MINIMIZE else curve.points[::-1]
        found = [client.job(str(point.job_id)) for point in loosening if point.objective is not None]
        assert found, field.name
        sign = 1 if kind.sense is Sense.MAXIMIZE else -1
        for tighter, looser in pairwise(found):
            assert tighter.objective is not None
            assert looser.objective is not None
            assert sign * (looser.objective - tighter.objective) >= -slack(looser), field.name
        efficient = [point for point in curve.points if point.dominated is False]
        assert efficient
        assert len(curve.chart["spec"]["data"]["values"]) == len(found)


def test_jobs_are_compared_with_what_changed(client: Client) -> None:
    job = solved(client, "deal-picker", WORKED)
    (child,) = client.what_if(job, [{"name": "More", "patch": {"budget": 110_000}}]).jobs
    client.wait(child)
    found = client.compare([job, child])
    facts = {fact.name: fact for fact in found.facts}
    assert facts["objective"].differences[1] == pytest.approx(800)
    assert found.jobs[1].changes == [{"pointer": "/budget", "before": 100_000, "after": 110_000}]


async def test_the_asynchronous_client_asks_all_four(up: Up) -> None:
    async with AsyncClient(up.url, up.key) as client:
        job = await client.wait(await client.submit("deal-picker", WORKED))
        (child,) = (await client.what_if(job, [{"patch": {"budget": 90_000}}])).jobs
        assert (await client.wait(child)).objective == pytest.approx(8_600)
        assert (await client.why_not(job, {"deal_id": "B"}, timeout=60)).breaks == []
        curve = await client.frontier(job, "budget", points=3, first=80_000, last=120_000, timeout=60)
        assert [point.objective for point in curve.points] == pytest.approx([7_800, 9_400, 11_000])
        assert (await client.frontier_of(curve.batch_id)).points == curve.points
        assert (await client.compare([job, child], baseline=child)).baseline == child.id


def test_the_command_line_asks_all_four(up: Up, client: Client) -> None:
    job = str(solved(client, "deal-picker", WORKED).id)
    said = up.milpa("what-if", job, "--case", "More money", '{"budget": 110000}', "--suggested")
    assert "+800" in next(line for line in said.splitlines() if "More money" in line)
    said = up.milpa("why-not", job, "deal_id=D")
    assert "9,400 → 7,000, -2,400" in said
    whole = solved(client, "deal-picker", {**WORKED, "mode": "whole", "must_include": ["A"], "budget": 90_000})
    assert "can't hold together" in up.milpa("why-not", str(whole.id), "deal_id=B")
    child = json.loads(up.milpa("what-if", job, "--case", "Less", '{"budget": 90000}', "--json"))["jobs"][0]["id"]
    said = up.milpa("compare", job, child)
    assert "/budget: 100000.0 → 90000" in said
    assert "-800 (-8.5 %)" in said
    said = up.milpa("frontier", job, "max_risk", "--points", "3", "--from", "1", "--to", "3")
    assert len([line for line in said.splitlines() if "█" in line]) == 3
    assert "max_risk" in up.milpa("kinds", "deal-picker")


def test_the_command_line_refuses_what_is_no_question(up: Up, client: Client) -> None:
    job = str(solved(client, "deal-picker", WORKED).id)
    assert "no case" in up.milpa("what-if", job, code=2)
    assert "no JSON" in up.milpa("what-if", job, "--case", "x", "{budget: 1}", code=2)
    assert "/force/deal_id" in up.milpa("why-not", job, "deal_id=Z", code=2)
    assert "NAME=VALUE" in up.milpa("why-not", job, "D", code=2)
    assert "/against" in up.milpa("frontier", job, "yields", code=2)
