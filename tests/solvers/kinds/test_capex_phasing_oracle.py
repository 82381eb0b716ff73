"""Capex phasing against enumeration: every start month of every project, or leaving it out, in exact fractions."""

import random
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import msgspec
import pytest

from solvers.issues import has_errors
from solvers.kinds.capex_phasing import KIND
from solvers.kinds.capex_phasing.formulation import Form
from solvers.kinds.capex_phasing.instance import instance_of
from solvers.kinds.capex_phasing.problem import Problem
from solvers.kinds.capex_phasing.search import Found, Search
from solvers.kinds.capex_phasing.solution import solution_of
from solvers.limits import SolveLimits
from solvers.result import SolveStatus

EXACT = SolveLimits(relative_gap=0.0, seconds=60)
ZERO = Fraction(0)


class Enumerated:
    """A problem whose plans are tried one by one; `names` of constraints, where given, are all that has to hold."""

    def __init__(self, problem: Problem, names: set[str] | None = None) -> None:
        self.problem, self.names = problem, names
        cash = problem.monthly_cash
        self.months = range(problem.horizon_months)
        self.cash = [Fraction(str(c)) for c in (cash if isinstance(cash, list) else [cash] * len(self.months))]
        self.projects = {project.id: project for project in problem.projects}
        self.wanted = self.chain() if problem.objective == "makespan" else set(self.projects)

    def holds(self, name: str) -> bool:
        return self.names is None or name in self.names

    def chain(self) -> set[str]:
        """The required projects, and all that they wait for."""
        todo, found = [p.id for p in self.problem.projects if p.required and self.holds(f"required:{p.id}")], set()
        while todo:
            name = todo.pop()
            if name not in found:
                found.add(name)
                todo += [other for other in self.projects[name].after if self.holds(f"after:{name}:{other}")]
        return found

    def paid(self, name: str) -> list[Fraction]:
        project = self.projects[name]
        cost, length = Fraction(str(project.cost)), project.duration_months
        if project.cost_profile == "even":
            return [cost / length] * length
        if isinstance(project.cost_profile, list):
            shares = [Fraction(str(share)) for share in project.cost_profile]
            return [cost * share / sum(shares) for share in shares]
        return [cost if k == (0 if project.cost_profile == "upfront" else length - 1) else ZERO for k in range(length)]

    def plans(self) -> Iterator[dict[str, int]]:
        """Every plan that holds."""
        yield from self._grown({}, list(self.projects))

    def _grown(self, plan: dict[str, int], left: list[str]) -> Iterator[dict[str, int]]:
        if not left:
            if self._cash_holds(plan) and self._order_holds(plan):
                yield plan
            return
        name, *rest = left
        project = self.projects[name]
        if not (project.required and self.holds(f"required:{name}")):
            yield from self._grown(plan, rest)
        if name not in self.wanted:
            return
        last = len(self.months) - 1
        if project.latest_finish is not None and self.holds(f"latest_finish:{name}"):
            last = min(last, project.latest_finish)
        for start in range(project.earliest_start, last - project.duration_months + 2):
            grown = {**plan, name: start}
            if self._capacity_holds(grown):
                yield from self._grown(grown, rest)

    def _capacity_holds(self, plan: dict[str, int]) -> bool:
        for month in self.months:
            running = [self.projects[n] for n, s in plan.items() if s <= month < s + self.projects[n].duration_months]
            most = self.problem.max_parallel
            if most is not None and len(running) > most and self.holds(f"parallel:{month}"):
                return False
            for resource in self.problem.resources:
                used = sum(Fraction(str(project.uses.get(resource.id, 0))) for project in running)
                if used > Fraction(str(resource.capacity)) and self.holds(f"resource:{resource.id}:{month}"):
                    return False
        return True

    def _order_holds(self, plan: dict[str, int]) -> bool:
        for name, start in plan.items():
            for other in self.projects[name].after:
                if not self.holds(f"after:{name}:{other}"):
                    continue
                if other not in plan or plan[other] + self.projects[other].duration_months > start:
                    return False
        return True

    def _cash_holds(self, plan: dict[str, int]) -> bool:
        received = spent_so_far = ZERO
        for month in self.months:
            spent = sum(
                (self.paid(n)[month - s] for n, s in plan.items() if 0 <= month - s < self.projects[n].duration_months),
                ZERO,
            )
            income = self.cash[month] + (self.uplift(plan, month) if self.problem.reinvest_uplift else 0)
            received, spent_so_far = received + income, spent_so_far + spent
            short = spent_so_far > received if self.problem.carry_over else spent > income
            if short and self.holds(f"cash:{month}"):
                return False
        return True

    def uplift(self, plan: dict[str, int], month: int) -> Fraction:
        done = [self.projects[n] for n, s in plan.items() if month >= s + self.projects[n].duration_months]
        return sum((Fraction(str(project.monthly_uplift)) for project in done), ZERO)

    def worth(self, plan: dict[str, int]) -> tuple[float, float]:
        """The objective, as large as it is good, and what is spared."""
        if self.problem.objective == "makespan":
            required = [p for p in self.problem.projects if p.required]
            return -float(max(plan[p.id] + p.duration_months for p in required)), 0.0
        if self.problem.objective == "uplift":
            cost = sum((sum(self.paid(name)) for name in plan), ZERO)
            return float(sum(self.uplift(plan, month) for month in self.months)), -float(cost)
        rate, value = 1 + self.problem.discount_rate_annual, 0.0
        for month in self.months:
            spent = [
                self.paid(n)[month - s] for n, s in plan.items() if 0 <= month - s < self.projects[n].duration_months
            ]
            value += float(self.uplift(plan, month) - sum(spent)) * rate ** (-month / 12)
        return value, 0.0

    def best(self) -> tuple[float, float] | None:
        return max(map(self.worth, self.plans()), default=None)


def a_problem(rng: random.Random, objective: str) -> Problem:
    """A tiny problem without issues: ties, nothing to gain, exactly enough cash and too little of it are common."""
    while True:
        problem = msgspec.convert(_anything(rng, objective), Problem)
        if not has_errors(KIND.check(problem)):
            return problem


def _anything(rng: random.Random, objective: str) -> dict[str, Any]:
    months, size = rng.randint(2, 7), rng.randint(1, 4)
    names = [f"p{number}" for number in range(size)]
    amount = rng.choice([lambda: 50.0 * rng.randint(0, 6), lambda: round(rng.uniform(0, 300), 2)])
    projects = []
    for number, name in enumerate(names):
        length = rng.randint(1, 3)
        shares = rng.choice([[0.5, 0.25, 0.25], [0.2, 0.7, 0.1], [0.333333, 0.333333, 0.333334]])
        project: dict[str, Any] = {
            "id": name,
            "cost": amount(),
            "duration_months": length,
            "cost_profile": rng.choice(["even", "upfront", "completion", shares if length == 3 else "even"]),
            "monthly_uplift": rng.choice([0.0, round(amount() / 2, 2), amount()]),
            "required": rng.random() < (0.6 if objective == "makespan" else 0.2),
            "after": [other for other in names[:number] if rng.random() < 0.3],
        }
        if rng.random() < 0.3:
            project["earliest_start"] = rng.randint(0, 2)
        if rng.random() < 0.3:
            project["latest_finish"] = rng.randint(length - 1, months)
        if rng.random() < 0.6:
            project["uses"] = {"crew": rng.choice([1, 2, 0.5, 0.1])}
        projects.append(project)
    if objective == "makespan":
        rng.choice(projects)["required"] = True
    return {
        "horizon_months": months,
        "discount_rate_annual": rng.choice([0.0, 0.08, 0.5]),
        "objective": objective,
        "monthly_cash": rng.choice([amount() / 2, [amount() / 2 for _ in range(months)], 1000.0]),
        "carry_over": rng.random() < 0.7,
        "reinvest_uplift": rng.random() < 0.4,
        "max_parallel": rng.choice([None, None, 1, 2]),
        "resources": [{"id": "crew", "capacity": rng.choice([2, 2.5, 0.6])}],
        "projects": rng.sample(projects, size),
    }


def found_by(problem: Problem, form: Form | None = None, limits: SolveLimits = EXACT) -> Found:
    return Search(of=instance_of(problem), limits=limits, form=form).run()


@pytest.mark.parametrize("objective", ["npv", "uplift", "makespan"])
@pytest.mark.parametrize("batch", range(5))
def test_no_plan_is_better_than_the_one_found(objective: str, batch: int) -> None:
    infeasible = 0
    for seed in range(20):
        problem = a_problem(random.Random(f"{objective} {batch} {seed}"), objective)
        best, found = Enumerated(problem).best(), found_by(problem)
        if best is None:
            infeasible += 1
            assert found.status is SolveStatus.INFEASIBLE, problem
            continue
        assert found.status is SolveStatus.OPTIMAL, problem
        assert found.starts is not None
        assert found.cheapest
        solution = solution_of(instance_of(problem), found.starts)
        assert KIND.verify(problem, solution) == [], problem
        sign = -1 if objective == "makespan" else 1
        assert found.objective == pytest.approx(sign * best[0], rel=1e-7, abs=1e-6), problem
        assert found.bound == pytest.approx(found.objective, rel=1e-7, abs=1e-6), problem
        if objective == "uplift":
            assert sum(one.cost for one in solution.schedule) == pytest.approx(-best[1], abs=1e-6), problem
    assert infeasible < 20


@pytest.mark.parametrize("objective", ["npv", "uplift", "makespan"])
def test_both_forms_of_the_model_find_the_same(objective: str) -> None:
    for seed in range(15):
        problem = a_problem(random.Random(f"forms {objective} {seed}"), objective)
        one, other = found_by(problem, Form.TIME_INDEXED), found_by(problem, Form.INTERVALS)
        assert one.status is other.status, problem
        assert (one.objective is None) == (other.objective is None), problem
        if one.objective is not None:
            assert one.objective == pytest.approx(other.objective, rel=1e-7, abs=1e-6), problem


def test_cash_without_end_in_one_month_leaves_the_cents_of_the_others_as_they_are() -> None:
    for seed in range(20):
        rng = random.Random(f"riches {seed}")
        problem = a_problem(rng, rng.choice(["npv", "uplift"]))
        cash = problem.monthly_cash
        months = list(cash) if isinstance(cash, list) else [cash] * problem.horizon_months
        rich = msgspec.structs.replace(problem, monthly_cash=[*months[:-1], 1e15], reinvest_uplift=True)
        best, found = Enumerated(rich).best(), found_by(rich)
        assert (best is None) == (found.starts is None), rich
        if best is not None:
            assert KIND.verify(rich, solution_of(instance_of(rich), found.starts)) == [], rich
            assert found.objective == pytest.approx(best[0], rel=1e-7, abs=1e-6), rich
