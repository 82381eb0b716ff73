"""Bytes or plain values in, a typed problem or every issue out.

Numbers: an integer must fit 64 bits and a float must be finite (`1e999` is `not_finite`); `1.0` is no integer; `true`
and `"1"` are no numbers. A key that comes twice counts by its last value, as everywhere in JSON; its earlier values
must have the right type all the same.
"""

import math
import re
from typing import Any, Final, Generic, TypeVar

import msgspec

from milpa.errors import UsageError
from solvers.issues import Issue, pointer
from solvers.json_text import brackets, deeper_than, has_long_integer, long_number, place, why_malformed
from solvers.type_issues import find_issues
from solvers.type_values import INT64

T = TypeVar("T")

MAX_DEPTH: Final = 64
MAX_ISSUES: Final = 1000
MAX_CONTAINERS: Final = (
    2_000_000  # a refused body with more arrays and objects is not unfolded in search of further issues
)

_CODES: Final = {"Number out": "not_finite", "Integer value out": "out_of_range", "Expected `": "wrong_type"}
_LOCATION: Final = re.compile(r"^(.*?)(?: - at (?:`key` in )?`\$(.*)`)?$", re.DOTALL)
_STEP: Final = re.compile(r"\.([^.\[]+)|\[(\d+)\]")


class MalformedJSON(UsageError):  # noqa: N818 (named after what it is, as the API's problem type is)
    """The bytes are not JSON at all; the message says where, by line and column as far as known."""

    def __init__(self, message: str) -> None:
        super().__init__("malformed_json", message)


class Decoded(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A value, or what is wrong with it: `value` is None as soon as there is one issue.

    issues: the first ones found, pointers from the document's root. total: how many there are in all; counting ends at
    `type_issues.MAX_COUNTED`.
    """

    value: T | None
    issues: list[Issue] = []
    total: int = 0


def decode(
    data: bytes,
    type_: type[T],
    *,
    max_depth: int = MAX_DEPTH,
    max_number: int | None = None,
    max_issues: int = MAX_ISSUES,
) -> Decoded[T]:
    """Decode JSON to `type_`, strictly, or list all that keeps it from being one. MalformedJSON: it is no JSON.

    max_depth: levels of arrays and objects within each other. max_number: characters of one number, None for any.
    max_issues: how many are listed; `total` tells the rest.
    """
    if max_number is not None and (at := long_number(data, max_number)) is not None:
        raise MalformedJSON(f"The number at {place(data, at)} has more than {max_number:,} characters.")
    marks = brackets(data)
    if deeper_than(marks, max_depth):
        raise MalformedJSON(f"Arrays and objects nest deeper than {max_depth} levels.")
    try:
        value = msgspec.json.decode(data, type=type_)
    except msgspec.ValidationError as error:
        if marks.count(b"[") > MAX_CONTAINERS:
            return _refused(error)
        return _all_issues(data, type_, error, max_issues)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedJSON(why_malformed(data, str(error))) from None
    if has_long_integer(data):
        issues, total = find_issues(msgspec.json.decode(data), type_, max_issues=max_issues, ordinary=False)
        if total:
            return Decoded(value=None, issues=issues, total=total)
    return Decoded(value=value)


def convert(value: Any, type_: type[T], *, max_issues: int = MAX_ISSUES) -> Decoded[T]:
    """Turn plain values (after merging rows or a patch) into `type_`, as `decode` does."""
    ordinary = _ordinary(value)
    refusal: msgspec.ValidationError | None = None
    try:
        converted = msgspec.convert(value, type_, str_keys=True)
    except msgspec.ValidationError as error:
        refusal = error
    if refusal is None and ordinary:
        return Decoded(value=converted)
    issues, total = find_issues(value, type_, max_issues=max_issues, ordinary=ordinary)
    if total:
        return Decoded(value=None, issues=issues, total=total)
    return Decoded(value=converted) if refusal is None else _refused(refusal)


def _all_issues(data: bytes, type_: type[T], refusal: msgspec.ValidationError, max_issues: int) -> Decoded[T]:
    """Unfold refused JSON to plain values and walk them; `refusal` stands alone where the walk finds nothing."""
    infinite = []

    def to_float(text: str) -> float:
        number = float(text)
        if not math.isfinite(number):
            infinite.append(text)
        return number

    try:
        value = msgspec.json.Decoder(float_hook=to_float).decode(data)
    except msgspec.ValidationError:  # an integer of more than 4300 digits
        return _refused(refusal)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedJSON(why_malformed(data, str(error))) from None
    ordinary = not infinite and not has_long_integer(data)
    issues, total = find_issues(value, type_, max_issues=max_issues, ordinary=ordinary)
    return Decoded(value=None, issues=issues, total=total) if total else _refused(refusal)


def _refused(error: msgspec.ValidationError) -> Decoded[T]:
    """Return msgspec's own words as the only issue, with its path as a pointer as far as it is known."""
    found = _LOCATION.match(str(error))
    text, path = (found[1], found[2] or "") if found else (str(error), "")
    parts = [name or int(index) for name, index in _STEP.findall(path.split("[...]")[0])]
    code = next((code for start, code in _CODES.items() if text.startswith(start)), "bad_value")
    return Decoded(value=None, issues=[Issue(code=code, pointer=pointer(*parts), message=f"{text}.")], total=1)


def _ordinary(value: Any) -> bool:
    """Tell whether every number in plain values is finite and every integer fits 64 bits."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return value in INT64
    if isinstance(value, dict):
        return all(map(_ordinary, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_ordinary, value))
    return True
