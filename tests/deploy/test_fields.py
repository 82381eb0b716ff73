"""Fields on the command line: typed by the schema of the kind, whatever the kind."""

from enum import StrEnum
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.terminal.fields import columns_of, fields_of, read_settings, read_words
from milpa.errors import UsageError


class Thing(msgspec.Struct):
    """A thing.

    size: square metres, by the
    outer measures. id: any
    """

    id: str
    size: float = 1.0


class Owner(msgspec.Struct):
    """One who pays."""

    name: str


class Rounding(StrEnum):
    """Which way figures go."""

    UP = "up"
    DOWN = "down"


class Problem(msgspec.Struct, kw_only=True):
    """What is asked.

    owner: null for nobody
    """

    budget: float
    count: int = 1
    share: float | None = None
    label: str = ""
    mode: Literal["fractional", "whole"] = "fractional"
    strict: bool = False
    must_include: list[str] = []
    months: int | list[float] = 12
    caps: dict[str, float] = {}
    things: list[Thing] = []
    owner: Owner | None = None
    rounding: Rounding = Rounding.UP


FIELDS = fields_of(msgspec.json.schema(Problem))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--budget", "25e6"], {"budget": 25e6}),
        (["--budget=-1.5"], {"budget": -1.5}),
        (["--count", "25e6"], {"count": 25_000_000}),
        (["--share", "null"], {"share": None}),
        (["--share", "0.5"], {"share": 0.5}),
        (["--label", "12"], {"label": "12"}),
        (["--mode", "whole"], {"mode": "whole"}),
        (["--strict"], {"strict": True}),
        (["--strict", "no"], {"strict": False}),
        (["--strict", "--count", "2"], {"strict": True, "count": 2}),
        (["--must-include", "a, b"], {"must_include": ["a", "b"]}),
        (["--must-include", '["a,b"]'], {"must_include": ["a,b"]}),
        (["--months", "6"], {"months": 6}),
        (["--months", "1,2.5"], {"months": [1, 2.5]}),
    ],
)
def test_words_become_values_of_the_fields_type(words: list[str], expected: dict[str, Any]) -> None:
    others, found = read_words(["deals.csv", *words], FIELDS)
    assert others == ["deals.csv"]
    assert found == expected
    assert {name: type(value) for name, value in found.items()} == {n: type(v) for n, v in expected.items()}


def test_a_switch_does_not_swallow_the_file() -> None:
    assert read_words(["--strict", "deals.csv"], FIELDS) == (["deals.csv"], {"strict": True})


def test_settings_take_json() -> None:
    found = read_settings(['caps={"office": 2}', "budget=3", "label=a=b"], FIELDS)
    assert found == {"caps": {"office": 2}, "budget": 3.0, "label": "a=b"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--budget", "much"], r"--budget: 'much' is not a number\.$"),
        (["--budget", "nan"], "'nan' is not a number"),
        (["--budget", "inf"], "'inf' is not a number"),
        (["--budget", "5.000.000"], "'5.000.000' is not a number; numbers are written as 1234.5"),
        (["--budget", "6,5 %"], "is not a number; .* a per cent as 0.01"),
        (["--count", "1.5"], "'1.5' is not an integer"),
        (["--budget"], "--budget needs a value"),
        (["--budgte", "1"], "did you mean --budget"),
        (["--zzz", "1"], "this kind's fields are"),
        (["-x", "1"], "There is no option -x"),
        (["--must-include", '["a"'], r"--must-include: .* is no JSON .*; write a,b or '\[\"a\",\"b\"\]'"),
        (["--months", "[1"], "--months: .* is no JSON"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_words(words, FIELDS)


def test_a_setting_without_a_value_is_refused() -> None:
    with pytest.raises(UsageError, match="NAME=VALUE"):
        read_settings(["budget"], FIELDS)


def test_broken_json_of_a_setting_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"--caps: .* is no JSON .*quoted for the shell"):
        read_settings(['caps={"office": 2'], FIELDS)


def test_a_text_may_begin_with_a_bracket() -> None:
    assert read_words(["--label", "[draft"], FIELDS)[1] == {"label": "[draft"}


def test_the_columns_of_a_table_are_the_fields_of_its_rows() -> None:
    columns = columns_of(msgspec.json.schema(Problem), "things")
    assert [(name, column.required) for name, column in columns.items()] == [("id", True), ("size", False)]
    assert [column.description for column in columns.values()] == ["any", "square metres, by the outer measures"]


def test_a_field_of_objects_or_choices_says_what_they_are() -> None:
    assert FIELDS["things"].description.startswith('[{"id": …, "size": …}, …] A thing. size: square metres')
    assert FIELDS["owner"].description == 'null for nobody; {"name": …} One who pays.'
    assert FIELDS["rounding"].description == "Which way figures go."
    assert FIELDS["rounding"].choices == ("down", "up")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_survives_the_line(value: float) -> None:
    assert read_words([f"--budget={value!r}"], FIELDS)[1] == {"budget": value}


def test_fields_know_what_they_need() -> None:
    assert FIELDS["budget"].required
    assert not FIELDS["count"].required
    assert FIELDS["must_include"].on_the_line
    assert not FIELDS["things"].on_the_line
    assert not FIELDS["caps"].on_the_line
    assert FIELDS["mode"].choices == ("fractional", "whole")
