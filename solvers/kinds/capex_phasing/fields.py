"""The constraints of a plan as people know them: where a plan stands, and how the field behind each is loosened."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from solvers.issues import has_errors
from solvers.kinds.capex_phasing.check import check
from solvers.kinds.capex_phasing.problem import Problem, Project, Solution
from solvers.kinds.capex_phasing.terms import month_name, monthly_cash

Kind = Literal["cash", "every_month", "parallel", "resource", "after", "required", "latest_finish"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A constraint by its name, and the problem field that it comes from.

    kind: which field. of: id of the resource or project, "" for cash and parallel. every_month: cash that
    is one amount for all months, which no constraint of its own stands for. month: of cash and capacities.
    other: id of the project waited for. limit: the field's value; None for `after` and `required`, which hold or don't.
    step: by how much it is loosened to see what that brings. most: how far loosening can matter.
    """

    name: str
    label: str
    kind: Kind
    of: str = ""
    month: int = 0
    other: str = ""
    limit: float | None = None
    step: float = 1.0
    most: float = 1.0

    @property
    def path(self) -> tuple[str, ...]:
        """What is patched; several constraints may share it."""
        return (self.kind, str(self.month) if self.kind == "cash" else "", self.of, self.other)

    @property
    def whole(self) -> bool:
        """Whether its values are whole numbers."""
        return self.kind in {"parallel", "latest_finish"}

    def patch(self, problem: Problem, value: float) -> dict[str, Any]:
        """Return the merge patch that gives the field a value; `after` and `required` are dropped whatever it is."""
        match self.kind:
            case "cash" | "every_month":
                cash = monthly_cash(problem)
                in_its_month = [*cash[: self.month], value, *cash[self.month + 1 :]]
                return {"monthly_cash": value if self.kind == "every_month" else in_its_month}
            case "parallel":
                return {"max_parallel": int(value)}
            case "resource":
                return {"resources": {self.of: {"capacity": value}}}
            case "after":
                return {"projects": {self.of: {"after": self._others(problem)}}}
            case "required":
                return {"projects": {self.of: {"required": False}}}
            case "latest_finish":
                return {"projects": {self.of: {"latest_finish": int(value)}}}

    def change(self, problem: Problem, value: float) -> Problem | None:
        """Return the problem as the patch would make it; None: it would not make sense."""
        patch = self.patch(problem, value)
        (table, changes), *_ = patch.items()
        if isinstance(changes, dict):
            rows = getattr(problem, table)
            changes = [msgspec.structs.replace(row, **changes.get(row.id, {})) for row in rows]
        changed = msgspec.structs.replace(problem, **{table: changes})
        return None if has_errors(check(changed)) else changed

    def _others(self, problem: Problem) -> list[str]:
        (project,) = [project for project in problem.projects if project.id == self.of]
        return [name for name in project.after if name != self.other]


def fields_of(problem: Problem) -> list[Field]:
    """Return every constraint of a problem, in the order in which people read them."""
    return [
        *_cash(problem),
        *_capacities(problem),
        *(field for project in problem.projects for field in _of_project(problem, project)),
    ]


def every_month(problem: Problem) -> Field | None:
    """Return the field of cash that is one amount for all months; None: it is a list."""
    if isinstance(problem.monthly_cash, list):
        return None
    most = problem.monthly_cash + sum(project.cost for project in problem.projects)
    return Field(name="cash", label="Cash a month", kind="every_month", limit=problem.monthly_cash, most=most)


def _cash(problem: Problem) -> Iterator[Field]:
    cash = monthly_cash(problem)
    usual = sum(cash) / len(cash) or max(project.cost for project in problem.projects)
    need = sum(project.cost for project in problem.projects)
    for month, amount in enumerate(cash):
        name = month_name(problem, month)
        yield Field(
            name=f"cash:{month}",
            label=f"Cash in {name}",
            kind="cash",
            month=month,
            limit=amount,
            step=amount or usual,
            most=amount + need,
        )


def _capacities(problem: Problem) -> Iterator[Field]:
    if problem.max_parallel is not None:
        most = max(problem.max_parallel, len(problem.projects))
        for month in range(problem.horizon_months):
            yield Field(
                name=f"parallel:{month}",
                label=f"Projects at once in {month_name(problem, month)}",
                kind="parallel",
                month=month,
                limit=problem.max_parallel,
                most=most,
            )
    for resource in problem.resources:
        uses = [project.uses.get(resource.id, 0.0) for project in problem.projects]
        whole = all(used == int(used) for used in uses)
        for month in range(problem.horizon_months):
            yield Field(
                name=f"resource:{resource.id}:{month}",
                label=f"{resource.id} in {month_name(problem, month)}",
                kind="resource",
                of=resource.id,
                month=month,
                limit=resource.capacity,
                step=1.0 if whole else min(used for used in uses if used > 0),
                most=max(resource.capacity, sum(uses)),
            )


def _of_project(problem: Problem, project: Project) -> Iterator[Field]:
    name = project.id
    for other in project.after:
        label = f"{project.label} after {other}"
        yield Field(name=f"after:{name}:{other}", label=label, kind="after", of=name, other=other)
    if project.required:
        yield Field(name=f"required:{name}", label=f"{project.label} required", kind="required", of=name)
    if project.latest_finish is not None:
        yield Field(
            name=f"latest_finish:{name}",
            label=f"Latest finish of {project.label}",
            kind="latest_finish",
            of=name,
            limit=project.latest_finish,
            most=max(project.latest_finish, problem.horizon_months - 1),
        )


def activities_of(problem: Problem, solution: Solution) -> dict[str, tuple[float, float]]:
    """Return by constraint what a plan takes and what it may take; nothing for projects that are left out.

    Cash: spent, of what is available. Capacities: used, of what there is. After: the start of the project, of the
    month behind the one it waits for. Required: 1 of 1. Latest finish: the finish, of the latest.
    """
    plan = {one.project_id: one for one in solution.schedule}
    projects = {project.id: project for project in problem.projects}
    stands: dict[str, tuple[float, float]] = {}
    for line in solution.cash:
        stands[f"cash:{line.month}"] = line.spent, line.available
    for month in range(problem.horizon_months):
        running = [projects[one.project_id] for one in plan.values() if one.start_month <= month <= one.finish_month]
        if problem.max_parallel is not None:
            stands[f"parallel:{month}"] = len(running), problem.max_parallel
        for resource in problem.resources:
            used = sum(project.uses.get(resource.id, 0.0) for project in running)
            stands[f"resource:{resource.id}:{month}"] = used, resource.capacity
    for name, one in plan.items():
        for other in projects[name].after:
            stands[f"after:{name}:{other}"] = one.start_month, plan[other].finish_month + 1
        stands[f"required:{name}"] = 1, 1
        stands[f"latest_finish:{name}"] = one.finish_month, projects[name].latest_finish or 0
    return stands
