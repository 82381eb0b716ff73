"""What a plan says in plain words, with units."""

from milpa.jobs import LimitReached
from solvers.explain import ConstraintReport, DualKind, Explanation, Repair
from solvers.kinds.leasing_mix.fields import Field
from solvers.kinds.leasing_mix.problem import Problem, Solution
from solvers.plain_words import listed, money, unproven
from solvers.report import Unit

PRICED_STEPS = {Unit.MONEY: 1000.0, Unit.SHARE: 0.01, Unit.YEARS: 0.1, Unit.AREA: 1.0, Unit.WHOLE: 1.0}
"""Unit → the step for which a price is quoted: 1,000, a percentage point, a tenth of a year, a sqm, a lease."""
_MOST_SENTENCES = 6
_SUGGESTIONS = 3
_OFFERS_NAMED = 6


def value_in_words(problem: Problem, field: Field, value: float) -> str:
    """Write a value of a field in its unit."""
    match field.unit:
        case Unit.MONEY:
            return f"{value:,.2f} {problem.currency}".replace(".00 ", " ")
        case Unit.SHARE:
            return f"{100 * value:.4g} %"
        case Unit.YEARS:
            return f"{_plain(value)} years"
        case Unit.AREA:
            return f"{_plain(value)} sqm"
        case _:
            return _plain(value)


def _plain(value: float) -> str:
    """Write a number with up to two decimals."""
    return f"{value:,.2f}".rstrip("0").rstrip(".")


def best_in_words(problem: Problem, bound: float | None) -> str:
    """Say what no plan can exceed, if that is known."""
    most = "" if bound is None else money(bound, problem.currency)
    return f"No plan brings more than {most} net in the first twelve months" if most else ""


def of_plan(
    problem: Problem, solution: Solution, fields: list[Field], why: Explanation, ended_by: LimitReached | None = None
) -> list[str]:
    """Say what to offer and what it brings, which limits hold it back, and what a change was found to bring.

    ended_by: what ended the search before the plan was proven the best, if anything did.
    """
    binding = [(field, one) for field, one in zip(fields, why.constraints, strict=True) if one.binding]
    priced = [
        (field, one)
        for field, one in binding
        if field.relax * (one.shadow_price or 0.0) > 0 and field.limit != field.end and field.name != "total_area"
    ]
    priced.sort(key=lambda entry: -abs(entry[1].shadow_price or 0.0) * PRICED_STEPS[entry[0].unit])
    sentences = [_offers(problem, solution), _cash(problem, solution), _state(problem, solution)]
    sentences += [_worth(problem, field, one) for field, one in priced[:_MOST_SENTENCES]]
    full = listed([field.label for field, _ in binding[:_MOST_SENTENCES]])
    if ended_by is not None:
        sentences.append(f"{unproven(ended_by)}; its limits have no price.")
        sentences += [f"Reached: {full}."] if binding else []
    elif why.dual_kind is DualKind.NONE and binding:
        sentences.append(f"Reached: {full}. They have no price where leases are whole; changes are solved again.")
    gains = [(one.label, money(one.expected_change, problem.currency)) for one in why.what_if[:_SUGGESTIONS]]
    return sentences + [f"Solved again with {label}: brings {amount} more." for label, amount in gains]


def of_conflict(opposed: list[Field], repairs: list[Repair]) -> list[str]:
    """Say what can't hold together, and what would."""
    names = listed([field.label for field in opposed])
    sentences = [f"No plan meets all limits. These can't hold together: {names}."] if opposed else []
    return sentences + [f"It works with: {repair.label}." for repair in repairs]


def _offers(problem: Problem, solution: Solution) -> str:
    labels = {package.id: package.label for package in problem.packages}
    largest = sorted(solution.offers, key=lambda offer: -offer.area)
    parts = [f"{_plain(offer.leases)} × {labels[offer.package_id]}" for offer in largest[:_OFFERS_NAMED]]
    if len(largest) > _OFFERS_NAMED:
        parts.append(f"{len(largest) - _OFFERS_NAMED} more packages")
    return f"Offer {listed(parts)}." if parts else "Offer nothing: no package pays within the first twelve months."


def _cash(problem: Problem, solution: Solution) -> str:
    spent, budget = (
        money(amount, problem.currency) for amount in (solution.incentives_spent, problem.incentive_budget)
    )
    net = money(solution.ncf_12m, problem.currency)
    return f"The building brings {net} net in the first twelve months, with incentives of {spent} out of {budget}."


def _state(problem: Problem, solution: Solution) -> str:
    let = f"{100 * solution.occupancy:.1f} % of the area is let"
    if solution.wault_years is None:
        return f"{let}; without weight there is no mean lease term."
    asked = f"{problem.min_wault_years:.2f} are asked for"
    return f"{let}; leases run {solution.wault_years:.2f} years in the mean by {problem.wault_weight}, {asked}."


def _worth(problem: Problem, field: Field, one: ConstraintReport) -> str:
    """Say what the next bit of a binding limit is worth, and from where to where."""
    step = PRICED_STEPS[field.unit]
    gain = money(step * abs(one.shadow_price or 0.0), problem.currency)
    at = value_in_words(problem, field, field.limit)
    more = _step_in_words(problem, field)
    return f"{field.label} binds at {at}: each {more} brings {gain}{_range(problem, field, one)}."


def _step_in_words(problem: Problem, field: Field) -> str:
    more = "more" if field.relax > 0 else "less"
    match field.unit:
        case Unit.MONEY:
            return f"{PRICED_STEPS[Unit.MONEY]:,.0f} {problem.currency} {more}"
        case Unit.SHARE:
            return f"percentage point {more}"
        case Unit.YEARS:
            return f"tenth of a year {more}"
        case _:
            return "lease more" if field.relax > 0 else "lease fewer"


def _range(problem: Problem, field: Field, one: ConstraintReport) -> str:
    if field.is_coefficient:
        return " at first"
    end, towards = (one.valid_to, "up to") if field.relax > 0 else (one.valid_from, "down to")
    return "" if end is None else f", {towards} {value_in_words(problem, field, end)}"
