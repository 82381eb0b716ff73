"""How a checker says that a limit is missed or a figure wrong: one tolerance for every kind."""

from collections.abc import Iterator

from solvers.result import Violation

TOLERANCE = 1e-6
"""Of max(1, |limit|): the violation up to which a constraint holds."""

_ROUNDING = 1e-12
"""Of large amounts: what adding them up in another order may change."""


def broken(name: str, amount: float, limit: float, message: str) -> Iterator[Violation]:
    """Yield a violation where `amount`, by how much a limit is missed, is beyond tolerance, or not a number."""
    if not amount <= TOLERANCE * max(1.0, abs(limit)):
        yield Violation(constraint=name, amount=amount, message=message)


def at_most(name: str, activity: float, limit: float) -> Iterator[Violation]:
    """Yield a violation where an activity is above its limit."""
    yield from broken(name, activity - limit, limit, f"{activity:,.6f} is more than {limit:,.6f}.")


def at_least(name: str, activity: float, limit: float) -> Iterator[Violation]:
    """Yield a violation where an activity is below its limit."""
    yield from broken(name, limit - activity, limit, f"{activity:,.6f} is less than {limit:,.6f}.")


def reported(name: str, stated: float | None, true: float | None, *, terms: float = 0.0) -> Iterator[Violation]:
    """Yield a violation where a stated figure is not what comes out when it is recomputed.

    terms: the size of the amounts that it is the difference of, where these may be far larger than what is left.
    """
    if stated is None or true is None:
        if stated is not true:
            yield Violation(constraint=name, amount=1.0, message=f"Stated as {stated}, recomputed as {true}.")
    else:
        off = abs(stated - true) - _ROUNDING * terms
        yield from broken(name, off, true, f"Stated as {stated:,.6f}, recomputed as {true:,.6f}.")
