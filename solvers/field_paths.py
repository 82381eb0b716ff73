"""A number of a problem by its path: names from the root on, and the id of an entry where the path meets a list."""

from dataclasses import dataclass
from typing import Any, TypeVar, cast

import msgspec

P = TypeVar("P")


@dataclass(frozen=True, kw_only=True)
class FieldAt:
    """A field of a problem by its path: names, and the ids of entries of lists, from the problem's root on."""

    path: tuple[str, ...]

    def patch(self, value: float) -> dict[str, Any]:
        """Return the merge patch of the problem that gives the field this value."""
        return patch_at(self.path, value)

    def change(self, problem: P, value: float) -> P:
        """Return the problem with the field at this value, as the patch would make it."""
        return changed_at(problem, self.path, value)


def patch_at(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """Return the merge patch that gives the field at the path this value.

    >>> patch_at(("tranches", "senior", "max_amount"), 500000)
    {'tranches': {'senior': {'max_amount': 500000}}}
    """
    patch = value
    for part in reversed(path):
        patch = {part: patch}
    return cast("dict[str, Any]", patch)


def changed_at(problem: P, path: tuple[str, ...], value: Any) -> P:
    """Return the problem, or a part of it, with the field at the path at this value, as the patch would make it."""
    if not path:
        return cast("P", value)
    head, rest = path[0], path[1:]
    whole: Any = problem
    if isinstance(whole, list):
        return cast("P", [changed_at(entry, rest, value) if entry.id == head else entry for entry in whole])
    if isinstance(whole, dict):
        return cast("P", whole | {head: changed_at(whole.get(head), rest, value)})
    return cast("P", msgspec.structs.replace(whole, **{head: changed_at(getattr(whole, head), rest, value)}))
