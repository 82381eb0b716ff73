"""Issues that every kind looks for beyond what its types say."""

from collections.abc import Iterable, Iterator
from math import isfinite
from typing import Any

import msgspec

from solvers.issues import Issue, pointer


def not_finite(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[Issue]:
    """Yield an issue for each number anywhere in a problem that is not finite."""
    if isinstance(value, float) and not isfinite(value):
        yield Issue(code="not_finite", pointer=pointer(*path), message="A number must be finite.")
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from not_finite(entry, (*path, index))
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield from not_finite(entry, (*path, key))
    elif isinstance(value, msgspec.Struct):
        for field in value.__struct_fields__:
            yield from not_finite(getattr(value, field), (*path, field))


def duplicates(table: str, field: str, names: Iterable[str]) -> Iterator[Issue]:
    """Yield an issue for each entry of a list whose name an earlier one has."""
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            message = f"{name!r} is used twice; each {field} in {table} must be its own."
            yield Issue(code="duplicate_id", pointer=pointer(table, index, field), message=message)
        seen.add(name)
