"""Amounts and lists as people write them."""

from collections.abc import Sequence

from milpa.jobs import LimitReached

_WHOLE_FROM = 1000
_ENDS = {
    LimitReached.TIME: "its time was up",
    LimitReached.MEMORY: "its memory was used up",
    LimitReached.STOPPED: "it was stopped",
}
_HELP = {
    LimitReached.TIME: "Give it more time (time_limit_seconds), or looser limits: plans for these are found sooner.",
    LimitReached.MEMORY: "Give it a worker with more memory, or fewer choices.",
    LimitReached.STOPPED: "Submit it again to let it run on.",
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


def nothing_found(limit: LimitReached | None, best: str = "") -> list[str]:
    """Say of a search that ended without an answer why it did, how good any can be (`best`, if known), what may help.

    >>> nothing_found(LimitReached.TIME, "No plan brings more than 5 EUR")[0]
    'The search ended before it found anything, since its time was up; whether all limits can hold is not known.'
    """
    if limit is None:
        return []
    return [
        f"The search ended before it found anything, since {_ENDS[limit]}; whether all limits can hold is not known.",
        *([f"{best}."] if best else []),
        _HELP[limit],
    ]
