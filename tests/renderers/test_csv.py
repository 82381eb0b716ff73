import csv
import io
import zipfile

import msgspec
import polars as pl
import pytest

from milpa.jobs import FileFormat
from solvers.report import Column, Fact, Report, Table, Unit
from tests.renderers import samples
from workers.renderers import RenderedFile, render


def one(report: Report) -> RenderedFile:
    (file,) = render(report, FileFormat.CSV, stem="plan")
    return file


def rows_of(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))


def test_one_table_is_one_file_that_excel_reads_with_its_accents() -> None:
    report = msgspec.structs.replace(samples.deals(), tables=samples.deals().tables[:1], hidden_tables=[])
    file = one(report)
    assert (file.name, file.media_type) == ("plan.csv", "text/csv")
    assert file.data.startswith(b"\xef\xbb\xbf")
    table = report.tables[0]
    heading, *rows = rows_of(file.data)
    assert heading == [column.name for column in table.columns]
    assert [row[1] for row in rows] == [row[1] for row in table.rows]
    assert [float(row[6]) for row in rows] == [row[6] for row in table.rows]
    assert file.data.count(b"\r\n") == len(rows) + 1


def test_programs_read_the_numbers_back_exactly() -> None:
    table = samples.long_table(200).tables[0]
    frame = pl.read_csv(one(samples.long_table(200)).data)
    assert frame.columns == [column.name for column in table.columns]
    assert frame.rows() == table.rows


def test_several_tables_are_a_zip_with_one_file_each() -> None:
    report = samples.deals()
    file = one(report)
    assert (file.name, file.media_type) == ("plan-csv.zip", "application/zip")
    with zipfile.ZipFile(io.BytesIO(file.data)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [
            "allocations.csv",
            "by-sector.csv",
            "by-city.csv",
            "yield-risk.csv",
            "frontier.csv",
        ]
        for name, table in zip(archive.namelist(), report.tables, strict=True):
            assert len(rows_of(archive.read(name))) == len(table.rows) + 1


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "＝", "\t=", " =", "\r\n@"])  # noqa: RUF001
def test_a_text_that_a_spreadsheet_would_run_is_defused(start: str) -> None:
    table = Table(name="t", title="T", columns=[Column(name="=c", label="C")], rows=[(f"{start}cmd|' /C calc'!A0",)])
    heading, row = rows_of(one(Report(title="R", tables=[table])).data)
    assert heading == ["'=c"]
    assert row[0].startswith("'")


def test_negative_numbers_stay_numbers() -> None:
    table = Table(
        name="t", title="T", columns=[Column(name="c", label="C", unit=Unit.MONEY)], rows=[(-1.5,), (None,), (True,)]
    )
    assert rows_of(one(Report(title="R", tables=[table])).data) == [["c"], ["-1.5"], [""], ["true"]]


def test_tables_whose_names_meet_in_lower_case_keep_apart() -> None:
    tables = [
        Table(name=name, title="T", columns=[Column(name="c", label="C")], rows=[(name,)])
        for name in ("A b", "a-B", "../a/b")
    ]
    with zipfile.ZipFile(io.BytesIO(one(Report(title="R", tables=tables)).data)) as archive:
        assert archive.namelist() == ["a-b.csv", "a-b-2.csv", "a-b-3.csv"]


def test_a_report_without_tables_gives_its_facts() -> None:
    report = Report(
        title="Infeasible", facts=[Fact(name="cost", label="Cost", value=1.5, unit=Unit.MONEY, note="a year")]
    )
    assert rows_of(one(report).data) == [
        ["name", "label", "value", "unit", "note"],
        ["cost", "Cost", "1.5", "money", "a year"],
    ]
