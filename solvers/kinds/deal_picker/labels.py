"""What people call the constraints, which have the names of the fields they come from."""

from collections.abc import Sequence

from solvers.kinds.deal_picker.problem import Problem

_MOST = 5


def label_of(problem: Problem, name: str) -> str:
    """Return what people call the constraint of that name."""
    kind, _, of = name.partition(":")
    match kind:
        case "budget":
            return "Budget"
        case "max_risk":
            return "Risk"
        case "max_deals":
            return "Number of deals"
        case "group":
            return f"At most one of {some(problem.exclusive_groups[int(of)])}"
        case "must_include":
            return f"Must include {of}"
        case _:
            return f"{kind.capitalize()} {of or '(none)'}"


def some(ids: Sequence[str]) -> str:
    """Write ids side by side, the first five of them."""
    shown = ", ".join(ids[:_MOST])
    return shown if len(ids) <= _MOST else f"{shown} and {len(ids) - _MOST} more"
