"""JSON merge patches (RFC 7396) in which a list whose entries have ids may be patched entry by entry.

An object changes members, adds them, and removes those it gives as null; anything else replaces what was there. The
one extension: where the document has a list of objects with unique text ids (or an empty list) and the patch an object,
that object is `{id: patch or null}`: it changes an entry, adds a full one at the end, or removes one.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from solvers.issues import Issue, pointer
from solvers.type_words import Path, did_you_mean, show

ID: Final = "id"
MAX_ISSUES: Final = 1000
MAX_HINTS: Final = 20
"""Issues with a hint: each looks through all ids there are."""


class Patched(msgspec.Struct, frozen=True, kw_only=True):
    """A document after a patch, and what could not be applied, with pointers into the patch.

    With an issue, `value` lacks that part of the patch. issues: the first ones; total: how many there are in all.
    """

    value: Any
    issues: list[Issue] = []
    total: int = 0


def apply_patch(document: Any, patch: Any) -> Patched:
    """Return the patched document. Both stay as they are; what the patch leaves alone is shared, not copied."""
    refusals = _Refusals()
    value = _merge(document, patch, (), refusals)
    return Patched(value=value, issues=refusals.issues, total=refusals.total)


class _Refusals:
    """What could not be applied so far."""

    def __init__(self) -> None:
        self.issues: list[Issue] = []
        self.total = 0

    def add(self, code: str, path: Path, message: str) -> None:
        """Count an issue."""
        self.total += 1
        if len(self.issues) < MAX_ISSUES:
            self.issues.append(Issue(code=code, pointer=pointer(*path), message=message))

    def hint(self, name: str, known: Iterable[str]) -> str:
        """Return what the next issue says of an unknown id."""
        return did_you_mean(name, known) if len(self.issues) < MAX_HINTS else ""


def diff(before: Any, after: Any) -> Any:
    """Return the smallest such patch that makes `after` of `before`, except that null members count as absent ones.

    ValueError: no patch can, since an object would have to take the place of a list with ids.
    """
    if isinstance(before, dict) and isinstance(after, dict):
        return _diff_objects(before, after)
    if _is_keyed(before):
        if isinstance(after, dict):
            raise ValueError("no merge patch puts an object in the place of a list with ids")
        if _is_keyed(after) and (by_id := _diff_entries(before, after)) is not None:
            return min(by_id, after, key=lambda patch: len(msgspec.json.encode(patch)))
    return after


def _merge(target: Any, patch: Any, path: Path, refusals: _Refusals) -> Any:
    if not isinstance(patch, dict):
        return patch
    if _is_keyed(target):
        return _merge_entries(target, patch, path, refusals)
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merge(merged.get(name), value, (*path, name), refusals)
    return merged


def _merge_entries(
    entries: list[dict[str, Any]], patch: dict[str, Any], path: Path, refusals: _Refusals
) -> list[dict[str, Any]]:
    merged = {entry[ID]: entry for entry in entries}
    for name, value in patch.items():
        at = (*path, name)
        if value is None and name not in merged:
            message = f"There is no entry {show(name)} to remove.{refusals.hint(name, merged)}"
            refusals.add("unknown_id", at, message)
        elif value is None:
            del merged[name]
        elif not isinstance(value, dict):
            message = f"An entry is changed by an object or removed by null, not by {show(value)}."
            refusals.add("wrong_type", at, message)
        elif value.get(ID, name) != name:
            message = f"The id of {show(name)} cannot be changed: remove it and add another."
            refusals.add("bad_value", (*at, ID), message)
        else:
            merged[name] = {ID: name, **_merge(merged.get(name), value, at, refusals)}
    return list(merged.values())


def _is_keyed(value: Any) -> bool:
    """Tell whether a value is a list whose entries can be told apart by their ids."""
    if not isinstance(value, list):
        return False
    ids = [entry.get(ID) if isinstance(entry, dict) else None for entry in value]
    return all(isinstance(name, str) for name in ids) and len(set(ids)) == len(ids)


def _diff_objects(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    patch: dict[str, Any] = {}
    for name, value in before.items():
        if value is not None and after.get(name) is None:
            patch[name] = None
    for name, value in after.items():
        if value is not None and not _same(before.get(name), value):
            patch[name] = diff(before.get(name), value)
    return patch


def _diff_entries(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the patch by id; None where the order of the entries cannot come out right."""
    old = {entry[ID]: entry for entry in before}
    new = {entry[ID]: entry for entry in after}
    kept = [name for name in old if name in new]
    if list(new)[: len(kept)] != kept:
        return None
    patch: dict[str, Any] = {name: None for name in old if name not in new}
    for name, entry in new.items():
        if name not in old:
            patch[name] = entry
        elif not _same(old[name], entry):
            patch[name] = _diff_objects(old[name], entry)
    return patch


def _same(one: Any, other: Any) -> bool:
    """Tell whether two values are the same in JSON: `true` is not `1`, but `1` is `1.0`."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)
