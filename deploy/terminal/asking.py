"""What `milpa submit` sends: a problem from a file and from options, typed by the kind's schema."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from deploy.terminal.fields import fields_of, read_settings, read_words
from milpa.errors import UsageError

if TYPE_CHECKING:
    from milpa.client import Client, KindDetail

TABLES = frozenset({".csv", ".xlsx", ".parquet"})
JOB_FIELDS = frozenset({"options", "files", "name", "tags", "priority", "webhook_url", "reuse"})
"""What the body of a job says beside its problem."""


class Asked(msgspec.Struct, frozen=True):
    """A problem, and the file with its rows when they come as a table.

    rest: what a JSON body says beside the problem.
    """

    problem: dict[str, Any]
    rows: Path | None = None
    rest: dict[str, Any] = {}


def read_problem(
    client: "Client", kind: "KindDetail", words: Sequence[str], settings: Sequence[str], *, example: bool
) -> Asked:
    """Make the problem of the words `FILE --field value …` and of `--set`. Options win over the file."""
    fields = fields_of(kind.problem_schema)
    others, given = read_words(words, fields)
    given |= read_settings(settings, fields)
    if len(others) > 1:
        raise UsageError("bad_option", f"One file at most, please: {', '.join(others)}.")
    if example:
        return Asked({**client.example(kind.name), **given})
    if not others:
        return Asked(given)
    return _read_file(Path(others[0]), kind, given)


def _read_file(path: Path, kind: "KindDetail", given: dict[str, Any]) -> Asked:
    if not path.is_file():
        raise UsageError("no_file", f"There is no file {path}.")
    if path.suffix.lower() in TABLES:
        if kind.main_table is None:
            raise UsageError("no_table", f"{kind.name} has no table of rows: give its problem as a .json file.")
        return Asked(given, rows=path)
    try:
        body = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        said = f"{path} is neither a table (.csv, .xlsx, .parquet) nor a JSON object: {error}."
        raise UsageError("bad_file", said) from None
    if not isinstance(body.get("problem"), dict):
        return Asked({**body, **given})
    problem = body.pop("problem")
    if unknown := sorted(body.keys() - JOB_FIELDS):
        known = ", ".join(sorted(JOB_FIELDS))
        raise UsageError("bad_file", f"{path} says {', '.join(unknown)} beside its problem; a job takes {known}.")
    return Asked({**problem, **given}, rest=body)
