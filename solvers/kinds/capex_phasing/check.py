"""Everything that is wrong with a problem, at once, and what is only odd about it."""

from collections.abc import Iterable, Iterator

from solvers.issues import Issue, error, warning
from solvers.kinds.capex_phasing.problem import Objective, Problem, Project
from solvers.kinds.capex_phasing.terms import needed, predecessors, work_order

SHARES_TOLERANCE = 1e-6
"""How far shares may miss 1, as 0.333333|0.333333|0.333333 does."""


def check(problem: Problem) -> list[Issue]:
    """Return all that makes no sense about a problem; the warnings are projects that can never be done."""
    issues = [
        *_duplicates("resources", [resource.id for resource in problem.resources]),
        *_duplicates("projects", [project.id for project in problem.projects]),
        *_cash_issues(problem),
        *_objective_issues(problem),
        *(
            issue
            for index, project in enumerate(problem.projects)
            for issue in _project_issues(problem, index, project)
        ),
    ]
    if not any(issue.code in {"duplicate_id", "unknown_id"} for issue in issues):
        issues += _cycle_issues(problem) or _reach_issues(problem)
    return issues


def _duplicates(table: str, names: list[str]) -> Iterator[Issue]:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            yield error("duplicate_id", f"{name!r} is used twice; each id must be its own.", table, index, "id")
        seen.add(name)


def _cash_issues(problem: Problem) -> Iterator[Issue]:
    cash, months = problem.monthly_cash, problem.horizon_months
    if isinstance(cash, list) and len(cash) != months:
        yield error("wrong_length", f"There are {months} months, and cash for {len(cash)}.", "monthly_cash")


def _objective_issues(problem: Problem) -> Iterator[Issue]:
    if problem.objective is Objective.MAKESPAN and not any(project.required for project in problem.projects):
        yield error("no_required", "Makespan counts required projects, and none is required.", "objective")


def _project_issues(problem: Problem, index: int, project: Project) -> Iterator[Issue]:
    at = ("projects", index)
    if isinstance(project.cost_profile, list):
        yield from _share_issues(project, project.cost_profile, *at, "cost_profile")
    yield from _references(project.after, {other.id for other in problem.projects}, "project", *at, "after")
    resources = {resource.id for resource in problem.resources}
    for name in project.uses:
        if name not in resources:
            yield error("unknown_id", f"There is no resource {name!r}.", *at, "uses", name)


def _share_issues(project: Project, shares: list[float], *path: str | int) -> Iterator[Issue]:
    if len(shares) != project.duration_months:
        message = f"{project.label} runs {project.duration_months} months and has {len(shares)} shares."
        yield error("wrong_length", message, *path)
    if abs(sum(shares) - 1.0) > SHARES_TOLERANCE:
        yield error("bad_shares", f"The shares of {project.label} add up to {sum(shares):.6g}, not to 1.", *path)


def _references(names: Iterable[str], known: set[str], what: str, *path: str | int) -> Iterator[Issue]:
    seen: set[str] = set()
    for place, name in enumerate(names):
        if name not in known:
            yield error("unknown_id", f"There is no {what} {name!r}.", *path, place)
        elif name in seen:
            yield error("duplicate_id", f"{name!r} is listed twice.", *path, place)
        seen.add(name)


def _cycle_issues(problem: Problem) -> list[Issue]:
    """Name each cycle once, at the project of it that comes first in the list."""
    before = predecessors(problem)
    loose = set(range(len(before))) - set(work_order(before))
    found, seen = [], set()
    for first in sorted(loose):
        trail: list[int] = []
        place: int | None = first
        while place is not None and place not in seen:
            seen.add(place)
            trail.append(place)
            place = next((earlier for earlier in before[place] if earlier in loose), None)
        if place in trail:
            found.append(_cycle(problem, trail[trail.index(place) :]))
    return found


def _cycle(problem: Problem, trail: list[int]) -> Issue:
    turn = trail.index(min(trail))
    ring = [*trail[turn:], *trail[:turn], min(trail)]
    named = " waits for ".join(problem.projects[place].id for place in ring)
    return error("cyclic_precedence", f"No project of a cycle can start: {named}.", "projects", ring[0], "after")


def _reach_issues(problem: Problem) -> list[Issue]:
    """Find what can never be done: an error for a project that every plan needs, a warning for others."""
    must = needed(problem)
    first = _earliest_finishes(problem)
    late = [place for place, month in enumerate(first) if month >= problem.horizon_months]
    needs = max((first[place] + 1 for place in late if must[place]), default=0)
    issues = []
    if needs:
        named = problem.projects[max((place for place in late if must[place]), key=lambda place: first[place])]
        message = f"{named.label} must be done, which takes {needs} months; there are {problem.horizon_months}."
        issues.append(error("horizon_too_short", message, "horizon_months"))
    for place in late:
        if not must[place]:
            message = f"{problem.projects[place].label} cannot be finished before month {first[place]}: it is left out."
            issues.append(warning("never_fits", message, "projects", place))
    capacities = {resource.id: resource.capacity for resource in problem.resources}
    for place, project in enumerate(problem.projects):
        for name, amount in project.uses.items():
            if amount > capacities[name]:
                told = error if must[place] else warning
                message = f"{project.label} uses {amount:g} of {name}, of which there is {capacities[name]:g}."
                issues.append(told("impossible_resource", message, "projects", place, "uses", name))
    return issues


def _earliest_finishes(problem: Problem) -> list[int]:
    """Return the first month in which each project can be finished, by its duration and those before it."""
    before = predecessors(problem)
    finishes = [0] * len(before)
    for place in work_order(before):
        project = problem.projects[place]
        start = max([project.earliest_start, *(finishes[earlier] + 1 for earlier in before[place])])
        finishes[place] = start + project.duration_months - 1
    return finishes
