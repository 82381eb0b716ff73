"""What came out of a solve: status, solution, bounds and figures, in one vocabulary for every solver."""

from enum import StrEnum
from typing import Any, Generic, TypeVar

import msgspec

from milpa.jobs import LimitReached
from solvers.explain import Explanation
from solvers.issues import Issue

S = TypeVar("S")


class SolveStatus(StrEnum):
    """What the solver proved or found."""

    OPTIMAL = "optimal"
    FEASIBLE = "feasible"
    INFEASIBLE = "infeasible"
    UNBOUNDED = "unbounded"
    NO_SOLUTION = "no_solution"
    DONE = "done"


class SolveResult(msgspec.Struct, Generic[S], kw_only=True):
    """The outcome of one solve; without a solution, `solution`, `objective` and `gap` are null.

    objective, bound: in the kind's unit and sense, as the problem's own words define them. gap: |bound − objective| ÷
    max(1e-9, |objective|). stats: figures such as `build_seconds`, `solve_seconds`, `rows`, `columns`, `iterations`,
    `nodes`, `backend`. warnings: issues that did not stop it.
    """

    status: SolveStatus
    limit: LimitReached | None = None
    solution: S | None = None
    objective: float | None = None
    bound: float | None = None
    gap: float | None = None
    explanation: Explanation = Explanation()
    stats: dict[str, Any] = {}
    warnings: list[Issue] = []


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """A constraint that a solution breaks when recomputed without the solver.

    amount: by how much, in the unit of the limit.
    """

    constraint: str
    amount: float
    message: str


def relative_gap(objective: float, bound: float) -> float:
    """Return |bound − objective| ÷ max(1e-9, |objective|), as a fraction."""
    return abs(bound - objective) / max(1e-9, abs(objective))
