"""Why this plan: what each limit is worth, which deals only just missed it, and which changes would pay."""

from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from milpa.errors import FatalError
from solvers.backends.model import Shift
from solvers.backends.sifting import Sifter
from solvers.explain import ConstraintReport, DualKind, Explanation, ReducedCost, WhatIf
from solvers.kinds.deal_picker.fields import Limit, limits_of, patched
from solvers.kinds.deal_picker.formulation import ON, Deals, columns_of, objective, within_reach
from solvers.kinds.deal_picker.plan import Plan, make_plan
from solvers.kinds.deal_picker.problem import Problem
from solvers.kinds.deal_picker.words import sentences_of
from solvers.limits import SolveLimits
from solvers.result import SolveStatus

MOST_NEAR_MISSES = 20
MOST_REDUCED_COSTS = 20
MOST_WHAT_IFS = 5
LARGE = 20_000
"""Above so many deals ranges are those of one basis (exact, but shorter), and fewer changes are solved anew."""

_TRIED = 8
_TRIED_OF_LARGE = 2
_RESOLVE_SECONDS = 1.0
_NO_CHANGE = 1e-9


def explain(problem: Problem, deals: Deals, plan: Plan, limits: SolveLimits) -> Explanation:
    """Explain a plan. Everything numeric is exact or solved anew; where the model gives no price, there is none.

    Nothing is solved for a plan that a limit ended, or a stop would take as long: its limits are told without prices.
    """
    deals, x = within_reach(problem, deals), plan.answer.point
    if plan.answer.limit is not None:
        plan = replace(plan, sifter=None, dual_kind=DualKind.NONE)
    extensions = 20 if deals.count <= LARGE else 0
    prices = None if plan.sifter is None else _Prices(plan.sifter, extensions=extensions)
    linear = prices if plan.dual_kind is DualKind.LP else None
    fields = limits_of(problem, deals, x)
    reports = [_report(field) if prices is None else prices.on(_report(field), field) for field in fields]
    missed = _just_missed(problem, deals, plan)
    forced = [None if linear is None else linear.slope(Shift(column_lower={at: 1.0})) for at in missed]
    changes = list(zip(missed, forced, strict=True))
    explanation = Explanation(
        dual_kind=plan.dual_kind,
        constraints=reports,
        reduced_costs=[] if linear is None else _reduced_costs(problem, deals, plan, linear, changes),
        near_misses=[_near_miss(problem, deals, at, change) for at, change in changes],
        what_if=_what_ifs(problem, plan, _worth_trying(plan, fields, reports), linear, limits),
    )
    return msgspec.structs.replace(explanation, sentences=sentences_of(problem, explanation, plan.answer.limit))


def _report(field: Limit) -> ConstraintReport:
    return ConstraintReport(
        name=field.name,
        label=field.label,
        activity=field.activity,
        limit=field.limit,
        slack=field.slack,
        binding=field.binding,
    )


class _Prices:
    """The prices of the linear program behind a plan, if there is one; where HiGHS gives up on one, there is none."""

    def __init__(self, sifter: Sifter, *, extensions: int) -> None:
        self._sifter = sifter
        self._pricer = sifter.pricer(extensions=extensions)

    def on(self, report: ConstraintReport, field: Limit) -> ConstraintReport:
        """Return a limit's report with its price: 0 where room is left, down to what the plan uses."""
        if not field.priced:
            return report
        if not field.binding and field.stands_alone:
            low, high = (field.activity, None) if field.relax > 0 else (None, field.activity)
            return msgspec.structs.replace(report, shadow_price=0.0, valid_from=low, valid_to=high)
        try:
            price = self._pricer.price(self._sifter.located(field.shift), scale=field.size, relax=field.priced_side)
        except FatalError:
            return report
        low, high = price.valid_from(field.limit), price.valid_to(field.limit)
        if field.relax < 0:
            low, high = max(low or 0.0, 0.0), min(1.0 if high is None else high, 1.0)
        return msgspec.structs.replace(report, shadow_price=price.slope, valid_from=low, valid_to=high)

    def slope(self, shift: Shift) -> float | None:
        """Return the derivative of the objective as a shift begins; None: nothing fits."""
        try:
            return self._pricer.slope(self._sifter.located(shift), scale=1.0)
        except FatalError:
            return None

    def optimum_at(self, shift: Shift, change: float) -> float | None:
        """Return the optimum, solved again, with a field changed; None: nothing fits."""
        try:
            return self._pricer.solve_at(self._sifter.located(shift), change).objective
        except FatalError:
            return None


def _just_missed(problem: Problem, deals: Deals, plan: Plan) -> list[int]:
    """Return the rejected deals that miss least per money: what they lack of their price, or without one, are worth."""
    rejected = np.flatnonzero((plan.answer.point <= ON) & (deals.most > 0))
    reduced = plan.answer.reduced_costs if plan.dual_kind is DualKind.LP else None
    worth = objective(problem, deals) if reduced is None else reduced
    order = np.argsort(-worth[rejected] / deals.prices[rejected], kind="stable")
    return [int(at) for at in rejected[order][:MOST_NEAR_MISSES]]


def _near_miss(problem: Problem, deals: Deals, at: int, change: float | None) -> dict[str, Any]:
    """Return a rejected deal and the yield from which forcing it in costs nothing: below, this plan stays optimal."""
    deal = problem.deals[at]
    enters = None if change is None else deal.yield_ + max(0.0, -change) / float(deals.weights[at])
    return {"deal_id": deal.id, "yield": deal.yield_, "break_even_yield": enters}


def _reduced_costs(
    problem: Problem, deals: Deals, plan: Plan, prices: _Prices, missed: list[tuple[int, float | None]]
) -> list[ReducedCost]:
    """Return what a deal changes that is left out of the plan, or forced in: the most valuable, and the near misses."""
    full = np.flatnonzero((plan.answer.point >= deals.most - ON) & (deals.most > 0) & ~deals.must)
    kept = full[np.argsort(-np.asarray(plan.answer.reduced_costs)[full], kind="stable")][:MOST_REDUCED_COSTS]
    dropped = [(int(at), prices.slope(Shift(column_upper={int(at): -1.0}))) for at in kept]
    return [ReducedCost(problem.deals[at].id, change) for at, change in (*dropped, *missed) if change is not None]


def _what_ifs(
    problem: Problem,
    plan: Plan,
    tried: list[tuple[Limit, ConstraintReport]],
    prices: _Prices | None,
    limits: SolveLimits,
) -> list[WhatIf]:
    """Return the loosened limits that pay most, each solved again."""
    if plan.answer.status is not SolveStatus.OPTIMAL or plan.answer.objective is None:
        return []
    before = plan.answer.objective
    found = []
    for field, report in tried:
        after = _loosened(problem, plan, field, prices, limits)
        if after is not None and after - before > _NO_CHANGE * max(1.0, abs(before)):
            found.append(
                WhatIf(
                    label=field.change_label,
                    patch=field.patch,
                    expected_change=after - before,
                    valid_from=report.valid_from,
                    valid_to=report.valid_to,
                )
            )
    return sorted(found, key=lambda what_if: -what_if.expected_change)[:MOST_WHAT_IFS]


def _worth_trying(
    plan: Plan, fields: list[Limit], reports: list[ConstraintReport]
) -> list[tuple[Limit, ConstraintReport]]:
    """Return the limits most likely to matter: those with a price by what a step would earn, then the tightest."""
    pairs = [pair for pair in zip(fields, reports, strict=True) if pair[1].shadow_price != 0 and pair[0].step > 0]
    pairs.sort(key=lambda pair: (-abs(pair[1].shadow_price or 0.0) * pair[0].step, pair[0].slack / pair[0].step))
    return pairs[: _TRIED if len(plan.answer.point) <= LARGE or plan.dual_kind is DualKind.LP else _TRIED_OF_LARGE]


def _loosened(problem: Problem, plan: Plan, field: Limit, prices: _Prices | None, limits: SolveLimits) -> float | None:
    """Return the optimum with a limit loosened by its step; None: not proven in short time, or nothing fits."""
    if prices is not None and field.priced:
        return prices.optimum_at(field.loosened, field.step)
    other = patched(problem, field.patch)
    brief = msgspec.structs.replace(limits, seconds=min(_RESOLVE_SECONDS, limits.seconds))
    answer = make_plan(other, columns_of(other), brief, start=plan.answer.x).answer
    if answer.status is not SolveStatus.OPTIMAL or answer.objective is None:
        return None
    # Two optima proven within a gap only differ if the worse end of one is above the better end of the other.
    reached = plan.answer.objective if plan.answer.bound is None else plan.answer.bound
    return answer.objective if reached is not None and answer.objective > reached else None
