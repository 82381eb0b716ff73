"""No text of a caller's becomes a formula, wherever Excel or LibreOffice would begin a cell."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milpa.spreadsheets import defused

TRICKS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    " =1",
    "\u00a0=1",
    "\ufeff=1",
    "\u200b=1",
    "\uff1d1",
    "\uff20x",
]
# The cells of a line as a reader sees them that splits at semicolons, whatever the quotes.
CELL = re.compile(r"[^;]*")


@pytest.mark.parametrize("trick", TRICKS)
@pytest.mark.parametrize("before", ["", "harmless;", "a;b; ;"])
def test_what_starts_a_formula_gets_an_apostrophe(before: str, trick: str) -> None:
    assert defused(before + trick) == f"{before}'{trick}"


@pytest.mark.parametrize(
    "text", ["", "Deal A", "a=b", "1-2", "mail@example.com", "'=1", "Müller & Söhne", "a; b", "x+y"]
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert defused(text) == text


@given(st.text(alphabet=" ;=+-@'\"ab\t\u00a0\ufeff\uff1d", max_size=30))
def test_no_cell_of_any_text_begins_as_a_formula(text: str) -> None:
    for cell in CELL.findall(defused(text)):
        assert not cell.strip(" \t\u00a0\ufeff").startswith(("=", "+", "-", "@", "\uff1d"))
    assert defused(text).replace("'", "") == text.replace("'", "")
