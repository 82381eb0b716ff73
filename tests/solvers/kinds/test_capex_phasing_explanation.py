"""Why a plan is what it is: limits, steps looser, reasons, conflicts and repairs, each held to solving or enumeration."""

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from solvers.explain import DualKind, Explanation
from solvers.issues import has_errors
from solvers.kinds.capex_phasing import KIND
from solvers.kinds.capex_phasing.problem import Problem
from solvers.limits import SolveLimits
from solvers.patches import apply_patch
from solvers.progress import Silent
from solvers.result import SolveResult, SolveStatus
from tests.solvers.kinds.test_capex_phasing_oracle import Enumerated, a_problem

EXACT = SolveLimits(relative_gap=0.0, seconds=60)
CASES = Path(__file__).parents[3] / "solvers/kinds/capex_phasing/cases"


def solved(body: dict[str, Any]) -> SolveResult[Any]:
    return KIND.solve(msgspec.convert(body, Problem), EXACT, Silent())


def worked() -> dict[str, Any]:
    body: dict[str, Any] = msgspec.json.decode((CASES / "worked_example.json").read_bytes())["problem"]
    return body


def example() -> dict[str, Any]:
    body: dict[str, Any] = msgspec.json.decode((CASES / "example.json").read_bytes())["problem"]
    return body


def patched(body: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    applied = apply_patch(body, patch)
    assert applied.issues == []
    changed: dict[str, Any] = applied.value
    assert not has_errors(KIND.check(msgspec.convert(changed, Problem)))
    return changed


def one_project(**fields: Any) -> dict[str, Any]:
    project = {"id": "A", "cost": 200, "duration_months": 2, "monthly_uplift": 90, **fields}
    return {"horizon_months": 6, "monthly_cash": 100, "projects": [project]}


def test_every_constraint_is_reported_under_its_name() -> None:
    body = worked()
    body["resources"] = [{"id": "crew", "capacity": 2}]
    body["projects"][0] |= {"uses": {"crew": 1}, "required": True, "latest_finish": 3}
    names = [one.name for one in solved(body).explanation.constraints]
    months = range(6)
    assert names == [
        *(f"cash:{month}" for month in months),
        *(f"parallel:{month}" for month in months),
        *(f"resource:crew:{month}" for month in months),
        "required:A",
        "latest_finish:A",
        "after:B:A",
    ]


def test_limits_stand_where_the_plan_puts_them() -> None:
    body = worked()
    body["projects"][0] |= {"latest_finish": 3}
    why = solved(body).explanation
    stands = {one.name: (one.activity, one.limit, one.slack, one.binding) for one in why.constraints}
    assert stands["cash:0"] == (100, 100, 0, True)
    assert stands["cash:3"] == (0, 100, 100, False)
    assert stands["parallel:2"] == (1, 1, 0, True)
    assert stands["parallel:3"] == (0, 1, 1, False)
    assert stands["after:B:A"] == (2, 2, 0, True)
    assert stands["latest_finish:A"] == (1, 3, 2, False)
    assert why.dual_kind is DualKind.NONE
    assert all(one.shadow_price is None and one.valid_from is None for one in why.constraints)


def test_a_constraint_of_a_left_out_project_stands_nowhere() -> None:
    body = worked()
    body["projects"][2]["latest_finish"] = 4
    stands = {one.name: one for one in solved(body).explanation.constraints}
    assert stands["latest_finish:C"].activity is None
    assert stands["latest_finish:C"].slack is None
    assert not stands["latest_finish:C"].binding


def test_one_more_month_of_cash_is_told_with_its_units() -> None:
    why = solved(worked()).explanation
    assert why.what_if[0].patch == {"monthly_cash": [200, 100, 100, 100, 100, 100]}
    assert why.what_if[0].expected_change == pytest.approx(37.774771, abs=1e-6)
    assert "One more month of cash of 100 EUR in 2026-01 is worth 37.77 EUR." in why.sentences


@pytest.mark.parametrize("objective", ["npv", "uplift", "makespan"])
def test_what_ifs_bring_what_they_say_and_loosening_never_hurts(objective: str) -> None:
    looked_at = 0
    for seed in range(8):
        problem = a_problem(random.Random(f"what if {objective} {seed}"), objective)
        body = msgspec.to_builtins(problem)
        result = solved(body)
        if result.objective is None:
            continue
        for what_if in result.explanation.what_if[:2]:
            looked_at += 1
            better = Enumerated(msgspec.convert(patched(body, what_if.patch), Problem)).best()
            assert better is not None
            sign = -1 if objective == "makespan" else 1
            change = sign * better[0] - result.objective
            assert what_if.expected_change == pytest.approx(change, rel=1e-6, abs=1e-5), (problem, what_if)
            assert sign * what_if.expected_change >= 0
        assert len(result.explanation.what_if) <= 5
    assert looked_at


def test_a_makespan_that_could_be_shorter_says_by_how_many_months() -> None:
    body = one_project(required=True) | {"objective": "makespan"}
    body["projects"].append({"id": "B", "cost": 100, "duration_months": 1, "required": True})
    why = solved(body).explanation
    changes = {str(what_if.patch): what_if.expected_change for what_if in why.what_if}
    assert changes["{'monthly_cash': [200.0, 100.0, 100.0, 100.0, 100.0, 100.0]}"] == -1
    assert "One more month of cash of 100 EUR in 2026-01 ends all that is required 1 month earlier." in why.sentences


LEFT_OUT = {
    "not_worth": one_project(monthly_uplift=10),
    "no_cash": one_project(cost=900, monthly_uplift=900),
    "no_capacity": one_project(uses={"crew": 2}) | {"resources": [{"id": "crew", "capacity": 1}]},
    "no_time": one_project(earliest_start=5),
}


@pytest.mark.parametrize("reason", LEFT_OUT)
def test_a_left_out_project_says_what_it_lacks(reason: str) -> None:
    result = solved(LEFT_OUT[reason])
    assert result.status is SolveStatus.OPTIMAL
    assert [(one.project_id, one.reason.value) for one in result.solution.left_out] == [("A", reason)]


def test_what_waits_for_a_left_out_project_is_left_out_with_it() -> None:
    body = one_project(monthly_uplift=0)
    body["projects"].append({"id": "B", "cost": 10, "duration_months": 1, "monthly_uplift": 1, "after": ["A"]})
    reasons = {one.project_id: one.reason.value for one in solved(body).solution.left_out}
    assert reasons == {"A": "not_worth", "B": "predecessor"}


def test_a_project_that_only_leads_to_a_worthy_one_lacks_what_keeps_both_out() -> None:
    body = one_project(monthly_uplift=0) | {"monthly_cash": 60}
    body["projects"].append({"id": "B", "cost": 150, "duration_months": 1, "monthly_uplift": 500, "after": ["A"]})
    reasons = {one.project_id: one.reason.value for one in solved(body).solution.left_out}
    assert reasons == {"A": "no_cash", "B": "predecessor"}


def test_a_project_that_others_crowd_out_lacks_capacity() -> None:
    body = one_project() | {"monthly_cash": 1000, "max_parallel": 1, "horizon_months": 3}
    body["projects"].append({"id": "B", "cost": 20, "duration_months": 2, "monthly_uplift": 21})
    reasons = {one.project_id: one.reason.value for one in solved(body).solution.left_out}
    assert reasons == {"A": "not_worth"}
    body["projects"][0] |= {"cost": 50}
    assert [one.project_id for one in solved(body).solution.schedule] == ["A"]
    reasons = {one.project_id: one.reason.value for one in solved(body).solution.left_out}
    assert reasons == {"B": "no_capacity"}


def test_for_makespan_what_nothing_required_needs_is_not_worth_it() -> None:
    body = worked() | {"objective": "makespan"}
    body["projects"][1]["required"] = True
    result = solved(body)
    assert [one.project_id for one in result.solution.schedule] == ["A", "B"]
    assert [(one.project_id, one.reason.value) for one in result.solution.left_out] == [("C", "not_worth")]


def infeasible(problem: Problem) -> Explanation:
    result = KIND.solve(problem, EXACT, Silent())
    assert result.status is SolveStatus.INFEASIBLE
    assert result.solution is None
    assert (result.objective, result.bound, result.gap) == (None, None, None)
    return result.explanation


def test_too_little_cash_for_a_deadline_is_a_conflict_of_three() -> None:
    body = one_project(required=True, latest_finish=1, cost=250, cost_profile="completion")
    why = infeasible(msgspec.convert(body, Problem))
    assert why.conflicts == ["cash:1", "required:A", "latest_finish:A"]
    repairs = {tuple(repair.patch): repair for repair in why.repairs}
    assert repairs[("monthly_cash",)].patch == {"monthly_cash": [100, 150, 100, 100, 100, 100]}
    assert repairs[("monthly_cash",)].cost == 50
    assert {"projects": {"A": {"latest_finish": 2}}} in [repair.patch for repair in why.repairs]
    assert {"projects": {"A": {"required": False}}} in [repair.patch for repair in why.repairs]
    assert "It works with one change: Cash in 2026-02: 150 EUR instead of 100 EUR." in why.sentences


def test_conflicts_are_real_and_none_of_them_can_be_spared() -> None:
    found = 0
    for seed in range(400):
        rng = random.Random(f"conflict {seed}")
        problem = a_problem(rng, rng.choice(["npv", "uplift", "makespan"]))
        if found >= 25 or (problem.objective == "makespan" and problem.reinvest_uplift):
            continue
        if Enumerated(problem).best() is not None:
            continue
        found += 1
        names = set(infeasible(problem).conflicts)
        assert names
        assert next(Enumerated(problem, names).plans(), None) is None, (problem, names)
        for name in names:
            assert next(Enumerated(problem, names - {name}).plans(), None) is not None, (problem, names, name)
    assert found == 25


def test_repairs_work_and_are_as_small_as_they_say() -> None:
    found = 0
    for seed in range(200):
        rng = random.Random(f"repair {seed}")
        problem = a_problem(rng, rng.choice(["npv", "makespan"]))
        if found >= 12 or Enumerated(problem).best() is not None:
            continue
        found += 1
        body = msgspec.to_builtins(problem)
        for repair in infeasible(problem).repairs:
            repaired = Enumerated(msgspec.convert(patched(body, repair.patch), Problem))
            assert next(repaired.plans(), None) is not None, (body, repair)
            assert repair.cost > 0
    assert found == 12


def test_a_repair_of_cash_is_the_least_that_helps() -> None:
    body = one_project(required=True, latest_finish=2, cost=333.33, cost_profile="upfront")
    every, one, *_ = infeasible(msgspec.convert(body, Problem)).repairs
    assert every.patch == {"monthly_cash": pytest.approx(166.67, abs=1e-9)}
    assert every.label == "Cash a month: 166.67 EUR instead of 100 EUR"
    assert one.patch == {"monthly_cash": [100, pytest.approx(233.33, abs=1e-9), 100, 100, 100, 100]}


def test_cash_that_differs_by_month_is_repaired_by_month_alone() -> None:
    body = one_project(required=True, latest_finish=2, cost=333.33, cost_profile="upfront")
    why = infeasible(msgspec.convert(body | {"monthly_cash": [100] * 5 + [90]}, Problem))
    assert why.repairs[0].patch == {"monthly_cash": [100, pytest.approx(233.33, abs=1e-9), 100, 100, 100, 90]}


def test_too_little_cash_in_all_months_is_told_with_how_much_of_it_would_do() -> None:
    why = infeasible(msgspec.convert(example() | {"monthly_cash": 1000}, Problem))
    assert any(name.startswith("cash:") for name in why.conflicts)
    assert set(why.repairs[0].patch) == {"monthly_cash"}
    assert isinstance(why.repairs[0].patch["monthly_cash"], float)
