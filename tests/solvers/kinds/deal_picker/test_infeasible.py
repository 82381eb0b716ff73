"""An infeasible problem is an answer: which constraints clash, and changes that were seen to help."""

from typing import Any

import msgspec
import pytest

from solvers.kinds.deal_picker import KIND
from solvers.kinds.deal_picker.problem import Problem
from solvers.result import SolveStatus
from tests.solvers.kinds.deal_picker.problems import problem_of, random_problem, solved, with_patch

BODY: dict[str, Any] = {
    "budget": 100.0,
    "deals": [
        {"id": "A", "price": 60.0, "yield": 6.0, "risk": 3.0, "sector": "office", "city": "x"},
        {"id": "B", "price": 50.0, "yield": 4.0, "risk": 2.0, "sector": "office", "city": "y"},
        {"id": "C", "price": 10.0, "yield": 1.0, "risk": 1.0, "sector": "retail", "city": "y"},
    ],
}


def demanding(seed: int) -> Problem:
    """A random portfolio in which nearly everything must be bought."""
    problem = random_problem(seed, switches=True)
    musts = [deal.id for deal in problem.deals if deal.id not in problem.exclude]
    return msgspec.structs.replace(problem, must_include=musts, budget=problem.budget / 2)


CLASHING = [seed for seed in range(80) if solved(demanding(seed)).status is SolveStatus.INFEASIBLE]


def without(problem: Problem, names: set[str]) -> Problem:
    """The problem without the constraints of these names."""
    kept = {name: value for name, value in problem.sector_caps.items() if f"sector:{name}" not in names}
    cities = {name: value for name, value in problem.city_caps.items() if f"city:{name}" not in names}
    unit_kept = problem.cap_basis != "share_of_budget"
    budget = problem.budget if "budget" not in names else 1e6
    if "budget" in names and not unit_kept:
        kept = {name: cap * problem.budget / budget for name, cap in kept.items()}
        cities = {name: cap * problem.budget / budget for name, cap in cities.items()}
    return msgspec.structs.replace(
        problem,
        budget=budget,
        max_risk=None if "max_risk" in names else problem.max_risk,
        max_deals=None if "max_deals" in names else problem.max_deals,
        sector_caps=kept,
        city_caps=cities,
        exclusive_groups=[ids for n, ids in enumerate(problem.exclusive_groups) if f"group:{n}" not in names],
        must_include=[deal_id for deal_id in problem.must_include if f"must_include:{deal_id}" not in names],
    )


def every_name(problem: Problem) -> set[str]:
    return {
        "budget", "max_risk", "max_deals",
        *(f"sector:{name}" for name in problem.sector_caps), *(f"city:{name}" for name in problem.city_caps),
        *(f"group:{n}" for n in range(len(problem.exclusive_groups))),
        *(f"must_include:{deal_id}" for deal_id in problem.must_include),
    }  # fmt: skip


def test_there_are_infeasible_problems_to_look_at() -> None:
    assert len(CLASHING) > 30


@pytest.mark.parametrize("seed", CLASHING)
def test_a_conflict_can_not_hold_and_every_part_of_it_is_needed(seed: int) -> None:
    problem = demanding(seed)
    conflicts = set(solved(problem).explanation.conflicts)
    assert conflicts
    others = every_name(problem) - conflicts
    assert solved(without(problem, others)).status is SolveStatus.INFEASIBLE
    for name in conflicts:
        assert solved(without(problem, others | {name})).status is SolveStatus.OPTIMAL, name


@pytest.mark.parametrize("seed", CLASHING)
def test_every_repair_leads_to_a_plan(seed: int) -> None:
    problem = demanding(seed)
    repairs = solved(problem).explanation.repairs
    assert repairs
    for repair in repairs:
        other = with_patch(problem, repair.patch)
        result = solved(other)
        assert result.status is SolveStatus.OPTIMAL, repair.label
        assert KIND.verify(other, result.solution) == []
        assert repair.cost > 0


def test_the_budget_is_raised_by_no_more_than_is_needed() -> None:
    result = solved(problem_of(BODY, must_include=["A", "B"]))
    assert result.status is SolveStatus.INFEASIBLE
    assert result.explanation.conflicts == ["must_include:B", "must_include:A", "budget"]
    raised, let_go = result.explanation.repairs
    assert (raised.patch, raised.cost) == ({"budget": pytest.approx(110)}, pytest.approx(10))
    assert (let_go.patch["must_include"], let_go.cost) == (["A"], 1.0) or let_go.patch["must_include"] == ["B"]


def test_two_clashes_are_repaired_together() -> None:
    body = BODY | {"must_include": ["A", "B"], "sector_caps": {"office": 1.0}}
    repairs = solved(problem_of(body)).explanation.repairs
    assert repairs[0].patch == {"budget": pytest.approx(110), "sector_caps": {"office": pytest.approx(2)}}


def test_counts_and_groups_clash_too() -> None:
    few = solved(problem_of(BODY, must_include=["A", "C"], max_deals=1)).explanation
    assert set(few.conflicts) == {"must_include:A", "must_include:C", "max_deals"}
    assert {"max_deals": 2} in [repair.patch for repair in few.repairs]
    assert "Raise the number of deals to 2" in [repair.label for repair in few.repairs]
    group = solved(problem_of(BODY, must_include=["A", "C"], exclusive_groups=[["A", "C"]])).explanation
    assert set(group.conflicts) == {"must_include:A", "must_include:C", "group:0"}
    assert {"exclusive_groups": []} in [repair.patch for repair in group.repairs]


def test_a_share_of_the_budget_is_repaired_through_the_budget_as_well() -> None:
    body = BODY | {"must_include": ["A"], "cap_basis": "share_of_budget", "sector_caps": {"office": 0.5}}
    repairs = solved(problem_of(body)).explanation.repairs
    patches = [repair.patch for repair in repairs]
    assert {"sector_caps": {"office": pytest.approx(0.6)}} in patches
    assert "Raise the cap of sector office to 60 % of the budget" in [repair.label for repair in repairs]
    assert {"must_include": []} in patches


def test_it_is_said_in_words_and_shown() -> None:
    problem = problem_of(BODY, must_include=["A", "B"])
    result = solved(problem)
    assert result.explanation.sentences[0] == (
        "No plan holds every limit: Must include B, Must include A and Budget can't hold together."
    )
    assert "This would help: raise the budget to 110 EUR." in result.explanation.sentences
    report = KIND.describe(problem, result)
    assert [row[0] for row in report.table("conflicts").rows] == ["Must include B", "Must include A", "Budget"]
    assert report.table("repairs").rows[0][0] == "Raise the budget to 110 EUR"
    assert [table.name for table in report.tables] == ["conflicts", "repairs"]
    assert report.facts == []
    assert report.charts == []
