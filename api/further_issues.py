"""What else is wrong with a problem that has type errors: the caller shall hear all of it at once.

The parts that have the right types are checked on their own: the problem when the errors are beside it, and the rest of
its main table when they are in some of the table's entries.
"""

from typing import Any

import msgspec

from solvers.decode import convert
from solvers.issues import Issue, Severity, pointer
from solvers.registry import AnyKind

_NEEDS_ALL = frozenset({"unknown_id", "too_few"})
"""What may only seem wrong because entries are left out."""


def further_issues(kind: AnyKind, job: Any, found: list[Issue]) -> list[Issue]:
    """Return the errors that `check` finds in what has the right types, pointers from the body's root.

    job: the body as plain values. found: all of its type errors.
    """
    problem = job.get("problem") if isinstance(job, dict) else None
    wrong = [issue.pointer for issue in found if _within(issue.pointer, "/problem")]
    if not isinstance(problem, dict) or any(pointer in ("", "/problem") for pointer in wrong):
        return []
    if not wrong:
        return _check(kind, problem)
    bad = _bad_entries(kind, wrong)
    entries = problem.get(kind.main_table or "")
    if bad is None or not isinstance(entries, list):
        return []
    kept = [index for index in range(len(entries)) if index not in bad]
    rest = {**problem, str(kind.main_table): [entries[index] for index in kept]}
    issues = [issue for issue in _check(kind, rest) if issue.code not in _NEEDS_ALL] if kept else []
    return [_moved(issue, pointer("problem", str(kind.main_table)), kept) for issue in issues]


def _check(kind: AnyKind, problem: dict[str, Any]) -> list[Issue]:
    value = convert(problem, kind.problem).value
    if value is None:
        return []
    return [
        msgspec.structs.replace(issue, pointer="/problem" + issue.pointer)
        for issue in kind.check(value)
        if issue.severity is Severity.ERROR
    ]


def _bad_entries(kind: AnyKind, wrong: list[str]) -> set[int] | None:
    """Return which entries of the main table have type errors; None: there are type errors elsewhere too."""
    table = pointer("problem", kind.main_table) if kind.main_table else None
    bad = set()
    for place in wrong:
        index = place.removeprefix(f"{table}/").partition("/")[0]
        if table is None or not _within(place, table) or not index.isdecimal():
            return None
        bad.add(int(index))
    return bad


def _moved(issue: Issue, table: str, kept: list[int]) -> Issue:
    """Count the entry that an issue points to among all entries, as the caller does."""
    if not _within(issue.pointer, table) or issue.pointer == table:
        return issue
    index, slash, field = issue.pointer.removeprefix(f"{table}/").partition("/")
    return msgspec.structs.replace(issue, pointer=f"{table}/{kept[int(index)]}{slash}{field}")


def _within(place: str, parent: str) -> bool:
    return place == parent or place.startswith(f"{parent}/")
