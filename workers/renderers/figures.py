"""How a figure reads: one rule for decimals, signs and units, spoken to people, to Excel and to charts."""

import math
import re
from collections.abc import Iterable
from datetime import date
from typing import NamedTuple

from solvers.report import Cell, Column, Unit

SYMBOLS = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥", "INR": "₹", "ILS": "₪", "KRW": "₩", "TRY": "₺", "UAH": "₴"}
SUFFIXES = {Unit.SHARE: "%", Unit.YEARS: " years", Unit.MONTHS: " months", Unit.AREA: " m²", Unit.RATIO: "x"}
HEADER_UNITS = {Unit.YEARS: "years", Unit.MONTHS: "months", Unit.AREA: "m²"}
SETTLED = frozenset({Unit.TEXT, Unit.DATE, Unit.WHOLE, Unit.RATIO})
"""Units that read the same whatever the figures."""
MISSING = "–"
CENTS_MATTER_BELOW = 10_000
EXACT_BELOW = 1e15
"""Beyond it a float holds no fractions, and people read powers of ten."""
HIDDEN_BELOW = 100
HIDDEN_PART = 0.002
MOST_DECIMALS = 6
SMALL_SHARE = 0.2
TINY_SHARE = 0.001
THOUSANDS = ((1e12, "T"), (1e9, "B"), (1e6, "M"))
MAX_CURRENCY_CHARACTERS = 8


class Style(NamedTuple):
    """How the numbers of one column, or one fact, are written. currency: cleaned label, "" where there is none."""

    unit: Unit
    decimals: int
    currency: str


def number(cell: Cell) -> float | None:
    """Return the finite number in a cell, or None. Truth values and texts are not numbers."""
    if type(cell) is float:  # most cells of a large table
        return cell if cell - cell == 0.0 else None  # NaN and infinities differ
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        return None
    try:
        value = float(cell)
    except OverflowError:
        return None
    return value if math.isfinite(value) else None


def style(unit: Unit, values: Iterable[Cell], currency: str) -> Style:
    """Return how to write all of `values`, the same way each."""
    figures = [] if unit in SETTLED else [abs(value) for value in map(number, values) if value is not None]
    return Style(unit, _decimals(unit, figures), _label(currency))


def fitted(how: Style, value: float) -> Style:
    """Return the style of one bare number: more decimals where its column's would hide it.

    A column of limits holds budgets beside shares: with the decimals of the one, the other would read 0.
    """
    if how.unit is not Unit.NUMBER or not 0 < abs(value) < HIDDEN_BELOW:
        return how
    decimals = how.decimals
    while decimals < MOST_DECIMALS and abs(round(value, decimals) - value) > HIDDEN_PART * abs(value):
        decimals += 1
    return how._replace(decimals=decimals)


def _label(currency: str) -> str:
    return re.sub(r"[^\w€$£¥₹₪₩₺₴ .-]", "", currency).strip()[:MAX_CURRENCY_CHARACTERS]


def _decimals(unit: Unit, figures: list[float]) -> int:
    largest = max(figures, default=0.0)
    match unit:
        case Unit.WHOLE:
            return 0
        case Unit.SHARE:
            return _share_decimals(figures, largest)
        case Unit.RATIO:
            return 2
        case Unit.MONEY:
            return 0 if _whole(figures, 1) or largest >= CENTS_MATTER_BELOW else 2
        case Unit.YEARS | Unit.MONTHS:
            return 0 if _whole(figures, 1) else 1 if _whole(figures, 10) else 2
        case _:
            return _free_decimals(figures, largest)


def _share_decimals(figures: list[float], largest: float) -> int:
    if _whole(figures, 100):
        return 0
    if largest < TINY_SHARE:
        return 4
    return 1 if _whole(figures, 1000) or largest >= SMALL_SHARE else 2


def _free_decimals(figures: list[float], largest: float) -> int:
    if _whole(figures, 1):
        return 0
    return 4 if largest < 1 else 2 if largest < CENTS_MATTER_BELOW else 0


def _whole(figures: list[float], factor: int) -> bool:
    """Tell whether every figure is a whole number of 1 ÷ factor, but for rounding in its last digits."""
    return all(
        value >= EXACT_BELOW or abs(value * factor - round(value * factor)) < 1e-9 * max(1.0, value * factor)
        for value in figures
    )


def money_prefix(currency: str) -> str:
    """Return what stands before an amount: "€", or "CHF " where there is no common sign."""
    return SYMBOLS.get(currency, f"{currency} " if currency else "")


def show(cell: Cell, how: Style, *, units: bool = True) -> str:
    """Return a cell as people read it; `units`: with its currency or unit, which a table has in its header."""
    if cell is None:
        return MISSING
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, date):
        return cell.isoformat()
    if isinstance(cell, str):
        return cell
    if how.unit is Unit.TEXT:
        return str(cell)
    value = number(cell)
    return _not_finite(cell) if value is None else _show_number(value, fitted(how, value), units=units)


def _not_finite(value: float) -> str:
    return MISSING if value != value else "∞" if value > 0 else "−∞"  # noqa: PLR0124 (NaN is what differs from itself)


def _show_number(value: float, how: Style, *, units: bool) -> str:
    scaled = value * 100 if how.unit is Unit.SHARE else value
    digits = f"{abs(scaled):,.{how.decimals}f}" if abs(value) < EXACT_BELOW else f"{abs(value):.3e}"
    sign = "−" if value < 0 and digits.strip("0.,") else ""
    if how.unit is Unit.SHARE:
        return f"{sign}{digits}%" if abs(value) < EXACT_BELOW else f"{sign}{digits}"
    prefix = money_prefix(how.currency) if units and how.unit is Unit.MONEY else ""
    return f"{sign}{prefix}{digits}{SUFFIXES.get(how.unit, '') if units else ''}"


def compact(value: float, how: Style) -> str:
    """Return a figure short enough to stand beside a mark: €11.4M."""
    for factor, letter in THOUSANDS:
        if abs(value) >= factor and how.unit is not Unit.SHARE:
            return show(value / factor, how._replace(decimals=_digits_of_three(value / factor))) + letter
    return show(value, how)


def _digits_of_three(value: float) -> int:
    return 0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2  # noqa: PLR2004 (where rounding adds a digit)


def header(column: Column, currency: str) -> str:
    """Return a column's heading with the unit its bare figures are in: "Price (€)", "Term (years)"."""
    unit = HEADER_UNITS.get(column.unit, "")
    if column.unit is Unit.MONEY:
        unit = money_prefix(_label(currency)).strip()
    return f"{column.label} ({unit})" if unit else column.label


def excel_format(how: Style) -> str:
    """Return the number format of a spreadsheet cell."""
    if how.unit is Unit.TEXT:
        return "General"
    if how.unit is Unit.DATE:
        return "yyyy-mm-dd"
    digits = "#,##0" + ("." + "0" * how.decimals if how.decimals else "")
    if how.unit is Unit.SHARE:
        return digits.replace("#,##", "") + "%"
    prefix = money_prefix(how.currency) if how.unit is Unit.MONEY else ""
    suffix = SUFFIXES.get(how.unit, "")
    return (f'"{prefix}"' if prefix else "") + digits + (f'"{suffix}"' if suffix else "")


def excel_axis_format(how: Style, largest: float) -> str:
    """Return the number format of a native chart's axis: millions and thousands short, as the pictures have them."""
    if how.unit in {Unit.SHARE, Unit.DATE, Unit.TEXT} or largest < CENTS_MATTER_BELOW:
        return excel_format(how)
    prefix = f'"{money_prefix(how.currency)}"' if how.unit is Unit.MONEY else ""
    ending = next(
        (
            f'{"," * commas}"{letter}"'
            for (factor, letter), commas in zip(THOUSANDS, (4, 3, 2), strict=True)
            if largest >= factor
        ),
        ',"k"',
    )
    digits = "0.0" if largest < 10 ** (3 * ending.count(",") + 1) else "#,##0"
    return f"[=0]{prefix}0;{prefix}{digits}{ending}"


def chart_format(how: Style) -> str:
    """Return the d3 format of exact figures in a chart's tooltips and labels."""
    if how.unit is Unit.SHARE:
        return f".{how.decimals}%"
    return ("$" if how.unit is Unit.MONEY else "") + f",.{how.decimals}f"
