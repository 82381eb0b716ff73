"""What gets in as a problem, and what is said about the rest."""

import datetime as dt
import enum
import json
import math
import uuid
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec
import pytest
from msgspec import Meta

from solvers.decode import MAX_CONTAINERS, Decoded, MalformedJSON, convert, decode
from solvers.type_issues import MAX_COUNTED
from solvers.type_values import INT64

T = TypeVar("T")


class Mode(enum.StrEnum):
    FRACTIONAL = "fractional"
    WHOLE = "whole"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Deal(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, rename={"yield_": "yield"}):
    id: Annotated[str, Meta(min_length=1, max_length=5)]
    price: Annotated[float, Meta(gt=0)]
    yield_: float = 0.0
    risk: Annotated[float, Meta(ge=0)] = 0.0
    after: list[str] = []


class Fixed(msgspec.Struct, tag="fixed", forbid_unknown_fields=True):
    rate: float


class Floating(msgspec.Struct, tag="floating", forbid_unknown_fields=True):
    spread: float


class Problem(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    budget: Annotated[float, Meta(gt=0)]
    mode: Mode = Mode.FRACTIONAL
    max_deals: Annotated[int, Meta(ge=1)] | None = None
    sector_caps: dict[str, Annotated[float, Meta(ge=0)]] = {}
    rate: Fixed | Floating | None = None
    deals: Annotated[list[Deal], Meta(max_length=3)] = []


class Odd(msgspec.Struct, forbid_unknown_fields=True):
    literal: Literal["a", "b", 1] = "a"
    level: Level = Level.LOW
    day: dt.date | None = None
    moment: Annotated[dt.datetime, Meta(tz=True)] | None = None
    id: uuid.UUID | None = None
    pair: tuple[int, str] = (0, "")
    tags: set[str] = set()
    shares: list[Annotated[float, Meta(multiple_of=0.5)]] = []
    code: Annotated[str, Meta(pattern="^[A-Z]+$")] = "A"
    by_level: dict[Level, int] = {}
    by_day: dict[dt.date, int] = {}
    flag: bool = False
    number: int | float = 0
    anything: Any = None


class Body(msgspec.Struct, Generic[T], forbid_unknown_fields=True):
    problem: T


def said(decoded: Decoded[Any]) -> set[tuple[str, str]]:
    assert decoded.value is None
    assert decoded.total >= len(decoded.issues) > 0
    return {(issue.code, issue.pointer) for issue in decoded.issues}


def message(data: bytes, type_: Any) -> str:
    (issue,) = decode(data, type_).issues
    return issue.message


def test_a_right_problem_comes_out_typed_and_with_defaults() -> None:
    decoded = decode(b'{"budget": 1, "mode": "whole", "deals": [{"id": "a", "price": 2, "yield": 3e1}]}', Problem)
    assert decoded.issues == []
    assert decoded.total == 0
    assert decoded.value == Problem(budget=1.0, mode=Mode.WHOLE, deals=[Deal(id="a", price=2.0, yield_=30.0)])


def test_every_issue_comes_at_once_with_its_pointer() -> None:
    data = b"""{"budget": 0, "mode": "wholes", "max_deals": 2.0, "sector_caps": {"a/b": -1, "c~d": true}, "buget": 1,
        "deals": [{"id": "", "price": "12"}, {"yield": null}, 7, {"id": "toolong", "price": 1, "after": ["x", 5]}]}"""
    assert said(decode(data, Problem)) == {
        ("out_of_range", "/budget"),
        ("not_allowed", "/mode"),
        ("wrong_type", "/max_deals"),
        ("out_of_range", "/sector_caps/a~1b"),
        ("wrong_type", "/sector_caps/c~0d"),
        ("unknown_field", "/buget"),
        ("too_long", "/deals"),
        ("too_short", "/deals/0/id"),
        ("wrong_type", "/deals/0/price"),
        ("missing_field", "/deals/1/id"),
        ("missing_field", "/deals/1/price"),
        ("wrong_type", "/deals/1/yield"),
        ("wrong_type", "/deals/2"),
        ("too_long", "/deals/3/id"),
        ("wrong_type", "/deals/3/after/1"),
    }


def test_other_types_are_told_apart_as_well() -> None:
    data = b"""{"literal": "c", "level": 3, "day": "2026-02-30", "moment": "2026-01-01T00:00:00", "id": "x",
        "pair": [1, 2, 3], "tags": [1], "shares": [0.5, 0.7], "code": "a", "by_level": {"1": 1, "7": 1},
        "by_day": {"yesterday": 1}, "flag": 0, "number": "1", "anything": [{"deep": 1e999}]}"""
    assert said(decode(data, Odd)) == {
        ("not_allowed", "/literal"),
        ("not_allowed", "/level"),
        ("bad_value", "/day"),
        ("bad_value", "/moment"),
        ("bad_value", "/id"),
        ("too_long", "/pair"),
        ("wrong_type", "/pair/1"),
        ("wrong_type", "/tags/0"),
        ("bad_value", "/shares/1"),
        ("bad_value", "/code"),
        ("not_allowed", "/by_level/7"),
        ("bad_value", "/by_day/yesterday"),
        ("wrong_type", "/flag"),
        ("wrong_type", "/number"),
        ("not_finite", "/anything/0/deep"),
    }


@pytest.mark.parametrize(
    ("data", "code", "pointer"),
    [
        (b'{"budget": 1, "rate": {"rate": 1}}', "missing_field", "/rate/type"),
        (b'{"budget": 1, "rate": {"type": "flat", "rate": 1}}', "not_allowed", "/rate/type"),
        (b'{"budget": 1, "rate": {"type": 1, "rate": 1}}', "not_allowed", "/rate/type"),
        (b'{"budget": 1, "rate": {"type": "fixed"}}', "missing_field", "/rate/rate"),
        (b'{"budget": 1, "rate": {"type": "fixed", "rate": 1, "spread": 1}}', "unknown_field", "/rate/spread"),
        (b'{"budget": 1, "rate": 5}', "wrong_type", "/rate"),
    ],
)
def test_an_object_of_several_sorts_is_chosen_by_its_tag(data: bytes, code: str, pointer: str) -> None:
    assert said(decode(data, Problem)) == {(code, pointer)}


def test_pointers_start_at_the_root_of_whatever_is_decoded() -> None:
    assert said(decode(b'{"problem": {"budget": -1}}', Body[Problem])) == {("out_of_range", "/problem/budget")}


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b'{"budget": 1, "deal": []}', "Did you mean `deals`?"),
        (b'{"budget": 1, "zzz": []}', "There are `budget`, `deals`, `max_deals`, `mode`, `rate`, `sector_caps`."),
        (b'{"budget": "12.5"}', "Write numbers without quotes."),
        (b'{"budget": null}', "leave it out"),
        (b'{"budget": 1, "max_deals": 3.0}', "without a decimal point"),
        (b'{"budget": 1, "mode": "hole"}', 'one of "fractional", "whole", is "hole". Did you mean "whole"?'),
        (b'{"budget": -5}', "`budget` must be > 0, is -5.0."),
        (b"{}", "`budget` is missing: a number > 0."),
        (b'{"budget": 1, "deals": [{"id": 7, "price": 1}]}', "Write text in quotes."),
    ],
)
def test_messages_teach(data: bytes, part: str) -> None:
    assert part in message(data, Problem)


def test_messages_stay_short_however_long_the_input() -> None:
    long = "x" * 100_000
    body = json.dumps({"budget": long, "mode": long, long: 1, "sector_caps": {long: long}}).encode()
    assert all(len(issue.message) < 300 for issue in decode(body, Problem).issues)


@pytest.mark.parametrize("number", ["1e999", "-1e999", "5e309", "9" * 400, "-" + "9" * 400])
def test_no_infinity_gets_in(number: str) -> None:
    assert said(decode(f'{{"budget": {number}}}'.encode(), Problem)) == {("not_finite", "/budget")}


@pytest.mark.parametrize("number", ["9223372036854775808", "-9223372036854775809", "1" + "0" * 30])
def test_whole_numbers_fit_64_bits(number: str) -> None:
    assert said(decode(f'{{"number": {number}}}'.encode(), Odd)) == {("out_of_range", "/number")}
    assert said(decode(f'{{"anything": [{number}]}}'.encode(), Odd)) == {("out_of_range", "/anything/0")}


def test_a_whole_number_longer_than_python_reads_is_out_of_range_too() -> None:
    assert said(decode(b'{"number": %s}' % (b"9" * 5000), Odd)) == {("out_of_range", "/number")}


@pytest.mark.parametrize("number", [INT64[0], INT64[-1], 0])
def test_the_widest_whole_numbers_get_in(number: int) -> None:
    assert decode(f'{{"number":{number}}}'.encode(), Odd).value == Odd(number=number)


def test_long_digits_in_text_and_fractions_harm_nothing() -> None:
    digits = "12345678901234567890123"
    decoded = decode(f'{{"anything": "a {digits}", "number": 0.{digits}}}'.encode(), Odd)
    assert decoded.value == Odd(anything=f"a {digits}", number=float(f"0.{digits}"))


def test_the_last_of_two_equal_keys_counts_and_the_first_must_still_be_of_its_type() -> None:
    assert decode(b'{"budget": 1, "budget": 2}', Problem).value == Problem(budget=2.0)
    assert said(decode(b'{"budget": "x", "budget": 2}', Problem)) == {("wrong_type", "/budget")}


def test_a_class_that_refuses_by_itself_is_heard() -> None:
    class Even(msgspec.Struct):
        number: int

        def __post_init__(self) -> None:
            if self.number % 2:
                raise ValueError("must be even")

    decoded = decode(b'[{"number": 2}, {"number": 3}]', list[Even])
    assert [(issue.pointer, issue.message) for issue in decoded.issues] == [("/1", "must be even.")]


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"", "empty"),
        (b" \n ", "empty"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b'{"budget": NaN}', "NaN is not JSON (line 1, column 12)"),
        (b'{"budget":\n -Infinity}', "Infinity is not JSON (line 2, column 3)"),
        (b'{"budget": 1,}', "line 1, column 14"),
        ('{"größe": "ä",\n "ü" 1}'.encode(), "line 2, column 6"),
        (b'{"budget": 1', "ends too early, at line 1, column 13"),
        (b'{"budget": 1} 2', "follows the end of the document at line 1, column 15"),
        (b'{"mode": "\\ud800"}', "surrogate pair stands alone at line 1, column 11"),
        (b'{"mode": "\xff"}', "not UTF-8 at line 1, column 11"),
        ('{"budget": 1}'.encode("utf-16"), "not UTF-8"),
        (b"budget=1", "line 1, column 1"),
        (b'{"mode": 5, "deals": [1,]}', "trailing comma"),
    ],
)
def test_what_is_not_json_is_said_to_be_malformed_and_where(data: bytes, part: str) -> None:
    with pytest.raises(MalformedJSON) as raised:
        decode(data, Problem)
    assert part in raised.value.message
    assert raised.value.code == "malformed_json"


def test_nesting_is_limited_before_anything_is_decoded() -> None:
    decode(b"[" * 64 + b"]" * 64, Any)
    with pytest.raises(MalformedJSON, match="deeper than 64 levels"):
        decode(b"[" * 65 + b"]" * 65, Any)
    with pytest.raises(MalformedJSON, match="deeper than 2 levels"):
        decode(b'{"a":[{"b":1}]}', Any, max_depth=2)
    with pytest.raises(MalformedJSON, match="deeper"):
        decode(b'[{"a":' * 1_000_000, Any)


def test_brackets_in_text_nest_nothing() -> None:
    assert decode(b'["' + b"[" * 100 + b'", "\\"' + b"{" * 100 + b'\\\\", "[", "]"]', Any, max_depth=1).value


def test_issues_are_listed_up_to_a_limit_and_counted_beyond() -> None:
    decoded = decode(b"[" + b'"x",' * 4999 + b'"x"]', list[float], max_issues=10)
    assert len(decoded.issues) == 10
    assert decoded.total == 5000


def test_hopeless_input_is_not_counted_to_its_end() -> None:
    assert decode(b"[" + b'"x",' * (MAX_COUNTED + 1) + b"0]", list[float]).total == MAX_COUNTED


def test_a_refused_body_of_millions_of_containers_is_not_unfolded() -> None:
    decoded = decode(b'{"budget":"x","sector_caps":{},"deals":[' + b"[]," * MAX_CONTAINERS + b"[]]}", Problem)
    assert said(decoded) == {("wrong_type", "/budget")}


def test_plain_values_are_converted_by_the_same_rules() -> None:
    assert convert({"budget": 1, "sector_caps": {"a": 2}}, Problem).value == Problem(budget=1.0, sector_caps={"a": 2.0})
    assert convert({"by_level": {"2": 1}}, Odd).value == Odd(by_level={Level.HIGH: 1})
    bad = {"budget": math.inf, "max_deals": True, "deals": [{"id": "a", "price": math.nan}], "mode": 1}
    assert said(convert(bad, Problem)) == {
        ("not_finite", "/budget"),
        ("wrong_type", "/max_deals"),
        ("not_finite", "/deals/0/price"),
        ("wrong_type", "/mode"),
    }
    assert said(convert({"anything": {"x": [math.inf, 2**70]}}, Odd)) == {
        ("not_finite", "/anything/x/0"),
        ("out_of_range", "/anything/x/1"),
    }
