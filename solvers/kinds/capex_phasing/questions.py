"""What can be asked of a plan: why not this project in that month, and what other cash or crews would bring."""

from typing import Any, Final

import msgspec

from solvers.field_paths import patch_at
from solvers.issues import Issue, pointer
from solvers.kind import Forced, Sense, SweptField, WhyNot
from solvers.kinds.capex_phasing.problem import Month, Objective, Problem, Project, Solution
from solvers.report import Unit


class Force(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A project to be done, started in exactly this month; 0 is the first."""

    project_id: str
    start_month: Month


def forced(problem: Problem, force: Force) -> Forced:
    """Return the patch that leaves the project no other start; its own earliest start and latest finish give way."""
    project = next((project for project in problem.projects if project.id == force.project_id), None)
    if project is None:
        message = f"There is no project {force.project_id!r}."
        return Forced(issues=[Issue(code="unknown_id", pointer=pointer("project_id"), message=message)])
    finish = force.start_month + project.duration_months - 1
    if finish >= problem.horizon_months:
        message = f"It would end after the horizon: month {finish}, and the last is {problem.horizon_months - 1}."
        return Forced(issues=[Issue(code="out_of_range", pointer=pointer("start_month"), message=message)])
    exactly = {"earliest_start": force.start_month, "latest_finish": finish, "required": True}
    return Forced(
        patch=patch_at(("projects", project.id), exactly),
        lifted=list(_lifted(project, force.start_month, finish)),
    )


def _lifted(project: Project, start: int, finish: int) -> list[str]:
    broken = {
        f"earliest_start:{project.id}": start < project.earliest_start,
        f"latest_finish:{project.id}": project.latest_finish is not None and finish > project.latest_finish,
    }
    return [name for name, breaks in broken.items() if breaks]


def sense_of(problem: Problem) -> Sense:
    """Return whether more or less of the problem's objective is better."""
    return Sense.MINIMIZE if problem.objective is Objective.MAKESPAN else Sense.MAXIMIZE


def _mean_cash(problem: Problem) -> float:
    cash = problem.monthly_cash
    return sum(cash) / max(1, len(cash)) if isinstance(cash, list) else cash


def _cash_span(problem: Problem, _: Solution | None) -> tuple[float, float] | None:
    mean = _mean_cash(problem)
    return (0.5 * mean, 1.5 * mean) if mean > 0 else None


def _cash_patch(problem: Problem, mean: float) -> dict[str, Any]:
    """Return the patch to so much cash in the mean; a list of months keeps its shape."""
    cash, before = problem.monthly_cash, _mean_cash(problem)
    if not isinstance(cash, list) or before == 0:
        return {"monthly_cash": mean}
    return {"monthly_cash": [amount * mean / before for amount in cash]}


def _parallel_span(problem: Problem, solution: Solution | None) -> tuple[float, float] | None:
    """From one at a time to one more than the limit, or than ever run at once when there is none."""
    most = problem.max_parallel or (_running_at_once(solution) if solution else len(problem.projects))
    return 1, max(2, min(most + 1, len(problem.projects)))


def _running_at_once(solution: Solution) -> int:
    starts = [one.start_month for one in solution.schedule]
    return max((sum(one.start_month <= t <= one.finish_month for one in solution.schedule) for t in starts), default=1)


WHY_NOT: Final = WhyNot(force=Force, forced=forced)

FRONTIER: Final = (
    SweptField(
        name="monthly_cash",
        label="Cash a month",
        unit=Unit.MONEY,
        better=Sense.MINIMIZE,
        span=_cash_span,
        patch=_cash_patch,
    ),
    SweptField(
        name="max_parallel",
        label="Projects at once",
        unit=Unit.WHOLE,
        better=Sense.MINIMIZE,
        span=_parallel_span,
        whole=True,
    ),
)
