"""Figures on a terminal read as in the files of a report."""

import pytest

from deploy.terminal.numbers import figure, gap, size


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1672289.4, "money", "1,672,289 USD"),
        (0.06689, "share", "6.7 %"),
        (1.3795, "ratio", "1.38"),
        (186, "whole", "186"),
        (0.046412345, "number", "0.0464123"),
        (-1234567.8, "number", "-1,234,568"),
        (4.5, "years", "4.5 years"),
        (120, "sqm", "120 m²"),
        (None, "money", "–"),
        (True, "number", "yes"),
        ("2026-01", "date", "2026-01"),
    ],
)
def test_each_unit_reads_as_people_write_it(value: object, unit: str, text: str) -> None:
    assert figure(value, unit, "USD") == text


def test_gaps_and_sizes_have_their_units() -> None:
    assert gap(0.0123) == "1.23 %"
    assert gap(None) == "–"
    assert size(999) == "999 B"
    assert size(2_345_678) == "2,346 kB"
