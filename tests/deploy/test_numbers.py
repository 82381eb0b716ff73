"""Figures on a terminal read as in the files of a report."""

import pytest

from deploy.terminal.numbers import difference, figure, gap, size


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1672289.4, "money", "1,672,289 USD"),
        (0.06689, "share", "6.7 %"),
        (1.3795, "ratio", "1.38"),
        (186, "whole", "186"),
        (0.046412345, "number", "0.0464123"),
        (-1234567.8, "number", "-1,234,568"),
        (4.5, "years", "4.50 years"),
        (5.01235, "years", "5.01 years"),
        (26, "months", "26 months"),
        (120, "sqm", "120 m²"),
        (None, "money", "–"),
        (True, "number", "yes"),
        ("2026-01", "date", "2026-01"),
    ],
)
def test_each_unit_reads_as_people_write_it(value: object, unit: str, text: str) -> None:
    assert figure(value, unit, "USD") == text


def test_shares_differ_by_points_and_money_by_amounts() -> None:
    assert difference(-0.007, "share") == "-0.7 points"
    assert difference(0.007, "share") == "+0.7 points"
    assert difference(3650.0, "money") == "+3,650"
    assert difference(-1.0, "whole") == "-1"
    assert difference(0.0) == "0"


def test_gaps_and_sizes_have_their_units() -> None:
    assert gap(0.0123) == "1.23 %"
    assert gap(None) == "–"
    assert size(999) == "999 B"
    assert size(2_345_678) == "2,346 kB"
