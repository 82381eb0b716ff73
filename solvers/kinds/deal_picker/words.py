"""An explanation in plain words, with units."""

from collections.abc import Iterator

import numpy as np

from milpa.jobs import LimitReached
from solvers.explain import ConstraintReport, DualKind, Explanation
from solvers.kinds.deal_picker.problem import Problem
from solvers.plain_words import unproven

_LARGE = 1000
_DIGITS = 4
_PRICES_TOLD = 8
_MISSES_TOLD = 3


def amount(value: float) -> str:
    """Write a number for people: whole from 1,000 on, else with four significant digits.

    >>> amount(80000.2), amount(0.08), amount(1.50001), amount(0.00003681)
    ('80,000', '0.08', '1.5', '0.00003681')
    """
    if abs(value) >= _LARGE or value == int(value):
        return f"{value:,.0f}"
    return np.format_float_positional(value, precision=_DIGITS, fractional=False, trim="-")


def percent(fraction: float) -> str:
    """Write a fraction as per cent.

    >>> percent(0.0654)
    '6.54 %'
    """
    return f"{amount(100 * fraction)} %"


def cap_words(problem: Problem, cap: float) -> str:
    """Write a value of a cap in its unit."""
    if problem.cap_basis == "share_of_budget":
        return f"{percent(cap)} of the budget"
    return f"{amount(cap)} {problem.currency}" if problem.cap_basis == "amount" else f"{amount(cap)} deals"


def raised(problem: Problem, name: str, value: float) -> str:
    """Say what becomes of the limit of that name: "the budget to 110,000 EUR"."""
    kind, _, of = name.partition(":")
    match kind:
        case "budget":
            return f"the budget to {amount(value)} {problem.currency}"
        case "max_risk":
            return f"the risk limit to {amount(value)}"
        case "max_deals":
            return f"the number of deals to {amount(value)}"
        case _:
            return f"the cap of {kind} {of or '(none)'} to {cap_words(problem, value)}"


def best_in_words(problem: Problem, bound: float | None) -> str:
    """Say what no plan can exceed, if that is known."""
    return "" if bound is None else f"No plan is worth more than {amount(bound)} {problem.currency} a year"


def sentences_of(problem: Problem, explanation: Explanation, ended_by: LimitReached | None = None) -> list[str]:
    """Say the most useful of an explanation: prices first, then near misses, then what would pay.

    ended_by: what ended the search before the plan was proven the best, if anything did.
    """
    return [
        *_binding(problem, explanation, ended_by),
        *_misses(problem, explanation),
        *(f"{change.label}: {_signed(change.expected_change)} {problem.currency}." for change in explanation.what_if),
    ]


def _binding(problem: Problem, explanation: Explanation, ended_by: LimitReached | None) -> Iterator[str]:
    binding = [report for report in explanation.constraints if report.binding]
    if ended_by is not None:
        yield f"{unproven(ended_by)}; its limits have no price."
    elif explanation.dual_kind is DualKind.NONE:
        anew = "; each change below was solved anew" if explanation.what_if else ""
        yield f"Deals are bought whole or not at all, so that limits have no price{anew}."
    elif not binding:
        yield "No limit binds: more budget or higher caps would change nothing."
    priced = sorted(
        (report for report in binding if report.shadow_price),
        key=lambda report: -abs(report.shadow_price or 0.0) * max(abs(report.limit or 0.0), 1e-9),
    )
    for report in priced[:_PRICES_TOLD]:
        yield _price(problem, report)
    if explanation.dual_kind is DualKind.FIXED_INTEGER and priced:
        yield "These prices hold for the deals chosen as they are; which deals are chosen may change."
    unpriced = [report.label for report in binding if report.shadow_price is None]
    if unpriced:
        yield f"Fully used: {', '.join(unpriced[:_PRICES_TOLD])}."


def _price(problem: Problem, report: ConstraintReport) -> str:
    price, money = report.shadow_price or 0.0, problem.currency
    kind, _, name = report.name.partition(":")
    if kind == "must_include":
        verb = "costs" if price < 0 else "earns"
        return f"Each further share of {name} that must be bought {verb} {amount(abs(price))} {money} a deal."
    where = f"{kind} {name or '(none)'}"
    if kind == "budget":
        text = f"One more {money} of budget earns {amount(price)}"
    elif kind == "max_risk":
        text = f"One more unit of risk earns {amount(price)} {money}"
    elif problem.cap_basis == "allocations":
        text = f"One more deal of {where} earns {amount(price)} {money}"
    elif problem.cap_basis == "amount":
        text = f"One more {money} under the cap of {where} earns {amount(price)}"
    else:
        text = f"One more per cent of the budget for {where} earns {amount(price / 100)} {money}"
    return f"{text}{_range(problem, report)}."


def _range(problem: Problem, report: ConstraintReport) -> str:
    is_share = problem.cap_basis == "share_of_budget" and report.name.startswith(("sector:", "city:"))
    write = percent if is_share else amount
    low, high = report.valid_from, report.valid_to
    if low is not None and high is not None:
        return f", exact between {write(low)} and {write(high)}"
    if low is not None:
        return f", exact from {write(low)} on"
    return "" if high is None else f", exact up to {write(high)}"


def _misses(problem: Problem, explanation: Explanation) -> Iterator[str]:
    for miss in explanation.near_misses[:_MISSES_TOLD]:
        enters, now = miss["break_even_yield"], miss["yield"]
        write = percent if problem.yield_basis == "rate" else amount
        if enters is not None and write(enters) != write(now):
            yield f"{miss['deal_id']} would enter the plan at a yield above {write(enters)} (it has {write(now)})."


def _signed(change: float) -> str:
    return ("+" if change >= 0 else "-") + amount(abs(change))


def joined(words: list[str], most: int = 6) -> str:
    """Join words to "a, b and c", leaving out what is too much.

    >>> joined(["a", "b", "c"])
    'a, b and c'
    """
    shown = words if len(words) <= most else [*words[:most], f"{len(words) - most} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
