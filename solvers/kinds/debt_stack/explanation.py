"""Why a funding is the cheapest, what would change it, and, when there is none, what stands in its way."""

import math
from collections import defaultdict

import msgspec

from solvers.backends.conflicts import conflict
from solvers.backends.linear import Price
from solvers.explain import ConstraintReport, DualKind, Explanation, ReducedCost, Repair, WhatIf
from solvers.kinds.debt_stack.fields import Field, fields_of
from solvers.kinds.debt_stack.formulation import Funding, separable
from solvers.kinds.debt_stack.prices import prices_of
from solvers.kinds.debt_stack.problem import Problem, Solution
from solvers.kinds.debt_stack.search import Search, Settled, cheapest
from solvers.kinds.debt_stack.words import of_conflict, of_funding, value_in_words
from solvers.patience import Patience
from solvers.report import Unit

_TIGHT = 1e-8
"""Of the purchase's cost for money, else of 1: the slack below which a constraint binds."""
_NO_CHANGE = 1e-9
"""Of the cost: a change below that is rounding."""
_WHAT_IFS = 6
_TRIED = 10
_HALVINGS = 60


def explain(parts: Funding, settled: Settled, solution: Solution, found: Search, patience: Patience) -> Explanation:
    """Return what the limits of a funding are worth, and the most valuable changes of them.

    Nothing is solved for a funding that a limit ended, or a stop would take as long: its limits then have no prices.
    """
    problem, fields = parts.problem, fields_of(parts.problem)
    prices = prices_of(parts, settled, fields) if found.limit is None else None
    dual_kind = DualKind.NONE if prices is None else found.dual_kind
    activities, in_force = _activities(problem, solution), set(settled.model.row_names)
    constraints = [
        _constraint(problem.cost, field, activities[field.name], prices, in_force=field.name in in_force)
        for field in fields
    ]
    why = Explanation(
        dual_kind=dual_kind,
        constraints=constraints,
        reduced_costs=_reduced_costs(parts, settled) if dual_kind is DualKind.LP else [],
        what_if=_what_if(problem, _by_promise(fields, prices or {}), solution.annual_cost, patience),
    )
    return msgspec.structs.replace(why, sentences=of_funding(problem, solution, fields, why, found.limit))


def explain_infeasible(parts: Funding, patience: Patience) -> Explanation:
    """Return which constraints can't hold together, and single relaxations that were solved and work."""
    model = separable(parts)
    price, *fields = fields_of(parts.problem)
    named = {field.name for field in fields}
    always = {row for row, name in enumerate(model.row_names) if name not in named}
    rows = {model.row_names[row] for row in conflict(model, patience.limits, always=always)}
    opposed = [field for field in fields if field.name in rows]
    candidates = {field.path: field for field in [*opposed, price]}
    repairs = [repair for field in candidates.values() if (repair := _repair(parts.problem, field, patience))]
    return Explanation(
        conflicts=[field.name for field in opposed],
        repairs=repairs,
        sentences=of_conflict(opposed, repairs),
    )


def _constraint(
    cost: float, field: Field, activity: float | None, prices: dict[str, Price] | None, *, in_force: bool
) -> ConstraintReport:
    """Report a constraint. prices: of those in force, which those of an undrawn tranche are not; None: not known."""
    price = prices.get(field.name) if prices is not None else None
    slack = 0.0 + field.relax * (field.limit - activity) if in_force and activity is not None else None
    scale = cost if field.unit is Unit.MONEY else 1.0
    exact = price is not None and not field.is_coefficient
    return ConstraintReport(
        name=field.name,
        label=field.label,
        activity=activity,
        limit=field.limit,
        slack=slack,
        binding=slack is not None and slack <= _TIGHT * scale,
        shadow_price=price.slope if price else None if prices is None else 0.0,
        valid_from=price.valid_from(field.limit) if price and exact else None,
        valid_to=price.valid_to(field.limit) if price and exact else None,
    )


def _activities(problem: Problem, solution: Solution) -> dict[str, float | None]:
    """Return where the funding stands, by constraint, in the field's unit; null where there is nothing to measure."""
    sources = {source.id: source for source in solution.sources}
    ranks = {tranche.id: tranche.seniority for tranche in problem.tranches}
    activities: dict[str, float | None] = {
        "purchase_price": problem.purchase_price,
        "ltv": solution.ltv,
        "equity_available": solution.equity,
        "equity_min_share": solution.equity / solution.uses.total,
    }
    activities |= {f"dscr:{name}": ratio for name, ratio in solution.dscr.items()}
    for name, rank in ranks.items():
        source = sources.get(name)
        amount = source.amount if source else 0.0
        debt = sum(other.amount for other in solution.sources if ranks[other.id] <= rank)
        activities[f"max_amount:{name}"] = activities[f"min_amount:{name}"] = amount
        activities[f"ltv:{name}"] = debt / problem.value
        activities[f"hedge:{name}"] = source.hedged / amount if source else None
    return activities


def _reduced_costs(parts: Funding, settled: Settled) -> list[ReducedCost]:
    """Return what each unit of a tranche that is not drawn would add to the cost, money a year per unit of money."""
    costs, x = settled.answer.reduced_costs, settled.answer.point
    if costs is None:
        return []
    undrawn = [k for k in range(parts.size) if x[k] <= _TIGHT * parts.problem.cost and costs[k] > 0]
    return [ReducedCost(parts.problem.tranches[k].id, float(costs[k])) for k in undrawn]


def _by_promise(fields: list[Field], prices: dict[str, Price]) -> list[tuple[Field, Price]]:
    """Return one priced constraint per problem field, by what a step looser should save, the most first."""
    by_path = {field.path: (field, prices[field.name]) for field in reversed(fields) if field.name in prices}
    worth: dict[tuple[str, ...], float] = defaultdict(float)
    for field in fields:
        if field.name in prices:
            worth[field.path] += prices[field.name].slope * (_a_step_looser(field) - field.limit)
    return [by_path[path] for path in sorted(worth, key=lambda path: worth[path]) if worth[path] < 0]


def _what_if(problem: Problem, promising: list[tuple[Field, Price]], cost: float, patience: Patience) -> list[WhatIf]:
    """Return the relaxations that save most, each solved."""
    found: list[WhatIf] = []
    for field, price in promising[:_TRIED]:
        if patience.over:
            break
        value = _a_step_looser(field)
        changed = cheapest(field.change(problem, value), patience.limits)
        if changed is None or cost - changed <= _NO_CHANGE * cost:
            continue
        exact = not field.is_coefficient
        found.append(
            WhatIf(
                label=f"{field.title}: {value_in_words(problem, field, value)}",
                patch=field.patch(value),
                expected_change=changed - cost,
                valid_from=price.valid_from(field.limit) if exact else None,
                valid_to=price.valid_to(field.limit) if exact else None,
            )
        )
    return sorted(found, key=lambda one: one.expected_change)[:_WHAT_IFS]


def _a_step_looser(field: Field) -> float:
    """Return the field's value after a step that people would talk about: a tenth of an amount, 5 points of a share."""
    if field.path == ("purchase_price",):
        return _within_reach(field, round(0.99 * field.limit, 2))
    step = 0.1 * field.limit if field.unit is Unit.MONEY else 0.05
    return _within_reach(field, round(field.limit + field.relax * step, 6))


def _within_reach(field: Field, value: float) -> float:
    """Return a value, or how far the field may relax if that is nearer: rounding makes nothing of a price of a cent."""
    return min(value, field.loosest) if field.relax > 0 else max(value, field.loosest)


def _repair(problem: Problem, field: Field, patience: Patience) -> Repair | None:
    """Return the least relaxation of one field alone that was solved and works, by halving; None: none was found."""

    def works(value: float) -> bool:
        return not patience.over and cheapest(field.change(problem, value), patience.limits) is not None

    if not works(field.loosest):
        return None
    step = _step(problem, field)
    bad, good = field.limit, field.loosest
    for _ in range(_HALVINGS):
        if abs(good - bad) <= step / 10:
            break
        middle = (bad + good) / 2
        bad, good = (bad, middle) if works(middle) else (middle, good)
    tidy = (_within_reach(field, round((round(good / step) + steps) * step, 6)) for steps in (0, field.relax))
    value = next((neat for neat in tidy if works(neat)), good)
    return Repair(
        label=f"{field.title}: {value_in_words(problem, field, value)}",
        patch=field.patch(value),
        cost=abs(value - field.limit),
    )


def _step(problem: Problem, field: Field) -> float:
    """Return to what a repair is rounded: cents, a unit for a purchase of more than a million, …; or a millionth."""
    return 10.0 ** max(-2, math.ceil(math.log10(1e-8 * problem.cost))) if field.unit is Unit.MONEY else 1e-6
