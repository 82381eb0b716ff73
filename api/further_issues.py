"""What else is wrong with a body that has type errors: the caller shall hear all of it at once.

The rest is checked with made-up values in the places of the wrong ones. Only what is said whatever stands there counts:
an issue that comes of a made-up value would be worse than one too few. Where the rest is so wrong that this would take
long, nothing is said of it before the types are right.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from solvers.issues import Issue, Severity
from solvers.stand_ins import StandIns, stand_ins

_NEEDS_NAMES = frozenset({"unknown_id"})
"""What may only seem wrong because a name can't be read."""
MOST_FOUND: Final = 100_000
"""Issues that may be found in all documents together; every value that stands in is a document, and finds them anew."""


def further_issues(body: Any, type_: Any, found: list[Issue], check: Callable[[Any], list[Issue]]) -> list[Issue]:
    """Return the errors that `check` finds in what has the right types.

    body: as plain values. found: all that keeps it from being of the type.
    """
    made = stand_ins(body, type_, found) if isinstance(body, dict) else None
    if made is None:
        return []
    said: list[Issue] | None = None
    total = 0
    for document in made.documents():
        if total > MOST_FOUND:
            return []
        try:
            issues = check(msgspec.convert(document, type_, str_keys=True))
        except msgspec.ValidationError:
            return []
        total += len(issues)
        if said is None:
            said = [issue for issue in issues if _is_known(issue, made)]
        else:
            again = set(issues)
            said = [issue for issue in said if issue in again]
        if not said:
            break
    return said or []


def _is_known(issue: Issue, made: StandIns) -> bool:
    """Tell whether an issue is an error in what the caller has said, as far as one document tells."""
    nameless = issue.code in _NEEDS_NAMES and made.lacks_names(issue.pointer)
    return issue.severity is Severity.ERROR and not nameless and not made.covers(issue.pointer)
