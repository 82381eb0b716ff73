from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from solvers.report import Cell, Column, Unit
from workers.renderers.figures import (
    MISSING,
    Style,
    compact,
    excel_axis_format,
    excel_format,
    fitted,
    header,
    number,
    show,
    style,
)


@pytest.mark.parametrize(
    ("unit", "values", "shown"),
    [
        (Unit.MONEY, [9400], "€9,400"),
        (Unit.MONEY, [1234.5], "€1,234.50"),
        (Unit.MONEY, [-1234567.89], "−€1,234,568"),
        (Unit.SHARE, [0.4], "40%"),
        (Unit.SHARE, [0.075], "7.5%"),
        (Unit.SHARE, [0.0647], "6.47%"),
        (Unit.SHARE, [0.3333333], "33.3%"),
        (Unit.SHARE, [0.00004], "0.0040%"),
        (Unit.WHOLE, [12], "12"),
        (Unit.RATIO, [1.6092], "1.61x"),
        (Unit.YEARS, [6.25], "6.25 years"),
        (Unit.MONTHS, [18], "18 months"),
        (Unit.AREA, [12500], "12,500 m²"),
        (Unit.NUMBER, [0.03681], "0.0368"),
        (Unit.TEXT, ["as it is"], "as it is"),
        (Unit.TEXT, [2026], "2026"),
        (Unit.DATE, [date(2026, 3, 31)], "2026-03-31"),
        (Unit.MONEY, [None], MISSING),
        (Unit.MONEY, [float("nan")], MISSING),
        (Unit.YEARS, [float("inf")], "∞"),
        (Unit.WHOLE, [True], "yes"),
    ],
)
def test_a_figure_reads_by_its_unit(unit: Unit, values: list[Cell], shown: str) -> None:
    assert show(values[0], style(unit, values, "EUR")) == shown


def test_the_figures_of_a_column_share_their_decimals() -> None:
    how = style(Unit.MONEY, [1.0, 2.25], "EUR")
    assert [show(value, how, units=False) for value in (1.0, 2.25)] == ["1.00", "2.25"]


def test_a_small_number_in_a_column_of_large_ones_is_not_hidden() -> None:
    how = style(Unit.NUMBER, [12_000_000.0, 0.4, 0.0504, 0.0, 33.33333333], "")
    assert [show(value, how) for value in (12_000_000.0, 0.4, 0.0504, 0.0, 33.33333333)] == [
        "12,000,000", "0.4", "0.0504", "0", "33.3",
    ]  # fmt: skip
    assert excel_format(fitted(how, 0.0504)) == "#,##0.0000"


def test_what_no_one_can_read_in_digits_is_a_power_of_ten() -> None:
    assert show(1.8e306, style(Unit.MONEY, [1.8e306], "EUR")) == "€1.800e+306"
    assert show(1.5e308, style(Unit.SHARE, [1.0], "")) == "1.500e+308"


def test_a_rounded_zero_has_no_sign() -> None:
    assert show(-0.001, Style(Unit.MONEY, 0, "EUR")) == "€0"


@pytest.mark.parametrize(
    ("unit", "value", "currency", "wanted"),
    [
        (Unit.MONEY, 1000.0, "EUR", '"€"#,##0'),
        (Unit.MONEY, 10.5, "CHF", '"CHF "#,##0.00'),
        (Unit.MONEY, 10.5, "", "#,##0.00"),
        (Unit.SHARE, 0.123, "", "0.0%"),
        (Unit.RATIO, 1.25, "", '#,##0.00"x"'),
        (Unit.AREA, 80.0, "", '#,##0" m²"'),
        (Unit.DATE, None, "", "yyyy-mm-dd"),
        (Unit.TEXT, None, "", "General"),
    ],
)
def test_excel_gets_the_same_unit_and_decimals(unit: Unit, value: float, currency: str, wanted: str) -> None:
    assert excel_format(style(unit, [value], currency)) == wanted


def test_a_currency_label_cannot_break_out_of_a_number_format() -> None:
    assert excel_format(style(Unit.MONEY, [1.0], '";[Red]"=\\')) == '"Red "#,##0'


def test_axes_are_short_and_keep_their_unit() -> None:
    assert excel_axis_format(Style(Unit.MONEY, 0, "EUR"), 2.5e6) == '[=0]"€"0;"€"0.0,,"M"'
    assert excel_axis_format(Style(Unit.MONEY, 0, "EUR"), 5e5) == '[=0]"€"0;"€"#,##0,"k"'
    assert excel_axis_format(Style(Unit.MONEY, 0, "EUR"), 900.0) == '"€"#,##0'


@pytest.mark.parametrize(
    ("value", "wanted"), [(11_424_400, "€11.4M"), (9_630_400, "€9.63M"), (2.5e9, "€2.50B"), (950, "€950")]
)
def test_a_figure_beside_a_mark_is_short(value: float, wanted: str) -> None:
    assert compact(value, Style(Unit.MONEY, 0, "EUR")) == wanted


def test_a_heading_says_the_unit_of_its_bare_figures() -> None:
    assert header(Column(name="p", label="Price", unit=Unit.MONEY), "EUR") == "Price (€)"
    assert header(Column(name="t", label="Term", unit=Unit.YEARS), "EUR") == "Term (years)"
    assert header(Column(name="n", label="Name"), "EUR") == "Name"


@given(
    st.sampled_from(Unit),
    st.one_of(st.floats(), st.integers(), st.booleans(), st.none(), st.dates(), st.text(min_size=1)),
)
def test_every_cell_in_every_unit_can_be_shown(unit: Unit, cell: Cell) -> None:
    how = style(unit, [cell], "EUR")
    assert show(cell, how)
    assert excel_format(how)


@given(st.floats(min_value=-1e12, max_value=1e12))
def test_what_is_shown_is_the_figure_to_its_last_decimal(value: float) -> None:
    how = style(Unit.MONEY, [value], "")
    assert abs(float(show(value, how).replace(",", "").replace("−", "-")) - value) <= 0.5 * 10**-how.decimals + 1e-3


def test_truth_values_texts_and_what_overflows_are_no_numbers() -> None:
    assert [number(cell) for cell in (True, "1", None, float("inf"), 10**400, 3)] == [None, None, None, None, None, 3.0]
