"""What a plan says in plain words, with units."""

import math
from collections.abc import Sequence

from solvers.explain import Repair, WhatIf
from solvers.kinds.capex_phasing.fields import Field
from solvers.kinds.capex_phasing.problem import LeftOutReason, Objective, Problem, Solution
from solvers.kinds.capex_phasing.search import Found
from solvers.kinds.capex_phasing.terms import labels_of, month_name
from solvers.plain_words import unproven
from solvers.result import relative_gap

_CENTS_BELOW = 1000
_NAMED = 6
_REASONS = {
    LeftOutReason.NOT_WORTH: "Worth nothing at any start",
    LeftOutReason.NO_CASH: "Left out for want of cash",
    LeftOutReason.NO_CAPACITY: "Left out for want of capacity",
    LeftOutReason.PREDECESSOR: "Left out because what comes before is left out",
    LeftOutReason.NO_TIME: "Left out for want of time",
}


def money(amount: float, currency: str) -> str:
    """Write an amount: whole from 1,000 on, with cents below unless it is whole.

    >>> money(12400.4, "EUR"), money(36.8, "EUR"), money(100.0, "EUR")
    ('12,400 EUR', '36.80 EUR', '100 EUR')
    """
    whole = abs(amount) >= _CENTS_BELOW or amount == int(amount)
    return f"{amount:,.0f} {currency}" if whole else f"{amount:,.2f} {currency}"


def best_in_words(problem: Problem, bound: float | None) -> str:
    """Say what no plan can exceed, if that is known."""
    if bound is None:
        return ""
    match problem.objective:
        case Objective.MAKESPAN:
            return f"No plan takes less than {math.ceil(bound)} months"
        case Objective.UPLIFT:
            return f"No plan brings more uplift than {money(bound, problem.currency)}"
        case Objective.NPV:
            return f"No plan is worth more than {money(bound, problem.currency)} today"


def step_in_words(problem: Problem, field: Field) -> str:
    """Say what a constraint one step looser is, so that "is worth" may follow."""
    labels = labels_of(problem)
    match field.kind:
        case "cash" | "every_month":
            when = "every month" if field.kind == "every_month" else month_name(problem, field.month)
            return f"One more month of cash of {money(field.step, problem.currency)} in {when}"
        case "parallel":
            return "One more project at once"
        case "resource":
            return f"{field.step:g} more of {field.of} in every month"
        case "after":
            return f"Starting {labels[field.of]} without waiting for {labels[field.other]}"
        case "required":
            return f"Leaving it open whether {labels[field.of]} is done"
        case "latest_finish":
            return f"One more month to finish {labels[field.of]}"


def change_in_words(problem: Problem, field: Field, value: float) -> str:
    """Say what a constraint becomes."""
    labels = labels_of(problem)
    match field.kind:
        case "cash" | "every_month":
            now, then = (money(amount, problem.currency) for amount in (field.limit or 0.0, value))
            return f"{field.label}: {then} instead of {now}"
        case "parallel":
            return f"{value:g} projects at once instead of {field.limit:g}"
        case "resource":
            return f"{value:g} of {field.of} instead of {field.limit:g}"
        case "after":
            return f"{labels[field.of]} does not wait for {labels[field.other]}"
        case "required":
            return f"{labels[field.of]} is not required"
        case "latest_finish":
            then, now = (month_name(problem, int(month)) for month in (value, field.limit or 0.0))
            return f"{labels[field.of]} finished by {then} instead of {now}"


def of_plan(
    problem: Problem, solution: Solution, worths: Sequence[tuple[WhatIf, bool]], found: Found, objective: float
) -> list[str]:
    """Say what is done and when, what is left out and why, and what one step looser was found to bring.

    worths: each change, and whether its worth is proven; else it is at least that. found: how the search ended.
    """
    return [
        _summary(problem, solution),
        *_payback(problem, solution),
        *_left_out(problem, solution),
        *([] if found.limit is None else [f"{unproven(found.limit)}."]),
        *_distance(problem, objective, found.bound),
        *(_worth(problem, one, proven=proven) for one, proven in worths),
    ]


def of_conflict(opposed: Sequence[Field], repairs: Sequence[Repair], *, minimal: bool) -> list[str]:
    """Say what can't hold together, and what would."""
    sentences = []
    if opposed:
        names = _listed([field.label for field in opposed], most=len(opposed))
        sentences.append(f"No plan meets all limits. These can't hold together: {names}.")
    if opposed and not minimal:
        sentences.append("There was no time to find out which of them could be spared.")
    return sentences + [f"It works with one change: {repair.label}." for repair in repairs]


def _summary(problem: Problem, solution: Solution) -> str:
    total, done = len(problem.projects), len(solution.schedule)
    if not done:
        return "No project is worth starting: nothing is spent and nothing is gained."
    first = month_name(problem, solution.schedule[0].start_month)
    last = month_name(problem, solution.makespan - 1)
    spent = money(sum(one.cost for one in solution.schedule), problem.currency)
    uplift, npv = (money(amount, problem.currency) for amount in (solution.total_uplift, solution.npv))
    return (
        f"{done} of {total} projects run from {first} to {last}: they cost {spent} and bring {uplift} of uplift within "
        f"the horizon, a net present value of {npv}."
    )


def _payback(problem: Problem, solution: Solution) -> list[str]:
    if not solution.schedule:
        return []
    if solution.payback_month is None:
        return ["What is spent does not come back within the horizon."]
    return [f"What is spent has come back by {month_name(problem, solution.payback_month)}, not discounted."]


def _left_out(problem: Problem, solution: Solution) -> list[str]:
    labels = labels_of(problem)
    if problem.objective is Objective.MAKESPAN:
        names = [labels[one.project_id] for one in solution.left_out]
        return [f"Left out, since nothing required needs them: {_listed(names)}."] if names else []
    sentences = []
    for reason, words in _REASONS.items():
        names = [labels[one.project_id] for one in solution.left_out if one.reason is reason]
        if names:
            sentences.append(f"{words}: {_listed(names)}.")
    return sentences


def _distance(problem: Problem, objective: float, bound: float | None) -> list[str]:
    if bound is None or bound == objective:
        return []
    if problem.objective is Objective.MAKESPAN:
        return [f"No plan takes less than {_months(bound)}; this one takes {_months(objective)}."]
    at_most = money(bound, problem.currency)
    return [f"No plan is worth more than {at_most}: this one is within {relative_gap(objective, bound):.2%} of that."]


def _worth(problem: Problem, one: WhatIf, *, proven: bool) -> str:
    at_least = "" if proven else "at least "
    if one.expected_change == 0:
        return f"{one.label} is worth nothing." if proven else f"{one.label} was not found to be worth anything."
    if problem.objective is Objective.MAKESPAN:
        return f"{one.label} ends all that is required {at_least}{_months(-one.expected_change)} earlier."
    return f"{one.label} is worth {at_least}{money(one.expected_change, problem.currency)}."


def _months(count: float) -> str:
    return f"{count:g} month" if count == 1 else f"{count:g} months"


def _listed(names: list[str], most: int = _NAMED) -> str:
    """Write a list, by semicolons where a name has commas of its own."""
    shown = names if len(names) <= most else [*names[:most], f"{len(names) - most} more"]
    between = "; " if any("," in name for name in shown) else ", "
    return shown[0] if len(shown) == 1 else f"{between.join(shown[:-1])} and {shown[-1]}"
