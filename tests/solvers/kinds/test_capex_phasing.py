"""Capex phasing: the worked example, bad input, stops, seeds, and a checker that nothing gets past."""

import random
import threading
import time
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milpa.jobs import LimitReached
from solvers.issues import Severity
from solvers.kinds.capex_phasing import KIND
from solvers.kinds.capex_phasing.instance import instance_of
from solvers.kinds.capex_phasing.problem import Problem, Solution
from solvers.kinds.capex_phasing.search import Search
from solvers.limits import SolveLimits
from solvers.progress import Silent
from solvers.report import Mark
from solvers.result import SolveResult, SolveStatus
from tests.solvers.kinds.test_capex_phasing_oracle import Enumerated, a_problem

CASES = Path(__file__).parents[3] / "solvers/kinds/capex_phasing/cases"


def body_of(case: str) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.json.decode((CASES / f"{case}.json").read_bytes())["problem"]
    return body


def solve(body: dict[str, Any], progress: Any = None, warm: Any = None, **limits: Any) -> SolveResult[Solution]:
    return KIND.solve(msgspec.convert(body, Problem), SolveLimits(**limits), progress or Silent(), warm)


class Watcher(Silent):
    """Keeps what it is told; asks for a stop once it was told so often."""

    def __init__(self, stop_after: int = 10**9) -> None:
        self.told: list[tuple[float | None, float | None]] = []
        self.phases: list[str] = []
        self.stop_after = stop_after

    def phase(self, name: str, _fraction: float | None = None) -> None:
        self.phases.append(name)

    def incumbent(self, objective: float | None, bound: float | None) -> None:
        self.told.append((objective, bound))

    def stop_requested(self) -> bool:
        return len(self.told) >= self.stop_after


def test_the_worked_example_comes_out_to_the_digit() -> None:
    result = solve(body_of("worked_example"))
    solution = result.solution
    assert solution is not None
    assert result.status is SolveStatus.OPTIMAL
    assert [(one.project_id, one.start_month) for one in solution.schedule] == [("A", 0), ("B", 2)]
    assert [one.project_id for one in solution.left_out] == ["C"]
    assert round(solution.npv, 4) == 166.6803
    assert result.objective == pytest.approx(solution.npv)
    assert solution.total_uplift == 480
    assert solution.makespan == 3
    assert solution.payback_month == 4
    first = solution.schedule[0]
    assert (first.start_date, first.finish_date) == (date(2026, 1, 1), date(2026, 2, 28))
    assert [one.carried for one in solution.cash] == [0, 0, 0, 100, 200, 300]
    assert [one.available for one in solution.cash] == [100, 100, 100, 100, 200, 300]


def test_uplift_takes_the_cheapest_of_equals() -> None:
    body = body_of("worked_example") | {"objective": "uplift"}
    body["projects"] = [
        {"id": "dear", "cost": 90, "duration_months": 1, "monthly_uplift": 10, "uses": {"site": 1}},
        {"id": "cheap", "cost": 60, "duration_months": 1, "monthly_uplift": 10, "uses": {"site": 1}},
        {"id": "nothing", "cost": 10, "duration_months": 1},
    ]
    body["resources"] = [{"id": "site", "capacity": 1}]
    body["monthly_cash"] = [90, 0, 0, 0, 0, 0]
    result = solve(body)
    assert result.solution is not None
    assert [one.project_id for one in result.solution.schedule] == ["cheap"]
    assert result.objective == 50
    assert {one.project_id: one.reason.value for one in result.solution.left_out} == {
        "dear": "no_cash",
        "nothing": "not_worth",
    }


def test_makespan_counts_what_is_required_and_what_that_needs() -> None:
    body = body_of("worked_example") | {"objective": "makespan"}
    body["projects"][1]["required"] = True
    result = solve(body)
    assert result.solution is not None
    assert result.objective == result.bound == 3
    assert [one.project_id for one in result.solution.schedule] == ["A", "B"]


def test_nothing_worth_doing_is_an_answer() -> None:
    body = body_of("worked_example")
    body["projects"] = [{"id": "A", "cost": 200, "duration_months": 2}]
    result = solve(body)
    assert result.status is SolveStatus.OPTIMAL
    assert (result.objective, result.gap) == (0, 0)
    assert result.solution is not None
    assert result.solution.schedule == []
    assert result.solution.payback_month == 0
    assert KIND.verify(msgspec.convert(body, Problem), result.solution) == []
    assert KIND.describe(msgspec.convert(body, Problem), result).charts


def test_the_example_is_solved_verified_and_described() -> None:
    problem = msgspec.convert(body_of("example"), Problem)
    assert KIND.check(problem) == []
    result = solve(body_of("example"))
    assert result.status is SolveStatus.OPTIMAL
    assert result.solution is not None
    assert KIND.verify(problem, result.solution) == []
    report = KIND.describe(problem, result)
    gantt = next(chart for chart in report.charts if chart.mark is Mark.GANTT)
    assert len(report.table(gantt.table).rows) == len(result.solution.schedule)
    assert {chart.name for chart in report.charts} == {"gantt", "cash", "uplift"}
    assert report.table("cash").rows[0][0] == problem.start
    assert next(fact.value for fact in report.facts if fact.name == "npv") == result.solution.npv


def test_projects_of_one_name_keep_rows_of_their_own() -> None:
    body = body_of("worked_example")
    for project in body["projects"]:
        project["name"] = "Refurbishment"
    problem = msgspec.convert(body, Problem)
    report = KIND.describe(problem, solve(body))
    assert [row[0] for row in report.table("schedule").rows] == ["Refurbishment (A)", "Refurbishment (B)"]
    assert "Left out for want of cash: Refurbishment (C)." in report.sentences


def test_a_plan_that_can_not_be_is_described_with_what_would_help() -> None:
    body = body_of("worked_example")
    body["projects"][2] |= {"required": True, "latest_finish": 0}
    problem = msgspec.convert(body, Problem)
    report = KIND.describe(problem, solve(body))
    assert report.charts == []
    assert [fact.value for fact in report.facts] == ["infeasible"]
    assert ("Cash in 2026-01: 150 EUR instead of 100 EUR", 50.0) in report.table("repairs").rows


BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "a cash list of another length": ({"monthly_cash": [1, 2]}, "wrong_length", "/monthly_cash"),
    "a resource named twice": (
        {"resources": [{"id": "a", "capacity": 1}, {"id": "a", "capacity": 2}]},
        "duplicate_id",
        "/resources/1/id",
    ),
    "makespan with nothing required": ({"objective": "makespan"}, "no_required", "/objective"),
}
BAD_PROJECT: dict[str, tuple[dict[str, Any], str, str]] = {
    "shares that add up to less": ({"cost_profile": [0.5, 0.4]}, "bad_shares", "/projects/0/cost_profile"),
    "shares for more months": ({"cost_profile": [0.5, 0.25, 0.25]}, "wrong_length", "/projects/0/cost_profile"),
    "a project named twice": ({"id": "B"}, "duplicate_id", "/projects/1/id"),
    "an unknown predecessor": ({"after": ["Z"]}, "unknown_id", "/projects/0/after/0"),
    "a predecessor named twice": ({"after": ["C", "C"]}, "duplicate_id", "/projects/0/after/1"),
    "an unknown resource": ({"uses": {"crane": 1}}, "unknown_id", "/projects/0/uses/crane"),
    "waiting for itself": ({"after": ["A"]}, "cyclic_precedence", "/projects/0/after"),
    "more crew than there is": (
        {"uses": {"crew": 4}, "required": True},
        "impossible_resource",
        "/projects/0/uses/crew",
    ),
    "a horizon too short": ({"duration_months": 7, "required": True}, "horizon_too_short", "/horizon_months"),
    "a chain too long": ({"earliest_start": 5, "required": True}, "horizon_too_short", "/horizon_months"),
}


@pytest.mark.parametrize("wrong", BAD)
def test_bad_input_is_pointed_at(wrong: str) -> None:
    change, code, where = BAD[wrong]
    issues = KIND.check(msgspec.convert(body_of("worked_example") | change, Problem))
    assert [(one.code, one.pointer, one.severity) for one in issues] == [(code, where, Severity.ERROR)]


@pytest.mark.parametrize("wrong", BAD_PROJECT)
def test_a_bad_project_is_pointed_at(wrong: str) -> None:
    change, code, where = BAD_PROJECT[wrong]
    body = body_of("worked_example") | {"resources": [{"id": "crew", "capacity": 3}]}
    body["projects"][0] |= change
    issues = [one for one in KIND.check(msgspec.convert(body, Problem)) if one.severity is Severity.ERROR]
    assert (code, where) in [(one.code, one.pointer) for one in issues]


def test_a_cycle_is_named_from_its_first_project_on() -> None:
    body = body_of("worked_example")
    body["projects"][0]["after"] = ["C"]
    body["projects"][2]["after"] = ["B"]
    (issue,) = KIND.check(msgspec.convert(body, Problem))
    assert issue.code == "cyclic_precedence"
    assert issue.message == "No project of a cycle can start: A waits for C waits for B waits for A."


def test_all_issues_come_at_once() -> None:
    body = body_of("worked_example") | {"monthly_cash": [1], "objective": "makespan"}
    body["projects"][0] |= {"cost_profile": [0.5, 0.4], "after": ["Z"], "uses": {"crane": 1}}
    codes = {issue.code for issue in KIND.check(msgspec.convert(body, Problem))}
    assert codes == {"wrong_length", "no_required", "bad_shares", "unknown_id"}


def test_an_optional_project_that_can_never_be_done_is_a_warning_and_left_out() -> None:
    body = body_of("worked_example") | {"resources": [{"id": "crew", "capacity": 3}], "monthly_cash": 1000}
    body["projects"][2] |= {"uses": {"crew": 4}}
    body["projects"].append({"id": "D", "cost": 1, "duration_months": 9, "monthly_uplift": 100})
    issues = KIND.check(msgspec.convert(body, Problem))
    assert {(one.code, one.severity) for one in issues} == {
        ("impossible_resource", Severity.WARNING),
        ("never_fits", Severity.WARNING),
    }
    result = solve(body)
    assert result.solution is not None
    assert {one.project_id: one.reason.value for one in result.solution.left_out} == {
        "C": "no_capacity",
        "D": "no_time",
    }


def test_a_stop_asked_for_before_the_search_still_gives_a_plan() -> None:
    problem = msgspec.convert(body_of("capex_60x60"), Problem)
    began = time.perf_counter()
    result = KIND.solve(problem, SolveLimits(seconds=120), Watcher(stop_after=0))
    assert time.perf_counter() - began < 60
    assert result.status is SolveStatus.FEASIBLE
    assert result.limit is LimitReached.STOPPED
    assert result.solution is not None
    assert KIND.verify(problem, result.solution) == []


def test_a_stop_keeps_the_best_plan_so_far_and_what_was_streamed() -> None:
    problem = msgspec.convert(body_of("capex_60x60"), Problem)
    watcher = Watcher(stop_after=4)
    result = KIND.solve(problem, SolveLimits(seconds=120), watcher)
    assert result.limit is LimitReached.STOPPED
    assert result.objective is not None
    assert result.bound is not None
    told = [round(objective, 2) for objective, _ in watcher.told if objective is not None]
    assert told == sorted(told)
    assert round(result.objective, 2) >= told[-1]
    assert result.bound >= result.objective
    assert result.stats["linear_bound"] >= result.bound
    assert watcher.phases == ["build", "solve", "explain"]


def test_the_time_limit_is_that_of_the_whole_solve() -> None:
    problem = msgspec.convert(body_of("capex_60x60"), Problem)
    began = time.perf_counter()
    result = KIND.solve(problem, SolveLimits(seconds=2.5), Silent())
    assert time.perf_counter() - began < 20
    assert result.status is SolveStatus.FEASIBLE
    assert result.limit is LimitReached.TIME
    assert result.solution is not None
    assert KIND.verify(problem, result.solution) == []


def test_a_solve_in_a_thread_ends_when_it_is_stopped_in_the_middle() -> None:
    watcher = Watcher()
    results: list[SolveResult[Solution]] = []
    body = body_of("capex_60x60")
    thread = threading.Thread(target=lambda: results.append(solve(body, watcher, seconds=300)))
    thread.start()
    while not watcher.told:
        time.sleep(0.05)
    watcher.stop_after = 0
    thread.join(timeout=60)
    assert [result.limit for result in results] == [LimitReached.STOPPED]


@pytest.mark.parametrize("objective", ["npv", "uplift", "makespan"])
def test_the_same_seed_gives_the_same_plan(objective: str) -> None:
    body = body_of("example") | {"objective": objective, "horizon_months": 18}
    one, other = (solve(body, seed=7, relative_gap=0.0) for _ in range(2))
    assert one.status is SolveStatus.OPTIMAL
    assert one.solution == other.solution
    assert one.bound == other.bound


def test_one_thread_finds_the_same_optimum() -> None:
    body = body_of("example") | {"horizon_months": 24}
    one, two = (solve(body, threads=threads, relative_gap=0.0) for threads in (1, 2))
    assert one.objective == pytest.approx(two.objective)


def test_a_plan_of_a_similar_problem_is_a_start() -> None:
    body = body_of("example") | {"horizon_months": 24}
    before = solve(body).solution
    body["projects"] = [project for project in body["projects"] if project["id"] != "roof"]
    after = solve(body, warm=before, relative_gap=0.0)
    assert after.objective == pytest.approx(solve(body, relative_gap=0.0).objective)


LOOSER: dict[str, Any] = {
    "cash": lambda body: {"monthly_cash": [1.25 * amount + 10 for amount in cash_of(body)]},
    "projects at once": lambda body: {"max_parallel": (body["max_parallel"] or 9) + 1},
    "crew": lambda body: {"resources": [{"id": "crew", "capacity": body["resources"][0]["capacity"] + 1}]},
    "choice": lambda body: {"projects": [project | {"required": False} for project in body["projects"]]},
    "carry-over": lambda _: {"carry_over": True},
    "reinvested uplift": lambda _: {"reinvest_uplift": True},
}


def cash_of(body: dict[str, Any]) -> list[float]:
    cash = body["monthly_cash"]
    return cash if isinstance(cash, list) else [cash] * body["horizon_months"]


@given(seed=st.integers(0, 10**9), objective=st.sampled_from(["npv", "uplift"]), more=st.sampled_from(sorted(LOOSER)))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_more_never_hurts(seed: int, objective: str, more: str) -> None:
    body = msgspec.to_builtins(a_problem(random.Random(seed), objective))
    exact = SolveLimits(relative_gap=0.0, seconds=60)
    tight, loose = (
        Search(of=instance_of(msgspec.convert(one, Problem)), limits=exact).run()
        for one in (body, body | LOOSER[more](body))
    )
    if tight.objective is not None:
        assert loose.objective is not None
        assert loose.objective >= tight.objective - 1e-6 * max(1.0, abs(tight.objective))


def a_plan() -> tuple[dict[str, Any], dict[str, Any]]:
    """A problem with every kind of constraint, and a plan that holds, as plain values."""
    body = body_of("worked_example") | {"resources": [{"id": "crew", "capacity": 2}], "horizon_months": 7}
    body["projects"][0] |= {"uses": {"crew": 1}, "required": True, "earliest_start": 1, "latest_finish": 3}
    body["projects"][1] |= {"uses": {"crew": 2}}
    body["projects"][2] |= {"monthly_uplift": 30}
    solution = solve(body).solution
    assert KIND.verify(msgspec.convert(body, Problem), msgspec.convert(solution, Solution)) == []
    return body, msgspec.to_builtins(solution)


def broken_by(body: dict[str, Any], plan: dict[str, Any]) -> set[str]:
    problem, solution = msgspec.convert(body, Problem), msgspec.convert(plan, Solution)
    return {violation.constraint for violation in KIND.verify(problem, solution)}


TIGHTER: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "cash:1": ({"monthly_cash": [0, 99, 900, 900, 900, 900, 900]}, {}),
    "resource:crew:1": ({"resources": [{"id": "crew", "capacity": 0.5}]}, {}),
    "after:A:C": ({}, {"after": ["C"]}),
    "latest_finish:A": ({}, {"latest_finish": 1}),
    "earliest_start:A": ({}, {"earliest_start": 2}),
    "duration:A": ({}, {"duration_months": 3}),
    "horizon:B": ({"horizon_months": 3, "monthly_cash": 900}, {}),
}


@pytest.mark.parametrize("constraint", TIGHTER)
def test_a_plan_that_breaks_a_constraint_is_caught(constraint: str) -> None:
    body, plan = a_plan()
    change, project = TIGHTER[constraint]
    body |= change
    body["projects"][0] |= project
    assert constraint in broken_by(body, plan)


def test_a_plan_that_runs_too_much_at_once_and_too_early_is_caught() -> None:
    body, plan = a_plan()
    plan["schedule"][1] |= {
        "start_month": 2,
        "finish_month": 2,
        "start_date": "2026-03-01",
        "finish_date": "2026-03-31",
    }
    assert {"parallel:2", "resource:crew:2", "after:B:A"} <= broken_by(body, plan)


def test_a_plan_without_carry_over_may_not_spend_what_was_saved() -> None:
    body, plan = a_plan()
    body |= {"monthly_cash": 100, "carry_over": False}
    body["projects"][1] |= {"cost": 101}
    assert "cash:3" in broken_by(body, plan)


def test_a_plan_may_not_leave_out_what_is_required_or_what_others_wait_for() -> None:
    body, plan = a_plan()
    plan["schedule"] = [one for one in plan["schedule"] if one["project_id"] != "A"]
    assert {"required:A", "after:B:A", "left_out"} <= broken_by(body, plan)


def test_a_plan_may_not_name_what_is_unknown_or_name_it_twice() -> None:
    body, plan = a_plan()
    assert broken_by(body, plan | {"schedule": plan["schedule"] * 2}) == {"schedule:A", "schedule:B"}
    plan["schedule"][0]["project_id"] = "Z"
    assert broken_by(body, plan) == {"schedule:Z"}


def test_for_makespan_a_plan_may_hold_only_what_is_needed() -> None:
    body, plan = a_plan()
    assert "optional:B" in broken_by(body | {"objective": "makespan"}, plan)


@pytest.mark.parametrize(
    ("change", "caught"),
    [
        ({"npv": 1.0}, "npv"),
        ({"total_uplift": 1.0}, "total_uplift"),
        ({"makespan": 5}, "makespan"),
        ({"payback_month": None}, "payback_month"),
        ({"npv": float("nan")}, "figures"),
        ({"left_out": []}, "left_out"),
        ({"cash": []}, "cash"),
    ],
)
def test_a_wrong_figure_is_caught(change: dict[str, Any], caught: str) -> None:
    body, plan = a_plan()
    assert caught in broken_by(body, plan | change)


@pytest.mark.parametrize("field", ["available", "spent", "carried", "uplift"])
def test_a_wrong_line_of_cash_is_caught(field: str) -> None:
    body, plan = a_plan()
    plan["cash"][4][field] += 0.1
    assert f"cash:4:{field}" in broken_by(body, plan)


@pytest.mark.parametrize("field", ["npv", "cost", "uplift_total"])
def test_a_wrong_line_of_the_schedule_is_caught(field: str) -> None:
    body, plan = a_plan()
    plan["schedule"][1][field] += 0.1
    assert f"schedule:B:{field}" in broken_by(body, plan)


@pytest.mark.parametrize("field", ["start_date", "finish_date"])
def test_a_wrong_date_is_caught(field: str) -> None:
    body, plan = a_plan()
    plan["schedule"][1][field] = "2026-12-24"
    assert f"schedule:B:{field}" in broken_by(body, plan)


def test_amounts_that_have_no_common_unit_are_solved_within_rounding() -> None:
    rng = random.Random(5)
    for _ in range(10):
        problem = a_problem(rng, "npv")
        body = msgspec.to_builtins(problem)
        for project in body["projects"]:
            project["cost"] *= 1.000000123456789
        body["monthly_cash"] = [amount * 1.0000001234 for amount in cash_of(body)]
        problem = msgspec.convert(body, Problem)
        best = Enumerated(problem).best()
        found = Search(of=instance_of(problem), limits=SolveLimits(relative_gap=0.0, seconds=60)).run()
        assert (found.objective is None) == (best is None)
        if best is not None:
            assert found.objective == pytest.approx(best[0], rel=1e-6, abs=1e-5)


def test_a_project_too_dear_to_think_of_does_not_blur_the_others() -> None:
    body = body_of("worked_example")
    body["projects"].append({"id": "dream", "cost": 1e15, "duration_months": 1, "monthly_uplift": 1e15})
    result = solve(body)
    assert result.solution is not None
    assert round(result.solution.npv, 4) == 166.6803
    assert result.solution.left_out[-1].reason == "no_cash"
