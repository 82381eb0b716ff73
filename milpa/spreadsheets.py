"""What a spreadsheet would run rather than show, in text that others wrote."""

import re

_FORMULA = re.compile(
    "(^|;)"  # a cell's beginning; where lists are set apart by semicolons, Excel starts a cell after each
    r"([\s\u00ad\u200b-\u200f\u2060\ufeff]*)"  # what is not seen before it
    "(?=[=+\\-@＝＋－＠])"  # noqa: RUF001 (Excel takes the full-width ones too)
)


def defused(text: str) -> str:
    """Return the text for a cell of a CSV file, with an apostrophe before whatever could start a formula."""
    return _FORMULA.sub(r"\1'\2", text)
