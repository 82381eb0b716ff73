"""The arithmetic of a plan: when a project is paid, what it brings, and what months are called."""

import calendar
from collections import Counter
from datetime import date
from fractions import Fraction

from solvers.kinds.capex_phasing.problem import Problem, Project

MONTHS = 12


def exact(number: float) -> Fraction:
    """Return a number as it was written in decimals.

    >>> exact(0.1)
    Fraction(1, 10)
    """
    return Fraction(repr(number))


def payments(project: Project) -> list[Fraction]:
    """Return what is paid in each month that a project runs, exactly, in money; shares are taken of their sum."""
    months, cost, profile = project.duration_months, exact(project.cost), project.cost_profile
    if profile == "even":
        return [cost / months] * months
    if profile == "upfront":
        return [cost, *[Fraction(0)] * (months - 1)]
    if profile == "completion":
        return [*[Fraction(0)] * (months - 1), cost]
    shares = [exact(float(share)) for share in profile]
    return [cost * share / sum(shares) for share in shares]


def monthly_cash(problem: Problem) -> list[float]:
    """Return the cash of each month as posted, in money."""
    cash = problem.monthly_cash
    return list(cash) if isinstance(cash, list) else [cash] * problem.horizon_months


def discount_factors(problem: Problem) -> list[float]:
    """Return what money of each month is worth in month 0: (1 + rate)^(−t/12)."""
    return [(1.0 + problem.discount_rate_annual) ** (-month / MONTHS) for month in range(problem.horizon_months)]


def month_name(problem: Problem, month: int) -> str:
    """Return the year and month of a month.

    >>> month_name(Problem(start="2026-11", horizon_months=6, monthly_cash=1.0, projects=[]), 3)
    '2027-02'
    """
    return f"{first_day(problem, month):%Y-%m}"


def first_day(problem: Problem, month: int) -> date:
    """Return the first day of a month."""
    year, first = map(int, problem.start.split("-"))
    years, rest = divmod(first - 1 + month, MONTHS)
    return date(year + years, rest + 1, 1)


def last_day(problem: Problem, month: int) -> date:
    """Return the last day of a month."""
    first = first_day(problem, month)
    return first.replace(day=calendar.monthrange(first.year, first.month)[1])


def labels_of(problem: Problem) -> dict[str, str]:
    """Return by id what a project is called: its name, with its id where several have that name."""
    counts = Counter(project.label for project in problem.projects)
    return {
        project.id: project.label if counts[project.label] == 1 else f"{project.label} ({project.id})"
        for project in problem.projects
    }


def predecessors(problem: Problem) -> list[list[int]]:
    """Return for each project the indices of those that must be finished before it starts."""
    index = {project.id: place for place, project in enumerate(problem.projects)}
    return [[index[name] for name in project.after] for project in problem.projects]


def needed(problem: Problem) -> list[bool]:
    """Return which projects every plan holds: those that are required, and what they need before them."""
    before = predecessors(problem)
    marked = [False] * len(before)
    todo = [place for place, project in enumerate(problem.projects) if project.required]
    while todo:
        place = todo.pop()
        if not marked[place]:
            marked[place] = True
            todo += before[place]
    return marked


def work_order(before: list[list[int]]) -> list[int]:
    """Return all projects so that each comes behind those it waits for; those in or behind a cycle are missing."""
    waiting = [len(set(names)) for names in before]
    behind = followers(before)
    order = [place for place, count in enumerate(waiting) if count == 0]
    for place in order:
        for later in behind[place]:
            waiting[later] -= 1
            if waiting[later] == 0:
                order.append(later)
    return order


def followers(before: list[list[int]]) -> list[list[int]]:
    """Return for each project the indices of those that wait for it."""
    behind: list[list[int]] = [[] for _ in before]
    for place, names in enumerate(before):
        for earlier in dict.fromkeys(names):
            behind[earlier].append(place)
    return behind
