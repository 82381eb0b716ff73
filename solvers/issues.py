"""All that is wrong with a problem, at once."""

from enum import StrEnum

import msgspec


class Severity(StrEnum):
    """An error refuses the problem; a warning is kept with the job."""

    ERROR = "error"
    WARNING = "warning"


class Issue(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One thing wrong, where it is, and a hint.

    code: stable, for programs (`duplicate_id`, `unknown_id`, `out_of_range`, …). pointer: RFC 6901 JSON pointer from
    the problem's root (`/deals/7/id`; whoever embeds the problem prefixes it). row (header = 1) and column (its
    name) point into an uploaded table.
    """

    code: str
    pointer: str
    message: str
    severity: Severity = Severity.ERROR
    row: int | None = None
    column: str | None = None


def has_errors(issues: list[Issue]) -> bool:
    """Tell whether any issue refuses the problem."""
    return any(issue.severity is Severity.ERROR for issue in issues)


def pointer(*parts: str | int) -> str:
    """Join path parts to a JSON pointer, escaping `~` and `/` (RFC 6901).

    >>> pointer("sector_caps", "a/b", 3)
    '/sector_caps/a~1b/3'
    """
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)
