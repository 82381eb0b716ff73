"""The limits of a problem as its fields: their values, what a plan uses of them, and how each moves the model."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from solvers.backends.model import Floats, Shift
from solvers.kinds.deal_picker.formulation import BUDGET_ROW, ON, RISK_ROW, Deals, cap_rows, cap_unit, group_members
from solvers.kinds.deal_picker.labels import label_of, some
from solvers.kinds.deal_picker.problem import Problem
from solvers.kinds.deal_picker.words import raised


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One constraint, in the unit of the field that it is named after.

    relax: +1 where a larger limit allows more, -1 where a smaller one does. shift: how the field moves the model.
    priced: whether linear prices speak of it. step: a change worth considering, in the field's unit, that `loosened`
    times step makes in the model, `patch` in the problem, and `change_label` in words.
    """

    name: str
    label: str
    activity: float
    limit: float
    relax: int
    shift: Shift
    step: float
    patch: dict[str, Any]
    change_label: str
    priced: bool = True

    @property
    def loosened(self) -> Shift:
        """Return the shift of one unit less strict; a deal that must be in is let go, not made smaller."""
        return self.shift if self.relax > 0 else Shift(column_lower=dict.fromkeys(self.shift.column_lower, -1.0))

    @property
    def stands_alone(self) -> bool:
        """Tell whether the field moves one limit only: then it is worth nothing while room is left."""
        return len(self.shift.row_upper) <= 1

    @property
    def slack(self) -> float:
        """Return how much room is left; 0 or more when it holds."""
        return self.relax * (self.limit - self.activity) + 0.0  # no -0.0

    @property
    def binding(self) -> bool:
        """Tell whether no room is left."""
        return self.slack <= 1e-6 * max(1.0, abs(self.limit))

    @property
    def size(self) -> float:
        """Return a typical value of the field, > 0: of a share of a deal, all of it."""
        return max(abs(self.limit), abs(self.step)) if self.relax > 0 else 1.0

    @property
    def priced_side(self) -> int:
        """Return the side on which a price is the derivative: the one that allows more; of a share of 0, the other."""
        return -self.relax if self.relax < 0 and self.limit == 0 else self.relax


def patched(problem: Problem, patch: dict[str, Any]) -> Problem:
    """Return the problem under a merge patch that sets fields, or entries of caps."""
    changes = {
        name: {**getattr(problem, name), **value} if isinstance(value, dict) else value for name, value in patch.items()
    }
    return msgspec.structs.replace(problem, **changes)


def limits_of(problem: Problem, deals: Deals, x: Floats) -> list[Limit]:
    """Return every limit of the problem with what the plan uses of it, in the order of the model's rows first."""
    return [
        _budget(problem, deals, x),
        *([] if problem.max_risk is None else [_risk(problem, deals, x, problem.max_risk)]),
        *_caps(problem, deals, x),
        *([] if problem.max_deals is None else [_count(problem, x, problem.max_deals)]),
        *_groups(problem, deals, x),
        *(_included(problem, deals, x, deal_id) for deal_id in problem.must_include),
    ]


def _budget(problem: Problem, deals: Deals, x: Floats) -> Limit:
    """Move the budget's own row, and every cap that is a share of it."""
    rates = {BUDGET_ROW: 1.0}
    if problem.cap_basis == "share_of_budget":
        caps = [*problem.sector_caps.values(), *problem.city_caps.values()]
        rates |= dict(enumerate(caps, start=_first_cap(problem)))
    step = problem.budget / 10
    return Limit(
        name="budget",
        label=label_of(problem, "budget"),
        activity=float(deals.prices @ x),
        limit=problem.budget,
        relax=1,
        shift=Shift(row_upper=rates),
        step=step,
        patch={"budget": problem.budget + step},
        change_label=f"Raise {raised(problem, 'budget', problem.budget + step)}",
    )


def _risk(problem: Problem, deals: Deals, x: Floats, max_risk: float) -> Limit:
    used = float(deals.risks @ x)
    step = max_risk / 10 or max(float(deals.risks.max(initial=0.0)), ON)
    return Limit(
        name="max_risk",
        label=label_of(problem, "max_risk"),
        activity=used,
        limit=max_risk,
        relax=1,
        shift=Shift(row_upper={RISK_ROW: 1.0}),
        step=step,
        patch={"max_risk": max_risk + step},
        change_label=f"Raise {raised(problem, 'max_risk', max_risk + step)}",
    )


def _caps(problem: Problem, deals: Deals, x: Floats) -> Iterator[Limit]:
    unit = cap_unit(problem)
    named = [("sector", name, cap) for name, cap in problem.sector_caps.items()]
    named += [("city", name, cap) for name, cap in problem.city_caps.items()]
    first = _first_cap(problem)
    for offset, (row, (kind, name, cap)) in enumerate(zip(cap_rows(problem, deals), named, strict=True)):
        step = _cap_step(problem, cap)
        yield Limit(
            name=row.name,
            label=label_of(problem, row.name),
            activity=float(np.asarray(row.values) @ x[np.asarray(row.columns)]) / unit,
            limit=cap,
            relax=1,
            shift=Shift(row_upper={first + offset: unit}),
            step=step,
            patch={f"{kind}_caps": {name: cap + step}},
            change_label=f"Raise {raised(problem, row.name, cap + step)}",
        )


def _first_cap(problem: Problem) -> int:
    """Return the row of the first cap: behind the budget, and the risk if that is limited."""
    return BUDGET_ROW + 1 if problem.max_risk is None else RISK_ROW + 1


def _cap_step(problem: Problem, cap: float) -> float:
    """One deal more; or a tenth more money or share, of the budget where the cap is 0."""
    if problem.cap_basis == "allocations":
        return 1.0
    return cap / 10 or problem.budget / cap_unit(problem) / 10


def _count(problem: Problem, x: Floats, max_deals: int) -> Limit:
    return Limit(
        name="max_deals",
        label=label_of(problem, "max_deals"),
        activity=float(np.count_nonzero(x > ON)),
        limit=float(max_deals),
        relax=1,
        shift=Shift(),
        step=1.0,
        patch={"max_deals": max_deals + 1},
        change_label=f"Allow {max_deals + 1} deals",
        priced=False,
    )


def _groups(problem: Problem, deals: Deals, x: Floats) -> Iterator[Limit]:
    for number, group in enumerate(group_members(problem, deals)):
        rest = [ids for other, ids in enumerate(problem.exclusive_groups) if other != number]
        yield Limit(
            name=f"group:{number}",
            label=label_of(problem, f"group:{number}"),
            activity=float(np.count_nonzero(x[group] > ON)),
            limit=1.0,
            relax=1,
            shift=Shift(),
            step=1.0,
            patch={"exclusive_groups": rest},
            change_label=f"Allow more than one of {some(problem.exclusive_groups[number])}",
            priced=False,
        )


def _included(problem: Problem, deals: Deals, x: Floats, deal_id: str) -> Limit:
    """Require a deal: the field is min_allocation, or max_allocation where all of it is asked for."""
    at = deals.index[deal_id]
    required = float(deals.required[at])
    all_of_it = not deals.least[at] > 0
    return Limit(
        name=f"must_include:{deal_id}",
        label=label_of(problem, f"must_include:{deal_id}"),
        activity=float(x[at]),
        limit=required,
        relax=-1,
        shift=Shift(column_lower={at: 1.0}, column_upper={at: 1.0} if all_of_it else {}),
        step=required,
        patch={"must_include": [other for other in problem.must_include if other != deal_id]},
        change_label=f"Leave {deal_id} free to be left out",
        priced=problem.mode == "fractional",
    )
