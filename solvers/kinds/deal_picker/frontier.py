"""What other limits of risk would yield: the best plan at each of a few levels, each solved."""

from collections.abc import Iterator

import msgspec
import numpy as np

from solvers.backends.highs import Answer
from solvers.backends.model import Floats, Shift
from solvers.backends.sifting import Sifter
from solvers.explain import DualKind
from solvers.kinds.deal_picker.formulation import ON, RISK_ROW, Deals, objective, packing_model, within_reach
from solvers.kinds.deal_picker.plan import Plan, make_plan
from solvers.kinds.deal_picker.problem import Problem
from solvers.limits import SolveLimits
from solvers.result import SolveStatus

POINTS = 11
MOST_DEALS = 20_000
MOST_SWITCHED_DEALS = 200
_SECONDS = 1.0


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """A best plan under a limit of risk: the limit, and the plan's objective, yield (without penalty) and risk."""

    max_risk: float
    objective: float
    total_yield: float
    total_risk: float


class Frontier(msgspec.Struct, frozen=True, kw_only=True):
    """Best plans by limit of risk; without points, a sentence on why they are missing ("": no deal has a risk)."""

    points: list[Point] = []
    missing: str = ""


def frontier(problem: Problem, deals: Deals, plan: Plan, limits: SolveLimits) -> Frontier:
    """Return plans from the least risk that holds to where the limit no longer matters.

    Up to 20,000 deals with free shares, 200 where deals are switched on or off.
    """
    if not deals.risks.any():
        return Frontier()
    linear = plan.dual_kind is DualKind.LP
    most_deals = MOST_DEALS if linear else MOST_SWITCHED_DEALS
    if plan.answer.limit is not None:
        return _missing("the search ended before its plan was proven the best")
    if deals.count > most_deals:
        offered = "free shares of deals" if linear else "deals that are bought or not"
        return _missing(f"of {offered} it is drawn up to {most_deals:,}, and there are {deals.count:,}")
    brief = msgspec.structs.replace(limits, seconds=min(_SECONDS, limits.seconds))
    last = _unlimited(problem, deals, plan, brief)
    if last.x is None:
        return _missing("its end could not be solved in a second")
    least, most = float(deals.risks @ deals.required), float(deals.risks @ last.x)
    if most <= least:
        return Frontier(points=[_point(problem, deals, most, last.point)])
    levels = np.linspace(least, most, POINTS).tolist()
    plans = _resolved(problem, deals, levels, brief) if linear else _solved(problem, deals, levels, brief)
    points = [_point(problem, deals, level, x) for level, x in plans if x is not None]
    return Frontier(points=sorted(points, key=lambda point: point.max_risk))


def _missing(reason: str) -> Frontier:
    return Frontier(missing=f"Yield against limits of risk is not drawn: {reason}. It can be asked for as a frontier.")


def _unlimited(problem: Problem, deals: Deals, plan: Plan, limits: SolveLimits) -> Answer:
    """Return the best plan without a limit of risk: the plan itself if it has none."""
    if problem.max_risk is None:
        return plan.answer
    return make_plan(_under(problem, None), deals, limits, start=plan.answer.x).answer


def _resolved(
    problem: Problem, deals: Deals, levels: list[float], limits: SolveLimits
) -> Iterator[tuple[float, Floats | None]]:
    """Solve one linear program, and again at each level from where the one before it stands."""
    *below, top = levels
    loosest = _under(problem, top)
    sifter = Sifter(packing_model(loosest, within_reach(loosest, deals)), limits)
    yield top, _optimal(sifter.solve())
    below.reverse()
    yield from zip(below, sifter.plans_along(Shift(row_upper={RISK_ROW: 1.0}), [b - top for b in below]), strict=True)


def _solved(
    problem: Problem, deals: Deals, levels: list[float], limits: SolveLimits
) -> Iterator[tuple[float, Floats | None]]:
    for level in levels:
        yield level, _optimal(make_plan(_under(problem, level), deals, limits).answer)


def _optimal(answer: Answer) -> Floats | None:
    return answer.x if answer.status is SolveStatus.OPTIMAL else None


def _under(problem: Problem, max_risk: float | None) -> Problem:
    return msgspec.structs.replace(problem, max_risk=max_risk)


def _point(problem: Problem, deals: Deals, max_risk: float, plan: Floats) -> Point:
    x = np.where(plan > ON, plan, 0.0)
    return Point(
        max_risk=max_risk,
        objective=float(objective(problem, deals) @ x),
        total_yield=float(deals.yields @ x),
        total_risk=float(deals.risks @ x),
    )
