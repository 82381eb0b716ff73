"""Figures as people read them: the units of a report, on a terminal."""

from typing import Any

_WORDS = {"years": "years", "months": "months", "sqm": "m²"}
_KILO = 1000
_DIGITS = 6
"""Significant digits of a number without a unit."""


def figure(value: Any, unit: str = "number", currency: str = "") -> str:
    """Return the value of a report's cell with its unit; `share` is a fraction shown as per cent."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return "–" if value is None else str(value)
    match unit:
        case "money":
            text = f"{value:,.0f} {currency}"
        case "share":
            text = f"{100 * value:.1f} %"
        case "ratio":
            text = f"{value:.2f}"
        case "years" | "months" if value != int(value):
            text = f"{value:,.2f} {unit}"
        case _:
            text = f"{number(value)} {_WORDS.get(unit, '')}"
    return text.rstrip()


def difference(value: float, unit: str = "number") -> str:
    """Return by how much two figures differ, with its sign; of shares in percentage points, without currency."""
    sign = "+" if value > 0 else ""
    return f"{sign}{100 * value:.1f} points" if unit == "share" else f"{sign}{figure(value, unit)}"


def number(value: float | None) -> str:
    """Return a number with thousands separators and no more digits than it is worth."""
    if value is None:
        return "–"
    if value == int(value):
        return f"{value:,.0f}"
    if abs(value) >= 10 ** (_DIGITS - 2):
        return f"{value:,.0f}"
    return f"{value:,.{_DIGITS}g}"


def gap(value: float | None) -> str:
    """Return a relative gap, a fraction, as per cent."""
    return "–" if value is None else f"{100 * value:.2f} %"


def size(count: int) -> str:
    """Return a number of bytes."""
    return f"{count:,} B" if count < _KILO else f"{count / _KILO:,.0f} kB"
