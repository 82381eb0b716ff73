"""All that keeps plain values from being of a type, each with its JSON pointer: the slow, teaching twin of msgspec.

msgspec stops at the first error; here the types it declares (`msgspec.inspect`) are walked beside the values. Codes:
missing_field, unknown_field, wrong_type, out_of_range, not_finite, not_allowed, too_long, too_short, bad_value.
"""

import math
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, cast

from msgspec import inspect

from solvers.issues import Issue, pointer
from solvers.type_values import INT64, allowed_values, fits, is_exactly, python_type, refusal
from solvers.type_words import (
    Path,
    did_you_mean,
    listed,
    missing,
    must_be,
    range_of,
    show,
    subject,
    unknown,
    unwrap,
)

MAX_COUNTED: Final = 100_000  # hopeless input is not counted to its end


def find_issues(value: Any, type_: Any, *, max_issues: int, ordinary: bool) -> tuple[list[Issue], int]:
    """Return the first `max_issues` issues and how many there are in all (counted up to MAX_COUNTED).

    ordinary: no number in `value` is infinite or beyond 64 bits, so that an object that msgspec takes needs no walk.
    """
    search = _Search(max_issues, ordinary=ordinary)
    with suppress(_EnoughError):
        search.visit(value, inspect.type_info(type_), ())
    return search.issues, search.total


class _EnoughError(Exception):
    """MAX_COUNTED issues were counted."""


class _Search:
    def __init__(self, max_issues: int, *, ordinary: bool) -> None:
        self.issues: list[Issue] = []
        self.total = 0
        self._max_issues = max_issues
        self._ordinary = ordinary

    def add(self, code: str, path: Path, message: Callable[[], str]) -> None:
        """Count an issue; its message is made only when there is room for it."""
        self.total += 1
        if len(self.issues) < self._max_issues:
            self.issues.append(Issue(code=code, pointer=pointer(*path), message=message()))
        if self.total >= MAX_COUNTED:
            raise _EnoughError

    def visit(self, value: Any, declared: inspect.Type, path: Path) -> None:
        """Look at one value and all below it."""
        type_ = unwrap(declared)
        if isinstance(type_, inspect.UnionType):
            self._union(value, type_, path)
        elif not fits(value, type_):
            self.add("wrong_type", path, lambda: must_be(type_, value, path))
        elif isinstance(type_, inspect.StructType) and not type_.array_like:
            self._struct(value, type_, path)
        elif isinstance(type_, inspect.DictType):
            self._dict(value, type_, path)
        elif isinstance(type_, inspect.TupleType):
            self._tuple(value, type_, path)
        elif isinstance(type_, inspect.CollectionType):
            self._list(value, type_, path)
        else:
            self._scalar(value, type_, path)

    def _scalar(self, value: Any, type_: inspect.Type, path: Path) -> None:
        match type_:
            case inspect.FloatType():
                self._float(value, type_, path)
            case inspect.IntType():
                self._integer(value, type_, path)
            case inspect.StrType():
                self._text(value, type_, path)
            case inspect.EnumType() | inspect.LiteralType():
                if refusal(value, python_type(type_)):
                    self._not_allowed(value, allowed_values(type_), path)
            case inspect.AnyType():
                self._anything(value, path)
            case inspect.NoneType() | inspect.BoolType():
                pass
            case _:
                self._other(value, type_, path)

    def _union(self, value: Any, union: inspect.UnionType, path: Path) -> None:
        options = [option for option in map(unwrap, union.types) if fits(value, option)]
        if not options:
            self.add("wrong_type", path, lambda: must_be(union, value, path))
        elif len(options) > 1 and isinstance(options[0], inspect.StructType):
            self._tagged(value, cast("list[inspect.StructType]", options), path)
        else:  # of `int | float`, whole numbers go to the first
            self.visit(value, min(options, key=lambda option: isinstance(option, inspect.FloatType)), path)

    def _tagged(self, value: dict[str, Any], options: list[inspect.StructType], path: Path) -> None:
        """Choose one of several objects by its tag."""
        tag_path = (*path, cast("str", options[0].tag_field))
        tags = [option.tag for option in options]
        if tag_path[-1] not in value:
            self.add("missing_field", tag_path, lambda: f"{subject(tag_path)} is missing: one of {listed(tags)}.")
            return
        tag = value[tag_path[-1]]
        chosen = [option for option in options if is_exactly(tag, option.tag)]
        if chosen:
            self.visit(value, chosen[0], path)
        else:
            self._not_allowed(tag, tags, tag_path)

    def _struct(self, value: dict[str, Any], struct: inspect.StructType, path: Path) -> None:
        if self._ordinary and refusal(value, struct.cls) is None:
            return
        known = {field.encode_name for field in struct.fields}
        for field in struct.fields:
            if field.encode_name in value:
                self.visit(value[field.encode_name], field.type, (*path, field.encode_name))
            elif field.required:
                self._missing(field, (*path, field.encode_name))
        tag = value.get(struct.tag_field, struct.tag) if struct.tag_field else None
        if not is_exactly(tag, struct.tag):
            self._not_allowed(tag, [struct.tag], (*path, cast("str", struct.tag_field)))
        if struct.forbid_unknown_fields:
            for name in [name for name in value if name not in known and name != struct.tag_field]:
                self._unknown(known, (*path, name))

    def _missing(self, field: inspect.Field, path: Path) -> None:
        self.add("missing_field", path, lambda: missing(field, path))

    def _unknown(self, known: set[str], path: Path) -> None:
        self.add("unknown_field", path, lambda: unknown(known, path))

    def _list(self, value: list[Any], type_: inspect.CollectionType, path: Path) -> None:
        self._length(value, type_, path, "entries")
        for index, item in enumerate(value):
            self.visit(item, type_.item_type, (*path, index))

    def _tuple(self, value: list[Any], type_: inspect.TupleType, path: Path) -> None:
        wanted = len(type_.item_types)
        if len(value) != wanted:
            code = "too_short" if len(value) < wanted else "too_long"
            self.add(code, path, lambda: f"{subject(path)} must have {wanted} entries, has {len(value)}.")
        for index, (item, item_type) in enumerate(zip(value, type_.item_types, strict=False)):
            self.visit(item, item_type, (*path, index))

    def _dict(self, value: dict[str, Any], type_: inspect.DictType, path: Path) -> None:
        self._length(value, type_, path, "entries")
        key_type = unwrap(type_.key_type)
        for key, item in value.items():
            if isinstance(key_type, inspect.StrType):
                self._text(key, key_type, (*path, key))
            elif refusal({key: None}, dict[python_type(key_type), Any]):  # type: ignore[misc]
                self._bad_key(key, key_type, (*path, key))
            self.visit(item, type_.value_type, (*path, key))

    def _bad_key(self, key: str, type_: inspect.Type, path: Path) -> None:
        if isinstance(type_, inspect.EnumType | inspect.LiteralType):
            self._not_allowed(key, allowed_values(type_), path)
        else:
            self.add("bad_value", path, lambda: must_be(type_, key, path))

    def _integer(self, value: int, type_: inspect.IntType, path: Path) -> None:
        if value in INT64:
            self._bounds(value, type_, path)
        else:
            self.add("out_of_range", path, lambda: f"{subject(path)} must fit a 64-bit whole number.")

    def _float(self, value: float, type_: inspect.FloatType, path: Path) -> None:
        try:
            number = float(value)  # whole numbers come as int
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            self._bounds(number, type_, path)
        else:
            self.add("not_finite", path, lambda: f"{subject(path)} must be a finite number, is {show(number)}.")

    def _bounds(self, value: float, type_: inspect.IntType | inspect.FloatType, path: Path) -> None:
        if (
            (type_.ge is not None and value < type_.ge)
            or (type_.gt is not None and value <= type_.gt)
            or (type_.le is not None and value > type_.le)
            or (type_.lt is not None and value >= type_.lt)
        ):
            self.add("out_of_range", path, lambda: f"{subject(path)} must be {range_of(type_)}, is {show(value)}.")
        elif (step := type_.multiple_of) is not None and math.fmod(value, step) != 0:
            self.add("bad_value", path, lambda: f"{subject(path)} must be a multiple of {step:g}, is {show(value)}.")

    def _text(self, value: str, type_: inspect.StrType, path: Path) -> None:
        self._length(value, type_, path, "characters")
        if type_.pattern is not None and not re.search(type_.pattern, value):
            self.add("bad_value", path, lambda: f"{subject(path)} must match {type_.pattern}, is {show(value)}.")

    def _length(self, value: Any, type_: Any, path: Path, unit: str) -> None:
        least, most, length = type_.min_length, type_.max_length, len(value)
        if least is not None and length < least:
            wanted = "must not be empty" if least == 1 else f"must have at least {least} {unit}, has {length}"
            self.add("too_short", path, lambda: f"{subject(path)} {wanted}.")
        if most is not None and length > most:
            self.add("too_long", path, lambda: f"{subject(path)} may have at most {most} {unit}, has {length}.")

    def _not_allowed(self, value: Any, allowed: list[Any], path: Path) -> None:
        def message() -> str:
            hint = did_you_mean(value, allowed)
            return f"{subject(path)} must be one of {listed(allowed)}, is {show(value)}.{hint}"

        self.add("not_allowed", path, message)

    def _anything(self, value: Any, path: Path) -> None:
        """Any value is right, as long as its numbers can be held."""
        if self._ordinary:
            return
        if isinstance(value, dict):
            for key, item in value.items():
                self._anything(item, (*path, key))
        elif isinstance(value, list | tuple):
            for index, item in enumerate(value):
                self._anything(item, (*path, index))
        elif isinstance(value, float):
            self._float(value, inspect.FloatType(), path)
        elif isinstance(value, int):
            self._integer(value, inspect.IntType(), path)

    def _other(self, value: Any, type_: inspect.Type, path: Path) -> None:
        """Leave dates, times, ids and foreign classes to msgspec's judgement."""
        reason = refusal(value, python_type(type_))
        if reason and hasattr(type_, "cls"):
            self.add("bad_value", path, lambda: f"{subject(path)}: {reason}.")
        elif reason:
            self.add("bad_value", path, lambda: must_be(type_, value, path))
