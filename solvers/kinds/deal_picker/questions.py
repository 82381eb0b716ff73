"""What can be asked of an answer: why not this deal, and what each limit of risk or budget would yield."""

import msgspec

from solvers.issues import Issue, pointer
from solvers.kind import Forced, Sense, SweptField, WhyNot
from solvers.kinds.deal_picker.problem import Problem, Solution
from solvers.report import Unit


class Force(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A deal to be bought: as `must_include` has it, at its min_allocation at least, or else at its max_allocation."""

    deal_id: str


def forced(problem: Problem, force: Force) -> Forced:
    """Return the patch that lets no plan leave the deal out, even one that is excluded."""
    wanted = force.deal_id
    if all(deal.id != wanted for deal in problem.deals):
        message = f"There is no deal {wanted!r}."
        return Forced(issues=[Issue(code="unknown_id", pointer=pointer("deal_id"), message=message)])
    required = dict.fromkeys([*problem.must_include, wanted])
    if wanted not in problem.exclude:
        return Forced(patch={"must_include": list(required)})
    others = [deal_id for deal_id in problem.exclude if deal_id != wanted]
    return Forced(patch={"must_include": list(required), "exclude": others}, lifted=[f"exclude:{wanted}"])


def _risks(problem: Problem, solution: Solution | None) -> tuple[float, float] | None:
    """From no risk to twice the limit; without a limit, to the risk of the best plan."""
    most = 2 * problem.max_risk if problem.max_risk else solution.total_risk if solution else 0.0
    return (0.0, most) if most > 0 else None


def _budgets(problem: Problem, _: Solution | None) -> tuple[float, float]:
    return 0.5 * problem.budget, 1.5 * problem.budget


WHY_NOT = WhyNot(force=Force, forced=forced)
FRONTIER = (
    SweptField(name="max_risk", label="Risk limit", unit=Unit.NUMBER, better=Sense.MINIMIZE, span=_risks),
    SweptField(name="budget", label="Budget", unit=Unit.MONEY, better=Sense.MINIMIZE, span=_budgets),
)
