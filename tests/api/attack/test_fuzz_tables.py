"""Tables with anything in them: the rows of a problem, or issues; never an error, and nothing left on the disk."""

import io
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import xlsxwriter
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings

from solvers.registry import get_kind
from solvers.rows.tables import read_table
from solvers.rows_process import RowsRead, TableFormat
from tests.api.attack.mutations import spoiled
from tests.api.deals import CSV
from tests.support.patience import within

KIND: Any = get_kind("deal-picker")
EXAMPLES = 40


def workbook(**changed: bytes) -> bytes:
    """Return a good workbook with parts added or replaced (`xl__workbook`: `xl/workbook.xml`)."""
    made, data = io.BytesIO(), io.BytesIO()
    with xlsxwriter.Workbook(made, {"in_memory": True}) as book:
        sheet = book.add_worksheet()
        for row, line in enumerate(CSV.decode().split()):
            sheet.write_row(row, 0, line.split(","))
    parts = {name.replace("__", "/") + ".xml": content for name, content in changed.items()}
    with zipfile.ZipFile(made) as good, zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in good.namelist():
            archive.writestr(name, parts.pop(name, good.read(name)))
        for name, content in parts.items():
            archive.writestr(name, content)
    return data.getvalue()


def parquet() -> bytes:
    data = io.BytesIO()
    pl.read_csv(CSV).write_parquet(data)
    return data.getvalue()


GOOD = {TableFormat.CSV: CSV, TableFormat.XLSX: workbook(), TableFormat.PARQUET: parquet()}


@pytest.mark.parametrize("table_format", GOOD)
def test_good_tables_are_read(table_format: TableFormat) -> None:
    read = read_table(KIND, table_format, GOOD[table_format])
    assert ([row["id"] for row in read.rows], read.total) == (["A", "B"], 0)


@pytest.mark.parametrize("table_format", GOOD)
def test_a_spoiled_table_gives_rows_or_issues(table_format: TableFormat, longer: int) -> None:
    @hypothesis_settings(
        max_examples=EXAMPLES * longer,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(spoiled(GOOD[table_format]).flatmap(spoiled))
    def one(data: bytes) -> None:
        read = read_table(KIND, table_format, data)
        assert isinstance(read, RowsRead)
        assert read.rows or read.issues

    with within(600):
        one()


SHEET = b"""<?xml version="1.0"?>%b<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>
<row r="1"><c r="A1" t="inlineStr"><is><t>id</t></is></c><c r="B1" t="inlineStr"><is><t>price</t></is></c>
<c r="C1" t="inlineStr"><is><t>yield</t></is></c></row>
<row r="2"><c r="A2" t="inlineStr"><is><t>%b</t></is></c><c r="B2"><v>1</v></c><c r="C2"><v>1</v></c></row>
</sheetData></worksheet>"""


def test_a_sheet_reads_no_file_of_ours(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hidden")
    outside = f'<!DOCTYPE a [<!ENTITY x SYSTEM "{(tmp_path / "secret").as_uri()}">]>'.encode()
    read = read_table(KIND, TableFormat.XLSX, workbook(xl__worksheets__sheet1=SHEET % (outside, b"&x;")))
    assert "hidden" not in repr(read)
    assert read_table(KIND, TableFormat.XLSX, workbook(xl__worksheets__sheet1=SHEET % (b"", b"A"))).rows[0]["id"] == "A"


def test_entities_within_entities_are_not_unfolded() -> None:
    laughs = "".join(f'<!ENTITY x{n} "{f"&x{n - 1};" * 10}">' for n in range(1, 12))
    bomb = f'<!DOCTYPE a [<!ENTITY x0 "ha">{laughs}]>'.encode()
    with within(60):
        read = read_table(KIND, TableFormat.XLSX, workbook(xl__worksheets__sheet1=SHEET % (bomb, b"&x11;")))
    assert len(repr(read)) < 10_000


def test_a_part_named_like_a_path_is_written_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    names = {"..__..__slip": b"x", "..__slip": b"x", "__etc__slip": b"x"}
    assert read_table(KIND, TableFormat.XLSX, workbook(**names)).rows[0]["id"] == "A"
    assert [path.name for path in tmp_path.rglob("*")] == ["here"]


def test_a_small_parquet_of_many_rows_is_refused_by_what_it_claims() -> None:
    data = io.BytesIO()
    pl.select(id=pl.repeat("A", 30_000_000), price=pl.repeat(1.0, 30_000_000)).write_parquet(data)
    assert len(data.getvalue()) < 1_000_000
    (issue,) = read_table(KIND, TableFormat.PARQUET, data.getvalue()).issues
    assert issue.code == "too_large"
