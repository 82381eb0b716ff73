"""Text made to be slow: what reads it takes time in proportion to its length, or it would take hours here."""

import io
import zipfile

import pytest

from solvers.json_text import long_number
from solvers.patches import MAX_HINTS, MAX_ISSUES, apply_patch
from solvers.rows.cells import CellError, read_number
from solvers.rows.workbook import repack
from tests.support.patience import within

MILLION = 1_000_000


def test_quotes_that_never_close_are_looked_through_once() -> None:
    with within(60):
        assert long_number(b"[" + b"1" * 200 + b',"' + b'\\"' * MILLION, 100) == 1
        assert long_number(b'["' + b"1" * 200 + b'\\"' * MILLION + b'"', 100) is None


@pytest.mark.parametrize(
    ("data", "at"),
    [
        (b'["\\\\", 1234]', 7),
        (b'["\\\\\\"", 1234]', 9),
        (b'["\\"1234\\"", 5]', None),
        (b'{"1234": 5, "a\\\\": -123}', 19),
        (b'["12', None),
    ],
)
def test_a_long_number_is_told_from_digits_in_text(data: bytes, at: int | None) -> None:
    assert long_number(data, 3) == at


def test_a_cell_of_digits_without_end_is_read_once() -> None:
    with within(60), pytest.raises(CellError):
        read_number("1" * MILLION + "x")


def test_cells_without_end_are_looked_through_once() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
        archive.writestr("xl/worksheets/sheet1.xml", b"<c t=" * MILLION + b"<c t= " + b" t=" * MILLION)
    with within(60):
        assert repack(packed.getvalue())


def test_a_patch_that_removes_a_million_unknown_entries_is_answered_with_the_first_of_them() -> None:
    document = {"deals": [{"id": f"deal-{number}"} for number in range(1000)]}
    with within(60):
        patched = apply_patch(document, {"deals": {f"dea-{number}": None for number in range(MILLION)}})
    assert (len(patched.issues), patched.total) == (MAX_ISSUES, MILLION)
    hints = ["Did you mean" in issue.message for issue in patched.issues]
    assert hints == [True] * MAX_HINTS + [False] * (MAX_ISSUES - MAX_HINTS)
