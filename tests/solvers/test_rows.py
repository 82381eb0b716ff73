"""Tables in: what a file's cells become, and what is said about the ones that cannot be read."""

import csv
import datetime as dt
import enum
import io
import subprocess
import sys
import zipfile
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
import openpyxl
import polars as pl
import pytest
import xlsxwriter
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta

from solvers import rows_process
from solvers.decode import convert
from solvers.issues import Issue
from solvers.kind import Family, JobKind, Sense
from solvers.registry import all_kinds
from solvers.rows import __main__ as rows_main
from solvers.rows import grids, workbook
from solvers.rows.cells import CellError, parser, write
from solvers.rows.columns import columns_of, field_notes
from solvers.rows.tables import read_table
from solvers.rows.templates import template
from solvers.rows_process import RowsRead, TableFormat, combined


class Sector(enum.StrEnum):
    OFFICE = "office"
    RETAIL = "retail"


class Row(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, rename={"yield_": "yield"}):
    """One deal.

    id: unique. price: money. yield_, risk: of the whole
    deal; tags: any words.
    """

    id: str
    price: Annotated[float, Meta(gt=0)]
    yield_: float = 0.0
    risk: float | None = None
    months: int = 1
    sector: Sector = Sector.OFFICE
    kept: bool = False
    tags: list[str] = []
    uses: dict[str, float] = {}
    shares: Literal["even", "upfront"] | list[float] = "even"
    day: dt.date | None = None


class Problem(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    budget: float
    deals: list[Row]


EXAMPLES: list[dict[str, Any]] = [
    {"id": "A", "price": 60_000.5, "yield": 6_000.0, "months": 3, "tags": ["x", "y"], "shares": [0.25, 0.75]},
    {
        "id": "B;2",
        "price": 1e-12,
        "kept": True,
        "uses": {"crew": 2.0, "crane": 1.0},
        "sector": "retail",
        "day": "2026-01-31",
    },
    {"id": "007", "price": 123456789.12345679, "risk": 1 / 3, "shares": "upfront"},
]

KIND: JobKind[Any, Any] = JobKind(
    name="rows-test",
    family=Family.OPTIMIZATION,
    version=1,
    title="",
    summary="",
    package="tests",
    sense=Sense.MAXIMIZE,
    problem=Problem,
    solution=Problem,
    check=lambda _: [],
    describe=lambda *_: None,  # type: ignore[arg-type,return-value]
    main_table="deals",
)
KIND.__dict__["example"] = {"problem": {"budget": 1, "deals": EXAMPLES}}
TABLED = [kind for kind in [KIND, *all_kinds().values()] if kind.main_table]


def from_csv(text: str | bytes) -> RowsRead:
    return read_table(KIND, TableFormat.CSV, text.encode() if isinstance(text, str) else text)


def from_xlsx(*lines: list[Any], **options: Any) -> RowsRead:
    return read_table(KIND, TableFormat.XLSX, workbook_of(*lines, **options))


def workbook_of(*lines: list[Any], start: int = 0) -> bytes:
    data = io.BytesIO()
    with xlsxwriter.Workbook(data, {"in_memory": True}) as book:
        day = book.add_format({"num_format": "yyyy-mm-dd"})
        sheet = book.add_worksheet()
        for number, line in enumerate(lines, start):
            for place, value in enumerate(line):
                if isinstance(value, dt.date):
                    sheet.write_datetime(number, place, dt.datetime(value.year, value.month, value.day), day)  # noqa: DTZ001
                else:
                    sheet.write(number, place, value)
        book.add_worksheet().write(0, 0, "another sheet")
    return data.getvalue()


def said(read: RowsRead) -> list[tuple[str, str, int | None, str | None]]:
    return [(issue.code, issue.pointer, issue.row, issue.column) for issue in read.issues]


# Templates


@pytest.mark.parametrize("kind", TABLED, ids=lambda kind: kind.name)
@pytest.mark.parametrize("table_format", [TableFormat.CSV, TableFormat.XLSX])
def test_a_template_holds_two_example_rows_that_read_back_as_they_are(kind: Any, table_format: TableFormat) -> None:
    read = read_table(kind, table_format, template(kind, table_format))
    problem = kind.example["problem"]
    assert read.issues == []
    assert read.numbers == [2, 3]
    examples = problem[kind.main_table][:2]
    assert convert({**problem, kind.main_table: read.rows}, kind.problem) == convert(
        {**problem, kind.main_table: examples}, kind.problem
    )


@pytest.mark.parametrize("kind", TABLED, ids=lambda kind: kind.name)
def test_a_template_has_a_column_for_every_field_of_a_row(kind: Any) -> None:
    header, *rows = csv.reader(io.StringIO(template(kind, TableFormat.CSV).decode()))
    assert header == [column.name for column in columns_of(kind.problem, kind.main_table)]
    assert len(rows) == 2


def test_the_workbook_explains_its_columns_and_keeps_the_header_in_sight() -> None:
    sheet = openpyxl.load_workbook(io.BytesIO(template(KIND, TableFormat.XLSX))).worksheets[0]
    assert sheet.title == "deals"
    assert sheet.freeze_panes == "A2"
    assert sheet["B1"].value == "price"
    assert "money\nA number > 0. Required." in sheet["B1"].comment.text
    assert "of the whole deal\nA number. Empty: 0.0." in sheet["C1"].comment.text
    assert sheet["B2"].value == 60_000.5


def test_notes_are_read_from_docstrings_of_the_house() -> None:
    assert field_notes(Row.__doc__ or "") == {
        "id": "unique",
        "price": "money",
        "yield_": "of the whole deal",
        "risk": "of the whole deal",
        "tags": "any words",
    }


# Every format


def as_csv(header: list[str], rows: list[list[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([header, *([write(value) for value in row] for row in rows)])
    return text.getvalue().encode()


def as_xlsx(header: list[str], rows: list[list[Any]]) -> bytes:
    cells = [[write(v) if isinstance(v, list | dict) else v for v in row] for row in rows]
    return workbook_of(header, *cells)


def as_parquet(header: list[str], rows: list[list[Any]]) -> bytes:
    data = io.BytesIO()
    cells = [
        [write(v) if isinstance(v, dict) or name == "shares" else v for name, v in zip(header, row, strict=True)]
        for row in rows
    ]
    pl.DataFrame(cells, schema=header, orient="row", strict=False, infer_schema_length=None).write_parquet(data)
    return data.getvalue()


@pytest.mark.parametrize(("table_format", "made"), [("csv", as_csv), ("xlsx", as_xlsx), ("parquet", as_parquet)])
def test_rows_of_every_format_come_out_the_same(table_format: str, made: Callable[..., bytes]) -> None:
    header = [column.name for column in columns_of(Problem, "deals")]
    data = made(header, [[row.get(name) for name in header] for row in EXAMPLES])
    read = read_table(KIND, TableFormat(table_format), data)
    assert read.issues == []
    given_rows = [{**row, "price": pytest.approx(row["price"], rel=1e-15)} for row in EXAMPLES]
    kept = [{name: value for name, value in row.items() if name != "kept" or value} for row in read.rows]
    assert kept == [
        {**row, **({"risk": pytest.approx(1 / 3, rel=1e-15)} if "risk" in row else {})} for row in given_rows
    ]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_numbers_keep_all_their_digits(numbers: list[float]) -> None:
    header, rows = ["id", "price", "yield"], [["a", 1, number] for number in numbers]
    for table_format, data in (("csv", as_csv(header, rows)), ("parquet", as_parquet(header, rows))):
        read = read_table(KIND, TableFormat(table_format), data)
        assert [row["yield"] for row in read.rows] == numbers


@given(
    st.one_of(
        [
            st.tuples(st.just(t), values)
            for t, values in [
                (float, st.floats(allow_nan=False, allow_infinity=False)),
                (int, st.integers(-(2**63), 2**63 - 1)),
                (bool, st.booleans()),
                (list[int], st.lists(st.integers(0, 9), min_size=1)),
                (dict[str, int], st.dictionaries(st.text("ab=c", min_size=1), st.integers(0, 9), min_size=1)),
                (Literal["a", "b"] | float, st.sampled_from(["a", "b", 1.5])),
                (float | list[float], st.floats(0, 9) | st.lists(st.floats(0, 9), min_size=2)),
                (Literal["even"] | list[float] | None, st.just("even") | st.lists(st.floats(0, 9), min_size=1)),
                (list[str], st.lists(st.text("ab c", min_size=1).map(str.strip).filter(bool), min_size=1)),
            ]
        ]
    )
)
def test_what_is_written_in_a_cell_reads_back(case: tuple[Any, Any]) -> None:
    type_, value = case
    assert parser(msgspec.inspect.type_info(type_))(write(value)) == value


# Cells


@pytest.mark.parametrize(
    ("type_", "text", "code", "hint"),
    [
        (float, "12,5", "ambiguous_number", "write 1234.5"),
        (float, "1.234,56", "ambiguous_number", "write 1234.5"),
        (float, "1,000", "ambiguous_number", "write 1234.5"),
        (float, "1 000", "ambiguous_number", "write 1234.5"),
        (float, "1'000", "ambiguous_number", "an .xlsx file"),
        (float, "4.200.000", "ambiguous_number", "write 1234.5"),
        (float, "4.200.000,00 €", "ambiguous_number", "write 1234.5"),
        (float, "6.5%", "wrong_type", "0.065"),
        (float, "6,1 %", "wrong_type", "0.065"),
        (float, "abc", "wrong_type", "not a number"),
        (float, "€ 5", "wrong_type", "not a number"),
        (float, "1_000", "wrong_type", "not a number"),
        (float, "NaN", "not_finite", "leave the cell empty"),
        (float, "-inf", "not_finite", "leave the cell empty"),
        (float, "1e999", "not_finite", "too large"),
        (float, "#DIV/0!", "wrong_type", "#DIV/0!"),
        (int, "3.5", "wrong_type", "whole number"),
        (int, "1e300", "wrong_type", "whole number"),
        (int, "99999999999999999999", "out_of_range", "64-bit"),
        (bool, "maybe", "wrong_type", "neither true nor false: write true, yes or 1, or false, no or 0"),
        (bool, "ja", "wrong_type", "write true, yes or 1"),
        (list[float], "0.5|x", "wrong_type", "not a number"),
        (list[str], "a||b", "bad_value", "empty entry"),
        (dict[str, int], "crew", "wrong_type", "name=2|other=1"),
        (dict[str, int], "crew=2|crew=3", "bad_value", "twice"),
        (dict[str, int], "crew=two", "wrong_type", "not a whole number"),
        (Literal["even"] | list[float], "odd", "wrong_type", "not a number"),
        (int | None, "x", "wrong_type", "not a whole number"),
    ],
)
def test_a_cell_that_cannot_be_read_teaches(type_: Any, text: str, code: str, hint: str) -> None:
    with pytest.raises(CellError) as raised:
        parser(msgspec.inspect.type_info(type_))(text)
    assert raised.value.code == code
    assert hint in raised.value.message


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [
        (float, "1e3", 1000.0),
        (float, "+.5", 0.5),
        (float, "5.", 5.0),
        (int, "3.0", 3),
        (int, "1e3", 1000),
        (int, "9223372036854775807", 2**63 - 1),
        (bool, "TRUE", True),
        (bool, "no", False),
        (list[float], " 0.5 | 0.5 ", [0.5, 0.5]),
        (dict[str, int], "crew = 2 | crane=1", {"crew": 2, "crane": 1}),
        (dt.date, "2026-01-31 00:00:00", "2026-01-31"),
        (Literal[1, 2], "2", 2),
        (Literal["even"] | list[float], "0.5|0.5", [0.5, 0.5]),
        (float | list[float], "100", 100.0),
    ],
)
def test_cells_may_be_written_as_spreadsheets_do(type_: Any, text: str, value: Any) -> None:
    found = parser(msgspec.inspect.type_info(type_))(text)
    assert found == value
    assert type(found) is type(value)


def test_a_type_that_no_cell_can_hold_is_refused_when_the_columns_are_made() -> None:
    with pytest.raises(TypeError, match="an object"):
        parser(msgspec.inspect.type_info(Row))


# Tables


def test_every_bad_cell_is_reported_with_row_column_and_pointer() -> None:
    read = from_csv("id,price,months,kept\nA,5,1,\nB,x,2.5,yes\n,,,\nC,,1,perhaps\n")
    assert said(read) == [
        ("wrong_type", "/deals/1/price", 3, "price"),
        ("wrong_type", "/deals/1/months", 3, "months"),
        ("wrong_type", "/deals/2/kept", 5, "kept"),
    ]
    assert read.rows == [{"id": "A", "price": 5.0, "months": 1}, {"id": "B", "kept": True}, {"id": "C", "months": 1}]
    assert read.numbers == [2, 3, 5]


@pytest.mark.parametrize(
    ("text", "code", "row", "column", "hint"),
    [
        ("", "empty_table", None, None, "empty"),
        ("\n\n", "empty_table", None, None, "no header"),
        ("id,price\n", "empty_table", 1, None, "no row below"),
        ("id,prise\nA,1\n", "unknown_column", 1, "prise", "Did you mean `price`?"),
        ("id,price,zzz\nA,1,2\n", "unknown_column", 1, "zzz", "There are `id`, `price`"),
        ("id,yield\nA,1\n", "missing_column", 1, "price", "is missing; the header has"),
        ("id,price,price\nA,1,2\n", "duplicate_column", 1, "price", "twice"),
        ("id,price\nA,1,2\n", "too_many_cells", 2, None, "more cells (3) than the header (2)"),
        ('id,price\nA,1\n"B,2\n', "unreadable_table", None, None, "Row 3 cannot be read"),
        ('id,price\n"A"x,1\n', "unreadable_table", None, None, "Row 2 cannot be read"),
    ],
)
def test_a_wrong_header_or_file_says_so(text: str, code: str, row: int | None, column: str | None, hint: str) -> None:
    read = from_csv(text)
    issue = next(issue for issue in read.issues if issue.code == code)
    assert (issue.row, issue.column) == (row, column)
    assert issue.pointer.startswith("/deals")
    assert hint in issue.message


def test_with_a_wrong_header_there_are_no_rows_but_the_cells_are_looked_at_all_the_same() -> None:
    read = from_csv("id,price,zzz\nA,x,2\n")
    assert read.rows == []
    assert [issue.code for issue in read.issues] == ["unknown_column", "wrong_type"]


@pytest.mark.parametrize(
    "data",
    [
        "id,price\nA,5\n",
        "id;price\nA;5\n",
        "\ufeffid;price\r\nA;5\r\n",
        '"id","price"\n"A","5"',
        " id , price \n A , 5 \n",
        "\n\nid,price\nA,5\n",
        "price,id\n5,A\n",
        "id,price,\nA,5,\n",
        "id;price;yield\nA;5\n",
    ],
)
def test_csv_comes_in_many_dialects(data: str) -> None:
    read = from_csv(data)
    assert read.issues == []
    assert read.rows == [{"id": "A", "price": 5.0}]


def test_a_header_of_thousands_of_columns_is_refused_as_a_whole() -> None:
    assert [issue.code for issue in from_csv("x," * 5000 + "\nA,1\n").issues] == ["too_large"]


def test_values_without_a_header_are_not_dropped_in_silence() -> None:
    read = from_csv("id,price,,kept\nA,1,,\nB,1,7,true\n")
    assert said(read) == [("unknown_column", "/deals", 1, None)]
    assert "Column 3" in read.issues[0].message


def test_quoted_cells_hold_delimiters_and_line_breaks_and_rows_count_as_a_spreadsheet_does() -> None:
    read = from_csv('id,price\n"a, ""b""\nc",1\nB,x\n')
    assert read.rows[0] == {"id": 'a, "b"\nc', "price": 1.0}
    assert said(read) == [("wrong_type", "/deals/1/price", 3, "price")]


def test_csv_in_another_encoding_says_where_and_what_to_do() -> None:
    assert "No UTF-8 at line 2, column 2" in from_csv("id,price\nMünchen,1".encode("latin-1")).issues[0].message
    assert "UTF-16" in from_csv("id,price\nA,1".encode("utf-16")).issues[0].message


def test_issues_are_listed_up_to_a_limit_and_counted_beyond() -> None:
    read = from_csv("id,price\n" + "A,x\n" * 1500)
    assert len(read.issues) == 1000
    assert read.total == 1500


def test_too_many_rows_or_cells_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grids, "MAX_ROWS", 3)
    assert from_csv("id,price\n" + "A,1\n" * 3).issues == []
    assert from_csv("id,price\n" + "A,1\n" * 4).issues[0].code == "too_large"
    assert from_xlsx(["id", "price"], *[["A", 1]] * 4).issues[0].code == "too_large"
    assert (
        read_table(KIND, TableFormat.PARQUET, as_parquet(["id", "price"], [["A", 1]] * 5)).issues[0].code == "too_large"
    )
    monkeypatch.setattr(grids, "MAX_CELLS", 5)
    assert from_csv("id,price\nA,1\nB,1\n").issues[0].code == "too_large"


# Workbooks


def test_numbers_stored_as_text_dates_and_empty_rows_are_read_as_meant() -> None:
    read = from_xlsx(
        ["id", "price", "months", "day", "tags"],
        [101, "12.5", "3", dt.date(2026, 1, 31), "a|b"],
        [],
        ["B", 7, 2.0, "2026-02-01", None],
        [None, " "],
    )
    assert read.issues == []
    assert read.rows == [
        {"id": "101", "price": 12.5, "months": 3, "day": "2026-01-31", "tags": ["a", "b"]},
        {"id": "B", "price": 7.0, "months": 2, "day": "2026-02-01"},
    ]
    assert read.numbers == [2, 4]


def test_rows_are_numbered_as_the_sheet_has_them_even_below_empty_lines() -> None:
    read = from_xlsx(["id", "price"], ["A", "x"], start=3)
    assert said(read) == [("wrong_type", "/deals/0/price", 5, "price")]


@pytest.mark.parametrize("number", [1e-12, 1 / 3, 123456789.123456, 1e22, 5e-324, 0.1 + 0.2, -2.5e-9])
def test_a_workbook_s_numbers_keep_their_digits(number: float) -> None:
    assert from_xlsx(["id", "price"], ["A", number]).rows[0]["price"] == float(f"{number:.16G}")


def test_a_formula_s_error_is_a_bad_cell_not_an_empty_one() -> None:
    data = io.BytesIO()
    with xlsxwriter.Workbook(data) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["id", "price", "risk"])
        sheet.write_row(1, 0, ["A", 1])
        sheet.write_formula("C2", "=1/0", None, "#DIV/0!")
    read = read_table(KIND, TableFormat.XLSX, data.getvalue())
    assert said(read) == [("wrong_type", "/deals/0/risk", 2, "risk")]


def _zip(parts: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return data.getvalue()


def _lying_bomb() -> bytes:
    """A part that claims to be small and unpacks to more."""
    honest = _zip({"xl/workbook.xml": b"<workbook/>", "xl/worksheets/sheet1.xml": b" " * 5_000_000})
    return honest.replace((5_000_000).to_bytes(4, "little"), (5_000).to_bytes(4, "little"))


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (b"id,price\nA,1\n", "not an XLSX workbook"),
        (b"PK\x03\x04 and then nothing", "not an XLSX workbook"),
        (_zip({"word/document.xml": b""}), "not an XLSX workbook"),
        (_zip({"xl/workbook.xml": b"<workbook>"}), "damaged"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "encrypted or of an old format"),
        (workbook_of(["id", "price"], ["A", 1])[:-100], "damaged"),
        (_lying_bomb(), "damaged"),
    ],
)
def test_what_is_no_workbook_is_said_to_be_none(data: bytes, hint: str) -> None:
    (issue,) = read_table(KIND, TableFormat.XLSX, data).issues
    assert (issue.code, issue.pointer) == ("unreadable_table", "/deals")
    assert hint in issue.message


def test_a_zip_bomb_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = _zip({"xl/workbook.xml": b"", "xl/worksheets/sheet1.xml": bytes(30_000_000)})
    assert len(bomb) < 50_000
    monkeypatch.setattr(workbook, "MAX_UNPACKED_BYTES", 20_000_000)
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("it was unpacked"))
    (issue,) = read_table(KIND, TableFormat.XLSX, bomb).issues
    assert issue.code == "too_large"


@given(st.binary())
def test_any_bytes_are_a_table_or_an_issue(data: bytes) -> None:
    for table_format, start in [
        (TableFormat.CSV, b""),
        (TableFormat.XLSX, b"PK\x03\x04"),
        (TableFormat.PARQUET, b"PAR1"),
    ]:
        read = read_table(KIND, table_format, start + data)
        assert read.total == len(read.issues)
        assert read.rows or read.total
        assert msgspec.json.encode(read)


@given(st.text(alphabet='ab,;"\n\r 1.|=é', max_size=60))
def test_any_text_below_a_header_is_rows_or_issues(text: str) -> None:
    read = from_csv("id,price,tags,uses\n" + text)
    assert len(read.numbers) == len(read.rows)
    assert read.rows or read.total


# Joining with what decoding finds


def test_issues_of_the_problem_get_the_row_and_column_of_their_cell() -> None:
    read = from_csv("id,price\nA,5\n\nB,-1\nC,x\n")
    decoded = convert({"budget": "x", "deals": read.rows}, Problem)
    issues, total = combined(read, decoded.issues, decoded.total)
    assert total == len(issues)
    assert {(issue.code, issue.pointer, issue.row, issue.column) for issue in issues} == {
        ("wrong_type", "/budget", None, None),
        ("out_of_range", "/deals/1/price", 4, "price"),
        ("wrong_type", "/deals/2/price", 5, "price"),
    }


def test_pointers_are_prefixed_and_an_issue_of_a_row_has_its_row() -> None:
    read = from_csv("id,price\nA,x\nB,1\n")
    found = [
        Issue(code="odd", pointer="/problem/deals/1", message=""),
        Issue(code="odd", pointer="/problem/deals", message=""),
    ]
    issues, _ = combined(read, found, 2, prefix="/problem")
    assert [(issue.pointer, issue.row) for issue in issues] == [
        ("/problem/deals/0/price", 2),
        ("/problem/deals/1", 3),
        ("/problem/deals", None),
    ]


def test_a_table_without_rows_is_not_said_to_be_empty_as_well() -> None:
    read = from_csv("id\nA\n")
    empty = Issue(code="too_short", pointer="/problem/deals", message="")
    other = Issue(code="missing_field", pointer="/problem/budget", message="")
    issues, total = combined(read, [empty, other], 2, prefix="/problem")
    assert [issue.code for issue in issues] == ["missing_column", "missing_field"]
    assert total == 2


# The process


needs_kind = pytest.mark.parametrize(
    "kind", [kind for kind in TABLED if kind is not KIND][:1], ids=lambda kind: kind.name
)


@needs_kind
async def test_the_process_answers_templates_and_reads_them(kind: Any) -> None:
    for table_format in (TableFormat.CSV, TableFormat.XLSX):
        data = await rows_process.template(kind.name, table_format)
        read = await rows_process.read_rows(kind.name, kind.main_table, table_format, data)
        assert read.issues == []
        assert len(read.rows) == 2


@needs_kind
async def test_a_file_that_needs_too_much_memory_or_time_is_an_issue(kind: Any) -> None:
    data = io.BytesIO()
    with xlsxwriter.Workbook(data) as book:
        sheet = book.add_worksheet()
        sheet.write("A1", "id")
        sheet.write("XFD1048576", "far away")
    far = await rows_process.read_rows(kind.name, kind.main_table, TableFormat.XLSX, data.getvalue())
    late = await rows_process.read_rows(kind.name, kind.main_table, TableFormat.CSV, b"id", seconds=0.001)
    for read in (far, late):
        assert said(read) == [("unreadable_table", f"/{kind.main_table}", None, None)]


async def test_a_broken_reader_is_our_error_and_tells_nothing_of_the_data() -> None:
    with pytest.raises(rows_process.FatalError) as raised:
        await rows_process.read_rows("no-such-kind", "deals", TableFormat.CSV, b"secret,secret\n1,2\n")
    assert raised.value.message.startswith("KeyError at registry.py:")
    assert "secret" not in raised.value.message


class _PanicError(BaseException):
    """As native code raises it."""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError(), rows_process.TOO_COSTLY),
        (_PanicError(), rows_process.TOO_COSTLY),
        (ValueError("secret"), "ValueError at test_rows.py:"),
    ],
)
def test_the_process_tells_costly_files_from_errors_of_ours(
    error: BaseException, code: int | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: str) -> bytes:
        raise error

    monkeypatch.setattr(rows_main, "main", fail)
    with pytest.raises(SystemExit) as left:
        rows_main.guarded("read", "deal-picker", "csv")
    assert str(left.value.code).startswith(str(code))
    assert "secret" not in str(left.value.code)


def test_the_callers_side_loads_neither_polars_nor_a_writer() -> None:
    code = "import sys, solvers.rows_process; print({'polars', 'xlsxwriter', 'fastexcel', 'numpy'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


@needs_kind
async def test_no_secret_reaches_the_process(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, str] = {}
    start = rows_process.asyncio.create_subprocess_exec

    async def watched(*arguments: Any, env: dict[str, str], **options: Any) -> Any:
        seen.update(env)
        return await start(*arguments, env=env, **options)

    secrets = {"MILPA_SIGNING_KEY", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "GOOGLE_APPLICATION_CREDENTIALS"}
    for name in secrets:
        monkeypatch.setenv(name, "secret")
    monkeypatch.setattr(rows_process.asyncio, "create_subprocess_exec", watched)
    await rows_process.template(kind.name, TableFormat.CSV)
    assert "PATH" in seen
    assert not secrets & set(seen)
