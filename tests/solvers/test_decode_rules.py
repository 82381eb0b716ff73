"""Decoding, on random types, values and bytes: the teaching walk and msgspec agree."""

import datetime as dt
import enum
import json
import uuid
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta, defstruct, inspect

from solvers.decode import MalformedJSON, convert, decode
from solvers.json_text import brackets, deeper_than, has_long_integer
from solvers.type_values import INT64


class Mode(enum.StrEnum):
    FRACTIONAL = "fractional"
    WHOLE = "whole"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Fixed(msgspec.Struct, tag="fixed", forbid_unknown_fields=True):
    rate: float


class Floating(msgspec.Struct, tag="floating", forbid_unknown_fields=True):
    spread: float


class Deal(msgspec.Struct, forbid_unknown_fields=True):
    id: Annotated[str, Meta(min_length=1)]
    price: Annotated[float, Meta(gt=0)]


class Problem(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    budget: Annotated[float, Meta(gt=0)]
    mode: Mode = Mode.FRACTIONAL
    deals: list[Deal] = []


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(INT64[0], INT64[-1])
    | st.integers(-3, 4)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0.5, 1.0, 2.0, -1.5])
    | st.sampled_from(["", "a", "b", "fractional", "1", "2026-01-01", "2026-01-01T00:00:00Z", str(uuid.UUID(int=5))])
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["x", "y", "1", "type", "é/~"]), inner),
    max_leaves=12,
)


class Point(NamedTuple):
    x: int
    y: float


scalars: list[Any] = [
    bool,
    int,
    float,
    str,
    None,
    Any,
    Mode,
    Level,
    dt.date,
    dt.datetime,
    uuid.UUID,
    Literal["a", "b"],
    Literal[1] | None,
    Annotated[int, Meta(ge=0, lt=3)],
    Annotated[float, Meta(gt=-1, le=2)],
    Annotated[int, Meta(multiple_of=2)],
    Annotated[str, Meta(min_length=1, max_length=2)],
    Annotated[str, Meta(pattern="^[a-f]")],
    int | float,
    int | str | None,
    float | Literal["a"],
    Fixed | Floating,
    Fixed | None,
    Point,
]


def _larger(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    fields = st.dictionaries(st.sampled_from(["x", "y"]), inner, min_size=1)
    return st.one_of(
        inner.map(lambda t: list[t]),
        inner.map(lambda t: Annotated[list[t], Meta(min_length=1, max_length=2)]),
        inner.map(lambda t: tuple[t, ...]),
        st.tuples(inner, inner).map(lambda pair: tuple[pair]),
        inner.map(lambda t: dict[str, t]),
        inner.map(lambda t: Annotated[dict[str, t], Meta(max_length=1)]),
        st.tuples(st.sampled_from([Mode, Level, int, dt.date, Literal["x", "1"]]), inner).map(lambda kv: dict[kv]),
        st.tuples(fields, st.booleans()).map(
            lambda made: defstruct("Made", list(made[0].items()), forbid_unknown_fields=made[1])
        ),
        fields.map(
            lambda made: (
                defstruct("Renamed", [(name, t | None, None) for name, t in made.items()], rename={"x": "é/~"})
                if not {None, Any} & set(made.values())
                else list[Any]
            )
        ),
    )


types = st.recursive(st.sampled_from(scalars), _larger, max_leaves=5)


def _mostly(type_: inspect.Type) -> st.SearchStrategy[Any]:
    """Plain values that are right for a type more often than not, down to each of their parts."""
    return st.integers(0, 9).flatmap(lambda dice: plain if dice == 0 else _right(type_))


def _right(type_: inspect.Type) -> st.SearchStrategy[Any]:  # noqa: PLR0911 (one line per type)
    match type_:
        case inspect.UnionType():
            return st.one_of([_right(option) for option in type_.types])
        case inspect.TupleType():
            return st.tuples(*map(_mostly, type_.item_types)).map(list)
        case inspect.CollectionType():
            return st.lists(_mostly(type_.item_type), max_size=3)
        case inspect.DictType():
            return st.dictionaries(_right(type_.key_type).map(str), _mostly(type_.value_type), max_size=2)
        case inspect.StructType():
            tag = {type_.tag_field: type_.tag} if type_.tag_field else {}
            fields = {field.encode_name: _mostly(field.type) for field in type_.fields}
            return st.fixed_dictionaries({}, optional=fields | {"other": plain}).map(lambda made: tag | made)
        case inspect.EnumType():
            return st.sampled_from([member.value for member in type_.cls])
        case inspect.IntType() | inspect.FloatType():
            return st.integers(-1, 3)
        case inspect.StrType() | inspect.LiteralType():
            return st.sampled_from(["a", "x", "abc"])
        case _:
            return plain


cases = types.flatmap(lambda type_: st.tuples(st.just(type_), _mostly(inspect.type_info(type_))))


def _msgspec_takes(data: bytes, type_: Any) -> bool:
    try:
        msgspec.json.decode(data, type=type_)
    except msgspec.ValidationError:
        return False
    return True


def _at(value: Any, pointer: str) -> Any:
    for escaped in pointer.split("/")[1:]:
        part = escaped.replace("~1", "/").replace("~0", "~")
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value


@settings(max_examples=400)
@given(cases)
def test_it_takes_what_msgspec_takes_and_points_at_what_is_there(case: tuple[Any, Any]) -> None:
    type_, value = case
    data = msgspec.json.encode(value)
    decoded = decode(data, type_)
    assert (decoded.total == 0) == _msgspec_takes(data, type_)
    assert (convert(value, type_).total == 0) == (decoded.total == 0)
    for issue in decoded.issues:
        at = issue.pointer.rpartition("/")[0] if issue.code == "missing_field" else issue.pointer
        _at(value, at)


@settings(max_examples=400)
@given(cases)
def test_the_walk_finds_a_reason_of_its_own_for_every_refusal(case: tuple[Any, Any]) -> None:
    type_, value = case
    decoded = decode(msgspec.json.encode(value), type_)
    assert not [issue for issue in decoded.issues if issue.message.startswith(("Expected", "Invalid", "Object"))]


words = r'{ } [ ] " \ \u d800 , : 1 - . e9 null true NaN budget "deals" "id" é 99999999999999999999'
pieces = st.sampled_from([*map(str.encode, words.split()), b" ", b"\n", b"\xff", b"\x00", b"\xef\xbb\xbf"])


@given(st.binary() | st.lists(pieces).map(b"".join), st.sampled_from([Problem, Deal, Any, list[float], dict[str, Any]]))
def test_any_bytes_are_either_malformed_or_decoded(data: bytes, type_: Any) -> None:
    try:
        decoded = decode(data, type_)
    except MalformedJSON as error:
        answer: Any = error.message
    else:
        assert decoded.total == len(decoded.issues)
        answer = decoded.issues
    assert msgspec.json.encode(answer)


@given(plain)
def test_depth_is_counted_as_the_values_nest(value: Any) -> None:
    def depth(part: Any) -> int:
        inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else None
        return 0 if inner is None else 1 + max(map(depth, inner), default=0)

    marks = brackets(msgspec.json.encode(value))
    assert not deeper_than(marks, depth(value))
    assert depth(value) == 0 or deeper_than(marks, depth(value) - 1)


@given(st.text(alphabet='[]{}"\\x:,') | st.lists(st.text(alphabet='[]{}"\\')))
def test_text_of_brackets_quotes_and_backslashes_leaves_no_mark(value: Any) -> None:
    assert brackets(json.dumps(value).encode()) == (b"[]" if isinstance(value, list) else b"")


@given(st.integers(-(2**80), 2**80), st.sampled_from(["%d", "[1,%d]", '{"a": %d}', "[\n%d\n]"]))
def test_no_integer_beyond_64_bits_is_overlooked(number: int, around: str) -> None:
    assert number in INT64 or has_long_integer((around % number).encode())
