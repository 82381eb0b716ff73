"""A plan that a limit ended is explained as far as that needs no solving: its limits, without prices, and why."""

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from milpa.jobs import LimitReached
from solvers.backends.cpsat import Race
from solvers.backends.highs import Solver
from solvers.explain import DualKind
from solvers.kind import JobKind
from solvers.kinds import capex_phasing, deal_picker, debt_stack, leasing_mix
from solvers.limits import SolveLimits
from solvers.result import SolveResult, SolveStatus
from tests.solvers.backends.support import Watcher
from tests.solvers.kinds.deal_picker.test_solve import hard, portfolio
from tests.solvers.kinds.test_capex_phasing import body_of
from tests.solvers.kinds.test_debt_stack import a_large_problem


def many_packages() -> leasing_mix.problem.Problem:
    """Whole leases that are all worth about what they need of three limits: proof takes long."""
    generator = np.random.default_rng(3)
    packages = [
        {
            "id": f"p{k}", "use": "ab"[k % 2], "area_per_lease": float(area), "max_leases": 3, "term_years": 5,
            "rent_per_sqm_year": float(generator.uniform(200, 201)), "fitout_per_sqm": float(generator.uniform(20, 21)),
        }
        for k, area in enumerate(generator.uniform(50, 300, 150))
    ]  # fmt: skip
    body = {
        "total_area": 20_000, "min_wault_years": 0, "incentive_budget": 300_000, "mode": "whole",
        "use_caps": {"a": 0.3, "b": 0.31}, "packages": packages,
    }  # fmt: skip
    return msgspec.convert(body, leasing_mix.KIND.problem)


CASES: dict[str, tuple[JobKind[Any, Any], Callable[[], Any], int]] = {
    "shares of deals": (deal_picker.KIND, lambda: portfolio(20_000), 0),
    "whole deals": (deal_picker.KIND, hard, 1),
    "some deals": (deal_picker.KIND, lambda: portfolio(400, max_deals=60), 1),
    "leases": (leasing_mix.KIND, many_packages, 1),
    "tranches": (debt_stack.KIND, lambda: a_large_problem(conditions=True), 1),
    "projects": (capex_phasing.KIND, lambda: msgspec.convert(body_of("capex_60x60"), capex_phasing.KIND.problem), 1),
}


class Spied(Watcher):
    """Asks to stop, and knows what was solved once the answer was being explained."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, stop_after: int) -> None:
        super().__init__(stop_after)
        self.solved_late: list[str] = []
        for solver in (Solver, Race):
            monkeypatch.setattr(solver, "_run" if solver is Solver else "run", self._told(solver))

    def _told(self, solver: Any) -> Callable[..., Any]:
        run = solver._run if solver is Solver else solver.run

        def told(*arguments: Any) -> Any:
            if "explain" in self.phases:
                self.solved_late.append(solver.__name__)
            return run(*arguments)

        return told


def stopped(name: str, watcher: Watcher) -> tuple[JobKind[Any, Any], Any, SolveResult[Any]]:
    kind, make, _ = CASES[name]
    problem = make()
    result = kind.solve(problem, SolveLimits(seconds=120, relative_gap=0.0), watcher)
    assert (result.status, result.limit) == (SolveStatus.FEASIBLE, LimitReached.STOPPED)
    assert kind.verify(problem, result.solution) == []
    return kind, problem, result


@pytest.mark.parametrize("name", CASES)
def test_a_stopped_plan_tells_its_limits_and_why_they_have_no_prices(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = Spied(monkeypatch, CASES[name][2])
    kind, problem, result = stopped(name, watcher)
    why = result.explanation
    assert why.dual_kind is DualKind.NONE
    assert why.constraints
    assert all(one.limit is not None for one in why.constraints if not one.name.startswith(("after:", "required:")))
    assert any(one.activity is not None and one.slack is not None for one in why.constraints)
    assert {(one.shadow_price, one.valid_from, one.valid_to) for one in why.constraints} == {(None, None, None)}
    assert (why.reduced_costs, why.what_if) == ([], [])
    assert [text for text in why.sentences if "ended before this was proven the best, since it was stopped" in text]
    assert not [text for text in why.sentences if "whole or not at all" in text or "leases are whole" in text]
    assert kind.describe(problem, result).sentences == why.sentences
    assert watcher.solved_late == []


def test_near_misses_of_a_stopped_plan_have_no_yield_at_which_they_enter() -> None:
    _, _, result = stopped("whole deals", Watcher(stop_after=1))
    misses = result.explanation.near_misses
    assert 0 < len(misses) <= 20
    assert {miss["break_even_yield"] for miss in misses} == {None}


def test_time_that_is_up_is_said_too() -> None:
    result = deal_picker.KIND.solve(hard(), SolveLimits(seconds=1.0, relative_gap=0.0), Watcher())
    assert result.limit is LimitReached.TIME
    assert result.explanation.constraints
    assert "since its time was up" in result.explanation.sentences[0]


def too_many_at_once() -> capex_phasing.problem.Problem:
    """Two projects that must be done one after the other, in less time than both take: that is not seen at a glance."""
    project = {"cost": 0.0, "duration_months": 2, "required": True}
    body = {
        "horizon_months": 3, "monthly_cash": 1.0, "max_parallel": 1, "objective": "makespan",
        "projects": [project | {"id": "A"}, project | {"id": "B"}],
    }  # fmt: skip
    return msgspec.convert(body, capex_phasing.KIND.problem)


WITHOUT_ANSWER: dict[str, tuple[JobKind[Any, Any], Callable[[], Any]]] = {
    "deals": (deal_picker.KIND, hard),
    "leases": (leasing_mix.KIND, many_packages),
    "tranches": (debt_stack.KIND, lambda: a_large_problem(conditions=True)),
    "projects": (capex_phasing.KIND, too_many_at_once),
}


@pytest.mark.parametrize("name", WITHOUT_ANSWER)
def test_a_search_that_ended_before_it_found_anything_says_so_and_what_may_help(name: str) -> None:
    kind, make = WITHOUT_ANSWER[name]
    problem = make()
    result = kind.solve(problem, SolveLimits(seconds=120, relative_gap=0.0), Watcher(stop_after=0))
    assert (result.status, result.limit) == (SolveStatus.NO_SOLUTION, LimitReached.STOPPED)
    why, *_, help_ = result.explanation.sentences
    assert why.startswith("The search ended before it found anything, since it was stopped")
    assert help_ == "Submit it again to let it run on."
    assert kind.describe(problem, result).sentences == result.explanation.sentences


class UntilBounded(Watcher):
    """Asks to stop as soon as it hears how good an answer can be at most."""

    def stop_requested(self) -> bool:
        return any(bound is not None for _, bound in self.incumbents)


def test_how_good_an_answer_can_be_is_told_where_only_that_is_known() -> None:
    problem = portfolio(1_200, mode="whole")
    result = deal_picker.KIND.solve(problem, SolveLimits(seconds=120), UntilBounded())
    assert (result.status, result.limit) == (SolveStatus.NO_SOLUTION, LimitReached.STOPPED)
    best = deal_picker.KIND.solve(problem, SolveLimits(seconds=120), Watcher())
    assert result.bound >= best.objective
    assert f"No plan is worth more than {result.bound:,.0f} EUR a year." in result.explanation.sentences


def test_a_time_that_was_too_short_is_named_as_it_is_asked_for() -> None:
    result = debt_stack.KIND.solve(a_large_problem(conditions=True), SolveLimits(seconds=1e-3), Watcher())
    assert (result.status, result.limit) == (SolveStatus.NO_SOLUTION, LimitReached.TIME)
    assert "since its time was up" in result.explanation.sentences[0]
    assert "time_limit_seconds" in result.explanation.sentences[-1]
