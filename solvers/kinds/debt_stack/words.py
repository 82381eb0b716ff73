"""What a funding says in plain words, with units."""

from milpa.jobs import LimitReached
from solvers.explain import ConstraintReport, DualKind, Explanation, Repair
from solvers.kinds.debt_stack.fields import Field
from solvers.kinds.debt_stack.problem import EXPECTED, Problem, Solution
from solvers.plain_words import listed, money, unproven
from solvers.report import Unit

_PER = 1000
"""Money for which a price is quoted."""
_MOST_SENTENCES = 6
_SUGGESTIONS = 3


def value_in_words(problem: Problem, field: Field, value: float) -> str:
    """Write a value of a field in its unit."""
    if field.unit is Unit.MONEY:
        return f"{value:,.2f} {problem.currency}".replace(".00 ", " ")
    return f"{100 * value:.6g} %" if field.unit is Unit.SHARE else f"{value:.6g}"


def best_in_words(problem: Problem, bound: float | None) -> str:
    """Say below what no funding can be, if that is known."""
    return "" if bound is None else f"No funding costs less than {money(bound, problem.currency)} a year"


def of_funding(
    problem: Problem, solution: Solution, fields: list[Field], why: Explanation, ended_by: LimitReached | None
) -> list[str]:
    """Say what is drawn and what it costs, which limits hold the cost up, and what a change was found to bring.

    ended_by: what ended the search before the funding was proven the cheapest, if anything did.
    """
    priced = [
        (field, one)
        for field, one in zip(fields, why.constraints, strict=True)
        if one.binding and field.relax * (one.shadow_price or 0.0) < 0
        if field.limit != field.loosest and field.name != "purchase_price"
    ]
    sentences = [_summary(problem, solution), _cover(problem, solution)]
    if ended_by is not None:
        sentences.append(f"{unproven(ended_by)}; its limits have no price.")
    sentences += [_worth(problem, field, one) for field, one in priced[:_MOST_SENTENCES]]
    if priced and why.dual_kind is DualKind.FIXED_INTEGER:
        sentences.append("These worths hold while the same tranches are drawn.")
    saved = [(one.label, money(-one.expected_change, problem.currency)) for one in why.what_if[:_SUGGESTIONS]]
    return sentences + [f"Solved again with {label}: saves {amount} a year." for label, amount in saved]


def of_conflict(opposed: list[Field], repairs: list[Repair]) -> list[str]:
    """Say what can't hold together, and what would."""
    names = listed([field.label for field in opposed])
    sentences = [f"No funding meets all limits. These can't hold together: {names}."] if names else []
    return sentences + [f"It works with one change: {repair.label}." for repair in repairs]


def _summary(problem: Problem, solution: Solution) -> str:
    labels = {tranche.id: tranche.label for tranche in problem.tranches}
    drawn = [f"{labels[one.id]} {money(one.amount, problem.currency)}" for one in solution.sources]
    layers = ", ".join([*drawn, f"equity {money(solution.equity, problem.currency)}"])
    cost = money(solution.annual_cost, problem.currency)
    percent = f"{100 * solution.weighted_cost_of_capital:.2f} %"
    return f"Funded by {layers}: {cost} a year, {percent} of all uses."


def _cover(problem: Problem, solution: Solution) -> str:
    ratios = [(ratio, name) for name, ratio in solution.dscr.items() if name != EXPECTED and ratio is not None]
    if not ratios:
        return "No debt service is due in any scenario."
    ratio, worst = min(ratios)
    covenant = f"the covenant asks for {problem.min_dscr:.2f}"
    return f"Income covers debt service {ratio:.2f} times in the worst scenario ({worst}); {covenant}."


def _worth(problem: Problem, field: Field, one: ConstraintReport) -> str:
    """Say what the next bit of a binding limit is worth, and from where to where."""
    saving = abs(one.shadow_price or 0.0)
    at = value_in_words(problem, field, field.limit)
    more = "more" if field.relax > 0 else "less"
    if field.unit is Unit.MONEY:
        unit = f"each {_PER:,} {problem.currency} {more} saves {money(_PER * saving, problem.currency)} a year"
    elif field.unit is Unit.SHARE:
        unit = f"each percentage point {more} saves {money(saving / 100, problem.currency)} a year"
    else:
        unit = f"each 0.01 {more} saves about {money(saving / 100, problem.currency)} a year at first"
    return f"{field.label} binds at {at}: {unit}{_range(problem, field, one)}."


def _range(problem: Problem, field: Field, one: ConstraintReport) -> str:
    end, towards = (one.valid_to, "up to") if field.relax > 0 else (one.valid_from, "down to")
    if end is None:
        return ""
    rounded = money(end, problem.currency) if field.unit is Unit.MONEY else f"{100 * end:.2f} %"
    return f", {towards} {rounded}"
