"""What can be asked of an answer: why not this amount of a tranche, and what each covenant costs."""

from solvers.kind import Forced, Sense, SweptField, WhyNot
from solvers.kinds.debt_stack.problem import Problem, Solution
from solvers.kinds.debt_stack.why_not import Force, check_force, patch_of
from solvers.report import Unit

_MOST_LTV = 1.5


def forced(problem: Problem, force: Force) -> Forced:
    """Return the patch that leaves the tranche no other amount, even one beyond its offer."""
    issues = check_force(problem, force)
    if issues:
        return Forced(issues=issues)
    (tranche,) = (tranche for tranche in problem.tranches if tranche.id == force.tranche_id)
    lifted = []
    if force.amount > tranche.max_amount:
        lifted.append(f"max_amount:{tranche.id}")
    if 0 < force.amount < tranche.min_amount or (tranche.required and force.amount < tranche.min_amount):
        lifted.append(f"min_amount:{tranche.id}")
    return Forced(patch=patch_of(force), lifted=lifted)


def _covers(problem: Problem, _: Solution | None) -> tuple[float, float]:
    return (0.75 * problem.min_dscr, 1.25 * problem.min_dscr) if problem.min_dscr > 0 else (1.0, 2.0)


def _ltvs(problem: Problem, _: Solution | None) -> tuple[float, float]:
    return (0.5 * problem.max_ltv, min(_MOST_LTV, 1.25 * problem.max_ltv)) if problem.max_ltv > 0 else (0.0, 1.0)


WHY_NOT = WhyNot(force=Force, forced=forced)
FRONTIER = (
    SweptField(name="min_dscr", label="Least debt service cover", unit=Unit.RATIO, better=Sense.MAXIMIZE, span=_covers),
    SweptField(name="max_ltv", label="Most loan to value", unit=Unit.SHARE, better=Sense.MINIMIZE, span=_ltvs),
)
