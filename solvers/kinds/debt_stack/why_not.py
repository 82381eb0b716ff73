"""Why not this amount of that tranche: the patch that forces it, to be solved like any other change."""

from typing import Any

import msgspec

from solvers.amounts import Money
from solvers.issues import Issue, pointer
from solvers.kinds.debt_stack.problem import Problem


class Force(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tranche to be drawn at exactly this amount, in money; 0: not at all."""

    tranche_id: str
    amount: Money


def check_force(problem: Problem, force: Force) -> list[Issue]:
    """Return what is wrong with the force; pointers start at its root."""
    if force.tranche_id in {tranche.id for tranche in problem.tranches}:
        return []
    message = f"There is no tranche {force.tranche_id!r}."
    return [Issue(code="unknown_id", pointer=pointer("tranche_id"), message=message)]


def patch_of(force: Force) -> dict[str, Any]:
    """Return the merge patch of the problem that leaves the tranche no other amount."""
    exactly = {"min_amount": force.amount, "max_amount": force.amount, "required": force.amount > 0}
    return {"tranches": {force.tranche_id: exactly}}
