"""Types and values in plain words, for messages that teach."""

import json
import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any, Final

from msgspec import inspect

from solvers.type_values import allowed_values

Path = tuple[str | int, ...]

_LONGEST_SHOWN: Final = 40
_MOST_LISTED: Final = 20
_NUMBER: Final = re.compile(r"\s*[-+]?\d+([.]\d+)?([eE][-+]?\d+)?\s*$")

_NOUNS: Final[dict[type[inspect.Type], str]] = {
    inspect.AnyType: "any value",
    inspect.NoneType: "null",
    inspect.BoolType: "true or false",
    inspect.IntType: "a whole number",
    inspect.FloatType: "a number",
    inspect.StrType: "text",
    inspect.BytesType: "base64 text",
    inspect.DateTimeType: 'a time such as "2026-01-31T12:00:00Z"',
    inspect.DateType: 'a date such as "2026-01-31"',
    inspect.TimeType: 'a time of day such as "12:00:00"',
    inspect.TimeDeltaType: 'a duration such as "P1DT2H"',
    inspect.UUIDType: "a UUID",
    inspect.DecimalType: "a decimal number",
    inspect.ListType: "a list",
    inspect.SetType: "a list",
    inspect.FrozenSetType: "a list",
    inspect.VarTupleType: "a list",
    inspect.TupleType: "a list",
    inspect.NamedTupleType: "a list",
    inspect.DictType: "an object",
    inspect.StructType: "an object",
    inspect.TypedDictType: "an object",
    inspect.DataclassType: "an object",
}


def unwrap(type_: inspect.Type) -> inspect.Type:
    """Return a type without its schema notes."""
    while isinstance(type_, inspect.Metadata):
        type_ = type_.type
    return type_


def describe(type_: inspect.Type) -> str:
    """Return what a type asks for: "a number ≥ 0", "text or null"."""
    type_ = unwrap(type_)
    if isinstance(type_, inspect.UnionType):
        return " or ".join(dict.fromkeys(describe(option) for option in type_.types))
    if isinstance(type_, inspect.EnumType | inspect.LiteralType):
        return "one of " + listed(allowed_values(type_))
    noun = _NOUNS.get(type(type_), "a value of another type")
    if isinstance(type_, inspect.IntType | inspect.FloatType) and (bounds := range_of(type_)):
        return f"{noun} {bounds}"
    return noun


def range_of(type_: inspect.IntType | inspect.FloatType) -> str:
    """Return the range of a number: "≥ 0 and ≤ 1", or nothing."""
    signs = (("≥", type_.ge), (">", type_.gt), ("≤", type_.le), ("<", type_.lt))
    return " and ".join(f"{sign} {limit:.15g}" for sign, limit in signs if limit is not None)


def listed(values: Iterable[Any]) -> str:
    """Return values side by side, as JSON, the first twenty of them."""
    shown = [show(value) for value in values]
    more = f", … ({len(shown)} in all)" if len(shown) > _MOST_LISTED else ""
    return ", ".join(shown[:_MOST_LISTED]) + more


def show(value: Any) -> str:
    """Return a value as JSON would have it, cut when long; lists and objects by their noun only."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return "a number too large to hold"
    text = json.dumps(value, ensure_ascii=False, default=str)
    if len(text) <= _LONGEST_SHOWN:
        return text
    return text[:_LONGEST_SHOWN] + ("…" + '"' if isinstance(value, str) else "…")


def did_you_mean(name: Any, known: Iterable[Any], say: Callable[[Any], str] = show) -> str:
    """Return " Did you mean …?" where a known name looks much like this one, else nothing."""
    names = {str(candidate).lower(): candidate for candidate in known}
    if not isinstance(name, str) or len(name) > _LONGEST_SHOWN:
        return ""
    close = get_close_matches(name.lower(), names, n=1)
    return f" Did you mean {say(names[close[0]])}?" if close else ""


def ticked(name: Any) -> str:
    """Return a field's name as messages write it, cut when long."""
    text = str(name)
    return f"`{text[:_LONGEST_SHOWN]}…`" if len(text) > _LONGEST_SHOWN else f"`{text}`"


def subject(path: Path) -> str:
    """Return what a message is about: `price`, `after[2]`, or the document itself."""
    at = max((place for place, part in enumerate(path) if isinstance(part, str)), default=-1)
    indexes = "".join(f"[{part}]" for part in path[at + 1 :])
    if at < 0:
        return f"Entry {indexes}" if indexes else "The document"
    return ticked(f"{path[at]}{indexes}")


def must_be(type_: inspect.Type, value: Any, path: Path) -> str:
    """Return the message of a value of the wrong type, with a hint where a slip of the pen is likely."""
    return f"{subject(path)} must be {describe(type_)}, is {show(value)}.{_slip(type_, value)}"


def _slip(type_: inspect.Type, value: Any) -> str:
    options = type_.types if isinstance(type_, inspect.UnionType) else (type_,)
    wanted = tuple(type(unwrap(option)) for option in options)
    if value is None:
        return " Where a field may be left out, leave it out."
    if isinstance(value, str) and (inspect.IntType in wanted or inspect.FloatType in wanted) and _NUMBER.match(value):
        return " Write numbers without quotes."
    if isinstance(value, float) and inspect.IntType in wanted and value.is_integer():
        return " Write it without a decimal point."
    if type(value) in {int, float} and inspect.StrType in wanted:
        return " Write text in quotes."
    return ""


def missing(field: inspect.Field, path: Path) -> str:
    """Return the message of a field left out that must be given."""
    return f"{subject(path)} is missing: {describe(field.type)}."


def unknown(known: Iterable[str], path: Path) -> str:
    """Return the message of a field that does not exist, with the nearest one or all there are."""
    names = sorted(known)
    hint = did_you_mean(path[-1], names, ticked) or f" There are {', '.join(map(ticked, names[:_MOST_LISTED]))}."
    return f"There is no field {ticked(path[-1])} here.{hint if names else ''}"
