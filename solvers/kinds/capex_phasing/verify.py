"""Recompute every constraint and figure of a plan from the numbers as posted, without the solver or its arrays."""

import calendar
from collections import Counter
from collections.abc import Iterator
from datetime import date
from math import isfinite

from solvers.kinds.capex_phasing.problem import Objective, Problem, Project, Scheduled, Solution
from solvers.result import Violation

TOLERANCE = 1e-6
"""Of a constraint, relative to max(1, |limit|); of a figure, relative to max(1, |figure|)."""


def verify(problem: Problem, solution: Solution) -> list[Violation]:
    """Return what a plan breaks, and every figure in it that does not come out of the numbers as posted."""
    known = {project.id: project for project in problem.projects}
    unreadable = list(_unreadable(known, solution))
    if unreadable:
        return unreadable
    plan = [(known[one.project_id], one) for one in solution.schedule]
    outside = list(_windows(problem, plan))
    if outside:
        return outside
    return [
        *_precedence(plan),
        *_required(problem, plan),
        *_capacity(problem, plan),
        *_cash(problem, solution, plan),
        *_figures(problem, solution, plan),
        *_left_out(problem, solution),
    ]


Plan = list[tuple[Project, Scheduled]]


def _broken(name: str, amount: float, limit: float, message: str) -> Iterator[Violation]:
    """Yield a violation where `amount`, by how much a limit is missed, is beyond tolerance, or not a number."""
    if not amount <= TOLERANCE * max(1.0, abs(limit)):
        yield Violation(constraint=name, amount=float(amount), message=message)


def _at_most(name: str, activity: float, limit: float) -> Iterator[Violation]:
    yield from _broken(name, activity - limit, limit, f"{activity:,.6f} is more than {limit:,.6f}.")


def _reported(name: str, stated: float, true: float) -> Iterator[Violation]:
    yield from _broken(name, abs(stated - true), true, f"Stated as {stated:,.6f}, recomputed as {true:,.6f}.")


def _differs(name: str, stated: object, true: object) -> Iterator[Violation]:
    if stated != true:
        yield Violation(constraint=name, amount=1.0, message=f"Stated as {stated}, recomputed as {true}.")


def _unreadable(known: dict[str, Project], solution: Solution) -> Iterator[Violation]:
    counts = Counter(one.project_id for one in solution.schedule)
    for name, count in counts.items():
        if name not in known or count > 1:
            yield Violation(constraint=f"schedule:{name}", amount=1.0, message="Unknown, or listed twice.")
    figures = [solution.npv, solution.total_uplift]
    figures += [
        amount for month in solution.cash for amount in (month.available, month.spent, month.carried, month.uplift)
    ]
    if not all(isfinite(figure) for figure in figures):
        yield Violation(constraint="figures", amount=1.0, message="A figure is not a finite number.")


def _windows(problem: Problem, plan: Plan) -> Iterator[Violation]:
    for project, one in plan:
        yield from _at_most(f"earliest_start:{project.id}", project.earliest_start, one.start_month)
        yield from _at_most(f"horizon:{project.id}", one.finish_month, problem.horizon_months - 1)
        yield from _differs(f"duration:{project.id}", one.finish_month - one.start_month + 1, project.duration_months)
        if project.latest_finish is not None:
            yield from _at_most(f"latest_finish:{project.id}", one.finish_month, project.latest_finish)


def _precedence(plan: Plan) -> Iterator[Violation]:
    finishes = {project.id: one.finish_month for project, one in plan}
    for project, one in plan:
        for name in project.after:
            constraint = f"after:{project.id}:{name}"
            if name not in finishes:
                yield Violation(constraint=constraint, amount=1.0, message=f"{name} is left out.")
            else:
                yield from _at_most(constraint, finishes[name] + 1, one.start_month)


def _required(problem: Problem, plan: Plan) -> Iterator[Violation]:
    present = {project.id for project, _ in plan}
    for project in problem.projects:
        if project.required and project.id not in present:
            yield Violation(constraint=f"required:{project.id}", amount=1.0, message="It is left out.")


def _capacity(problem: Problem, plan: Plan) -> Iterator[Violation]:
    for month in range(problem.horizon_months):
        running = [project for project, one in plan if one.start_month <= month <= one.finish_month]
        if problem.max_parallel is not None:
            yield from _at_most(f"parallel:{month}", len(running), problem.max_parallel)
        for resource in problem.resources:
            used = sum(project.uses.get(resource.id, 0.0) for project in running)
            yield from _at_most(f"resource:{resource.id}:{month}", used, resource.capacity)


def _payment(project: Project, place: int) -> float:
    """Return what is paid in the month of that place, counted from a project's start, in money."""
    last = project.duration_months - 1
    match project.cost_profile:
        case "even":
            return project.cost / project.duration_months
        case "upfront":
            return project.cost if place == 0 else 0.0
        case "completion":
            return project.cost if place == last else 0.0
        case list() as shares:
            return float(project.cost * shares[place] / sum(shares))
    raise ValueError(f"no such profile: {project.cost_profile!r}")


def _spending(plan: Plan, month: int) -> float:
    return sum(
        _payment(project, month - one.start_month)
        for project, one in plan
        if one.start_month <= month <= one.finish_month
    )


def _uplift(plan: Plan, month: int) -> float:
    return sum(project.monthly_uplift for project, one in plan if month > one.finish_month)


def _income(problem: Problem, month: int) -> float:
    return problem.monthly_cash[month] if isinstance(problem.monthly_cash, list) else problem.monthly_cash


def _cash(problem: Problem, solution: Solution, plan: Plan) -> Iterator[Violation]:
    """Walk the months: what was spent up to each is covered, and each line of the cash table is right."""
    months = {one.month: one for one in solution.cash}
    if sorted(months) != list(range(problem.horizon_months)) or len(months) != len(solution.cash):
        yield Violation(constraint="cash", amount=1.0, message="There must be one line for each month.")
        return
    received, paid, carried = 0.0, 0.0, 0.0
    for month in range(problem.horizon_months):
        spent, uplift, told = _spending(plan, month), _uplift(plan, month), months[month]
        income = _income(problem, month) + (uplift if problem.reinvest_uplift else 0.0)
        received, paid = received + income, paid + spent
        if problem.carry_over:
            yield from _at_most(f"cash:{month}", paid, received)
        else:
            yield from _at_most(f"cash:{month}", spent, income)
        available = carried + income
        carried = available - spent if problem.carry_over else 0.0
        for name, stated, true in (
            ("available", told.available, available),
            ("spent", told.spent, spent),
            ("carried", told.carried, carried),
            ("uplift", told.uplift, uplift),
        ):
            yield from _broken(f"cash:{month}:{name}", abs(stated - true), received, f"It should be {true:,.6f}.")


def _figures(problem: Problem, solution: Solution, plan: Plan) -> Iterator[Violation]:
    factors = [(1 + problem.discount_rate_annual) ** (-month / 12) for month in range(problem.horizon_months)]
    npv = total = paid = 0.0
    for project, one in plan:
        costs = [_payment(project, place) for place in range(project.duration_months)]
        gains = problem.horizon_months - 1 - one.finish_month
        own = project.monthly_uplift * sum(factors[one.finish_month + 1 :])
        own -= sum(cost * factors[one.start_month + place] for place, cost in enumerate(costs))
        name = f"schedule:{project.id}"
        yield from _reported(f"{name}:npv", one.npv, own)
        yield from _reported(f"{name}:cost", one.cost, sum(costs))
        yield from _reported(f"{name}:uplift_total", one.uplift_total, gains * project.monthly_uplift)
        yield from _differs(f"{name}:start_date", one.start_date, _date(problem, one.start_month, last=False))
        yield from _differs(f"{name}:finish_date", one.finish_date, _date(problem, one.finish_month, last=True))
        npv, total, paid = npv + own, total + gains * project.monthly_uplift, paid + sum(costs)
    yield from _broken("npv", abs(solution.npv - npv), max(abs(npv), paid), f"It should be {npv:,.6f}.")
    yield from _reported("total_uplift", solution.total_uplift, total)
    makespan = max((one.finish_month + 1 for _, one in plan), default=0)
    yield from _differs("makespan", solution.makespan, makespan)
    yield from _differs("payback_month", solution.payback_month, _payback(problem, plan))


def _payback(problem: Problem, plan: Plan) -> int | None:
    """Return the first month from which what was earned covers what was paid, to the end of the horizon."""
    paid = sum(project.cost for project, _ in plan)
    balance, first = 0.0, 0
    for month in range(problem.horizon_months):
        balance += _uplift(plan, month) - _spending(plan, month)
        if balance < -1e-9 * max(1.0, paid):
            first = month + 1
    return first if first < problem.horizon_months else None


def _date(problem: Problem, month: int, *, last: bool) -> date:
    months = int(problem.start[:4]) * 12 + int(problem.start[5:]) - 1 + month
    year, place = months // 12, months % 12 + 1
    return date(year, place, calendar.monthrange(year, place)[1] if last else 1)


def _left_out(problem: Problem, solution: Solution) -> Iterator[Violation]:
    """Check that each project is in the plan or among those left out; for makespan, that only what is needed is in."""
    planned = [one.project_id for one in solution.schedule]
    told = Counter([*planned, *(one.project_id for one in solution.left_out)])
    if told != Counter(project.id for project in problem.projects):
        yield Violation(constraint="left_out", amount=1.0, message="Each project is planned or left out, once.")
    if problem.objective is Objective.MAKESPAN:
        waited_for = {name for project in problem.projects for name in project.after if project.id in planned}
        for project in problem.projects:
            if project.id in planned and not project.required and project.id not in waited_for:
                yield Violation(constraint=f"optional:{project.id}", amount=1.0, message="Nothing required needs it.")
