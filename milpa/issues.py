"""One thing wrong with what was asked: the shape in which servers say it and clients read it."""

from enum import StrEnum

import msgspec


class Severity(StrEnum):
    """An error refuses the problem; a warning is kept with the job."""

    ERROR = "error"
    WARNING = "warning"


class Issue(msgspec.Struct, frozen=True, kw_only=True):
    """One thing wrong, where it is, and a hint.

    code: stable, for programs (`duplicate_id`, `unknown_id`, `out_of_range`, …). pointer: RFC 6901 JSON pointer into
    the body (`/problem/deals/7/id`; a kind's own begin at the problem's root, and whoever embeds it prefixes them).
    row (header = 1) and column (its name) point into an uploaded table.
    """

    code: str
    pointer: str
    message: str
    severity: Severity = Severity.ERROR
    row: int | None = None
    column: str | None = None

    def __str__(self) -> str:
        where = self.pointer or "the body"
        if self.row is not None:
            where = f"row {self.row}, column {self.column}" if self.column else f"row {self.row}"
        return f"{where}: {self.message} [{self.code}]"
