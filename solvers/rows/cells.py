"""One cell: its text to a value of a declared type, and back.

A list is `a|b`, a mapping `crew=2|crane=1`; numbers have a decimal point and nothing else between their digits. Space
around is no part of a cell.
"""

import math
import re
from collections.abc import Callable
from typing import Any, Final

from msgspec import inspect

from solvers.type_values import INT64, allowed_values
from solvers.type_words import describe, show, unwrap

LIST_MARK: Final = "|"
PAIR_MARK: Final = "="

Parse = Callable[[str], Any]

_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_GROUPED: Final = re.compile(r"\d,|,\d|\d['’\s]+\d|\d\.\d+\.\d")
"""Marks that are no decimal point for sure: 12,5 or 1.234.567 or 1'000 or 1 000."""
_TRUTH: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_MIDNIGHT: Final = re.compile(r"(\d{4}-\d\d-\d\d)[ T]00:00:00(\.0+)?")
_EXACT_FLOAT: Final = 2**53


class CellError(ValueError):
    """A cell that cannot be read: a stable code and a message that teaches."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def parser(declared: inspect.Type) -> Parse:
    """Return what reads a cell's text as a type; it raises CellError. TypeError: no cell can hold such a type."""
    type_ = unwrap(declared)
    if simple := _SIMPLE.get(type(type_)):
        return simple
    match type_:
        case inspect.EnumType() | inspect.LiteralType():
            return _choice_reader(type_)
        case inspect.UnionType():
            return _union_reader(type_)
        case inspect.CollectionType():
            return _list_reader(type_)
        case inspect.DictType():
            return _mapping_reader(type_)
    raise TypeError(f"no cell can hold {describe(type_)}")


def write(value: Any) -> str:
    """Return the text of a value, which the parser of its type reads back as the same value."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return LIST_MARK.join(f"{key}{PAIR_MARK}{write(item)}" for key, item in value.items())
    if isinstance(value, list):
        return LIST_MARK.join(map(write, value))
    return str(value)


def read_number(text: str) -> float:
    """Read a finite number."""
    if not _NUMBER.fullmatch(text):
        raise _not_a_number(text, "a number")
    number = float(text)
    if not math.isfinite(number):
        raise CellError("not_finite", f"{show(text)} is too large a number.")
    return number


def read_whole(text: str) -> int:
    """Read a whole number of 64 bits; `3.0` is one, since spreadsheets write so."""
    if not _NUMBER.fullmatch(text):
        raise _not_a_number(text, "a whole number")
    try:
        number = int(text)
    except ValueError:
        decimal = float(text)
        if not (decimal.is_integer() and abs(decimal) <= _EXACT_FLOAT):
            raise CellError("wrong_type", f"{show(text)} is not a whole number.") from None
        number = int(decimal)
    if number not in INT64:
        raise CellError("out_of_range", f"{show(text)} does not fit a 64-bit whole number.")
    return number


def _not_a_number(text: str, wanted: str) -> CellError:
    quoted = show(text)
    if text.endswith("%"):
        return CellError("wrong_type", f"{quoted} is a percentage: write it as a fraction, 6.5% as 0.065.")
    if _GROUPED.search(text):
        return CellError(
            "ambiguous_number",
            f"{quoted} reads differently from country to country: write 1234.5, with a point and no other marks, "
            "or give an .xlsx file, whose numbers may look as they like.",
        )
    if text.lower().lstrip("+-") in {"nan", "inf", "infinity"}:
        return CellError("not_finite", f"{quoted} is no finite number; leave the cell empty if there is none.")
    if text.startswith("#"):
        return CellError("wrong_type", f"The formula of this cell ends in the error {quoted}.")
    return CellError("wrong_type", f"{quoted} is not {wanted}.")


def _read_truth(text: str) -> bool:
    try:
        return _TRUTH[text.lower()]
    except KeyError:
        raise CellError(
            "wrong_type", f"{show(text)} is neither true nor false: write true, yes or 1, or false, no or 0."
        ) from None


def _read_date(text: str) -> str:
    """Take the time off a day that a spreadsheet gives at midnight; whether it is a date, decoding tells."""
    midnight = _MIDNIGHT.fullmatch(text)
    return midnight[1] if midnight else text


def _choice_reader(type_: inspect.EnumType | inspect.LiteralType) -> Parse:
    choices = {write(value): value for value in allowed_values(type_)}
    return lambda text: choices.get(text, text)


def _list_reader(type_: inspect.CollectionType) -> Parse:
    read_item = parser(type_.item_type)

    def read(text: str) -> list[Any]:
        parts = [part.strip() for part in text.split(LIST_MARK)]
        if "" in parts:
            raise CellError("bad_value", f"{show(text)} has an empty entry: write a list as one{LIST_MARK}other.")
        return [read_item(part) for part in parts]

    return read


def _mapping_reader(type_: inspect.DictType) -> Parse:
    read_item = parser(type_.value_type)

    def read(text: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for part in text.split(LIST_MARK):
            key, mark, item = (piece.strip() for piece in part.rpartition(PAIR_MARK))
            if not (key and mark):
                raise CellError("wrong_type", f"{show(text)} is not a mapping: write it as name=2{LIST_MARK}other=1.")
            if key in found:
                raise CellError("bad_value", f"{show(text)} names {show(key)} twice.")
            found[key] = read_item(item)
        return found

    return read


def _union_reader(union: inspect.UnionType) -> Parse:
    """Read by the first option that can: a choice that is named, else a number, else a list or mapping, else text."""
    options = [unwrap(option) for option in union.types if not isinstance(unwrap(option), inspect.NoneType)]
    ranked = sorted(options, key=_rank)
    readers = [parser(option) for option in ranked]
    if len(readers) == 1:
        return readers[0]
    named = {write(value) for option in options if _rank(option) == 0 for value in allowed_values(option)}  # type: ignore[arg-type]

    def read(text: str) -> Any:
        refusal: CellError | None = None
        for option, reader in zip(ranked, readers, strict=True):
            if _rank(option) == 0 and text not in named:
                continue
            try:
                return reader(text)
            except CellError as error:
                refusal = refusal or error
        raise refusal or CellError("not_allowed", f"{show(text)} is not {describe(union)}.")

    return read


def _rank(type_: inspect.Type) -> int:
    order: list[Any] = [
        inspect.EnumType | inspect.LiteralType,
        inspect.BoolType,
        inspect.IntType,
        inspect.FloatType,
        inspect.DictType,
        inspect.CollectionType,
    ]
    return next((place for place, classes in enumerate(order) if isinstance(type_, classes)), len(order))


_SIMPLE: Final[dict[type[inspect.Type], Parse]] = {
    inspect.FloatType: read_number,
    inspect.IntType: read_whole,
    inspect.BoolType: _read_truth,
    inspect.DateType: _read_date,
    inspect.DateTimeType: str,
    inspect.UUIDType: str,
    inspect.StrType: str,
}
