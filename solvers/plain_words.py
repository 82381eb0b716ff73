"""Amounts and lists as people write them."""

from collections.abc import Sequence

from milpa.jobs import LimitReached

_WHOLE_FROM = 1000
_ENDS = {
    LimitReached.TIME: "its time was up",
    LimitReached.MEMORY: "its memory was used up",
    LimitReached.STOPPED: "it was stopped",
}


def money(amount: float, currency: str) -> str:
    """Write an amount: whole from 1,000 on, with cents below.

    >>> money(36.8, "EUR"), money(-30000, "EUR")
    ('36.80 EUR', '-30,000 EUR')
    """
    return f"{amount:,.0f} {currency}" if abs(amount) >= _WHOLE_FROM else f"{amount:,.2f} {currency}"


def listed(names: Sequence[str]) -> str:
    """Join names with commas and a last "and".

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)


def unproven(limit: LimitReached) -> str:
    """Say why an answer is not known to be the best, so that "; …" may follow.

    >>> unproven(LimitReached.STOPPED)
    'The search ended before this was proven the best, since it was stopped'
    """
    return f"The search ended before this was proven the best, since {_ENDS[limit]}"
