"""The report as an Excel workbook: a summary with charts, and a sheet for each table with live formulas."""

import io
import textwrap
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

import xlsxwriter

from solvers.report import Cell, Report, Table, Unit
from workers.renderers.figures import MISSING, Style, excel_format, fitted, number, show, style
from workers.renderers.text import clean, cut
from workers.renderers.theme import HAIRLINE, INK, MUTED, NAVY, PAPER
from workers.renderers.xlsx_charts import ChartBook
from workers.renderers.xlsx_formulas import TableSheet, sheets

MADE = datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None)
MOST_CHARACTERS = 32_767
NARROWEST, WIDEST = 9, 60
WRAPPED_CHARACTERS = 56
ROWS_MEASURED = 500
CELLS_IN_MEMORY = 100_000
SUMMARY_WIDTHS = (2, 36, 34, 36, 34)
SENTENCE_CHARACTERS_A_LINE = 140
LINE_HEIGHT = 16
TALLEST_ROW = 400
CHART_ROWS_A_PAGE = 3
CHART_ROWS = 20
"""Rows of 20 pixels that one native chart and the space under it take."""


class Formats:
    """Cell formats, each made once."""

    def __init__(self, book: Any) -> None:
        self._book = book
        self._made: dict[tuple[tuple[str, Any], ...], Any] = {}

    def __call__(self, **look: Any) -> Any:
        """Return the format with that look."""
        key = tuple(sorted(look.items()))
        if key not in self._made:
            self._made[key] = self._book.add_format({"valign": "top", "font_color": INK, **look})
        return self._made[key]


class Workbook(NamedTuple):
    """What every sheet is written with."""

    book: Any
    formats: Formats
    report: Report


def workbook(report: Report) -> bytes:
    """Return the bytes of an .xlsx file. KeyError: a chart or formula names what its table does not have.

    Text is always written as text: nothing in a report becomes a formula but `Table.formulas` and totals.
    """
    cells = sum(len(table.rows) * len(table.columns) for table in report.tables)
    buffer = io.BytesIO()
    book = xlsxwriter.Workbook(
        buffer,
        {
            "constant_memory": cells > CELLS_IN_MEMORY,
            "strings_to_formulas": False,
            "strings_to_urls": False,
            "strings_to_numbers": False,
        },
    )
    book.set_properties({"title": cut(clean(report.title), 200), "author": "Milpa", "created": MADE})
    made = Workbook(book, Formats(book), report)
    summary = book.add_worksheet("Summary")
    tables = sheets(report)
    row = _write_summary(made, summary, tables)
    for sheet in tables:
        _write_table(made, sheet)
    if report.charts:
        rows = -(-len(report.charts) // 2)
        summary.set_h_pagebreaks([row + CHART_ROWS * i for i in range(0, rows, CHART_ROWS_A_PAGE)])
    charts = ChartBook(report, tables)
    for index, chart in enumerate(report.charts):
        native = charts.native(book, chart)
        if native is not None:
            summary.insert_chart(row + CHART_ROWS * (index // 2), 1 if index % 2 == 0 else 3, native, CHART_PLACE)
    charts.write_data(book, made.formats)
    book.close()
    return buffer.getvalue()


CHART_PLACE = {"object_position": 3, "x_offset": 4, "y_offset": 4}


def _write_summary(made: Workbook, sheet: Any, tables: list[TableSheet]) -> int:
    """Write title, facts, sentences and contents; return the row below them."""
    formats, report = made.formats, made.report
    sheet.hide_gridlines(2)
    sheet.set_paper(9)
    sheet.fit_to_pages(1, 0)
    for column, width in enumerate(SUMMARY_WIDTHS):
        sheet.set_column(column, column, width)
    sheet.set_row(1, 30)
    sheet.write_string(1, 1, _text(report.title), formats(bold=True, font_size=20, font_color=NAVY, valign="vcenter"))
    sheet.write_string(2, 1, _text(report.subtitle), formats(font_color=MUTED, font_size=11))
    row = _write_facts(made, sheet, 4)
    row = _write_sentences(made, sheet, row + 1) if report.sentences else row
    return _write_contents(made, sheet, row + 1, tables) if tables else row + 1


def _section(made: Workbook, sheet: Any, row: int, words: str) -> int:
    look = made.formats(bold=True, font_color=NAVY, font_size=12, bottom=1, bottom_color=NAVY)
    sheet.write_string(row, 1, words, look)
    for column in range(2, len(SUMMARY_WIDTHS)):
        sheet.write_blank(row, column, None, look)
    return row + 1


def _write_facts(made: Workbook, sheet: Any, row: int) -> int:
    formats, report = made.formats, made.report
    if not report.facts:
        return row
    row = _section(made, sheet, row, "Key figures")
    for fact in sorted(report.facts, key=lambda fact: not fact.headline):
        how = style(fact.unit, [fact.value], report.currency)
        line = {"bottom": 1, "bottom_color": HAIRLINE}
        sheet.write_string(row, 1, _text(fact.label), formats(text_wrap=True, **line))
        value = formats(bold=fact.headline, align="right", num_format=excel_format(how), **line)
        _write_cell(sheet, (row, 2), fact.value, how, value)
        sheet.write_string(row, 3, _text(fact.note), formats(font_color=MUTED, align="left", indent=1, **line))
        sheet.write_blank(row, 4, None, formats(**line))
        row += 1
    return row


def _write_sentences(made: Workbook, sheet: Any, row: int) -> int:
    row = _section(made, sheet, row, "In plain words")
    for sentence in map(_text, made.report.sentences):
        lines = -(-max(1, len(sentence)) // SENTENCE_CHARACTERS_A_LINE)
        sheet.set_row(row, min(TALLEST_ROW, LINE_HEIGHT * lines))
        sheet.merge_range(row, 1, row, 4, "", made.formats(text_wrap=True))
        sheet.write_string(row, 1, sentence, made.formats(text_wrap=True))
        row += 1
    return row


def _write_contents(made: Workbook, sheet: Any, row: int, tables: list[TableSheet]) -> int:
    row = _section(made, sheet, row, "Tables")
    link = made.formats(font_color="#24598F", underline=1)
    for table in tables:
        sheet.write_url(row, 1, f"internal:{table.quoted}!A1", link, cut(_text(table.table.title), 200))
        sheet.write_string(row, 2, table.count, made.formats(align="right", font_color=MUTED))
        sheet.write_string(row, 3, _text(table.table.note), made.formats(font_color=MUTED, align="left", indent=1))
        row += 1
    return row + 1


def _write_table(made: Workbook, sheet: TableSheet) -> None:
    page, table = made.book.add_worksheet(sheet.name), sheet.table
    styles = [style(c.unit, [row[i] for row in table.rows], made.report.currency) for i, c in enumerate(table.columns)]
    _set_page(page, sheet, styles)
    heading = {"bold": True, "font_color": "white", "bg_color": NAVY, "text_wrap": True, "valign": "vcenter"}
    page.set_row(0, LINE_HEIGHT * max([2, *(_heading_lines(table, i, how) for i, how in enumerate(styles))]))
    for column, (words, how) in enumerate(zip(table.columns, styles, strict=True)):
        look = heading | _away(styles, column) if how.unit is Unit.TEXT else heading | {"align": "right"}
        page.write_string(0, column, _text(words.label), made.formats(**look))
    writers = [_writer(made, page, sheet, column, styles) for column in range(len(styles))]
    wrapped = [column for column, how in enumerate(styles) if _wraps(table, column, how)]
    for row, cells in enumerate(sheet.rows, start=1):
        lines = max((-(-len(str(cells[column])) // WRAPPED_CHARACTERS) for column in wrapped), default=1)
        if lines > 1:
            page.set_row(row, min(TALLEST_ROW, LINE_HEIGHT * lines))
        for write, cell in zip(writers, cells, strict=True):
            write(row, cell)
    _write_totals(made, page, sheet, styles)


def _set_page(page: Any, sheet: TableSheet, styles: Sequence[Style]) -> None:
    table = sheet.table
    for column, how in enumerate(styles):
        page.set_column(column, column, _width(table, column, how))
    first_is_a_name = bool(styles) and styles[0].unit is Unit.TEXT
    page.freeze_panes(1, 1 if first_is_a_name and len(styles) > 1 else 0)
    if table.columns:
        page.autofilter(0, 0, max(1, len(sheet.rows)), len(table.columns) - 1)
    page.set_landscape()
    page.set_paper(9)
    page.repeat_rows(0)
    page.fit_to_pages(1, 0)
    page.set_footer("&L&8&A&R&8Page &P of &N")


def _width(table: Table, column: int, how: Style) -> float:
    cells = [show(row[column], how) for row in table.rows[:ROWS_MEASURED]]
    label = max((len(word) for word in clean(table.columns[column].label).split()), default=0) + 3
    total = 4 if table.columns[column].total else 0
    return float(min(WIDEST, max(NARROWEST, label, total + max(map(len, cells), default=0) + 2)))


def _heading_lines(table: Table, column: int, how: Style) -> int:
    room = int(_width(table, column, how)) - 2  # it is bold
    return len(textwrap.wrap(clean(table.columns[column].label), room))


def _away(styles: Sequence[Style], column: int) -> dict[str, Any]:
    """Return the look that keeps a column of words away from the figures that end right before it."""
    return {"align": "left", "indent": 1} if column and styles[column - 1].unit is not Unit.TEXT else {}


def _wraps(table: Table, column: int, how: Style) -> bool:
    return how.unit is Unit.TEXT and any(len(str(row[column])) > WRAPPED_CHARACTERS for row in table.rows)


Write = Callable[[int, Cell], Any]


def _writer(made: Workbook, page: Any, sheet: TableSheet, column: int, styles: Sequence[Style]) -> Write:
    """Return what writes a cell of one column: its look and its formula are settled once."""
    how = styles[column]
    as_text = {"text_wrap": True, **_away(styles, column)}
    look = made.formats(num_format=excel_format(how), **(as_text if how.unit is Unit.TEXT else {}))
    words = made.formats(**(as_text if how.unit is Unit.TEXT else {"align": "right"}))
    formula = sheet.formula(column)

    def write(row: int, cell: Cell) -> None:
        if formula is not None:
            value = number(cell)
            page.write_formula(row, column, formula(row), look, "" if value is None else value)
        elif type(cell) is float and cell - cell == 0.0:  # finite: the quick way for most cells of a large table
            finer = fitted(how, cell)
            fine = look if finer is how else made.formats(num_format=excel_format(finer))
            page.write_number(row, column, cell, fine)
        else:
            _write_cell(page, (row, column), cell, how, words if isinstance(cell, str) else look)

    return write


def _write_cell(page: Any, place: tuple[int, int], cell: Cell, how: Style, look: Any) -> None:
    if isinstance(cell, str):
        page.write_string(*place, _text(cell), look)
    elif cell is None:
        page.write_blank(*place, None, look)
    elif isinstance(cell, bool):
        page.write_boolean(*place, cell, look)
    elif isinstance(cell, date):
        page.write_datetime(*place, cell, look)
    elif (value := number(cell)) is not None:
        page.write_number(*place, value, look)
    elif (words := show(cell, how)) != MISSING:
        page.write_string(*place, words, look)
    else:
        page.write_blank(*place, None, look)


def _write_totals(made: Workbook, page: Any, sheet: TableSheet, styles: Sequence[Style]) -> None:
    if not sheet.has_totals:
        return
    line = {"bold": True, "top": 1, "top_color": NAVY, "bg_color": PAPER}
    row = len(sheet.rows) + 1
    for column, how in enumerate(styles):
        look = made.formats(num_format=excel_format(how), **line)
        if sheet.table.columns[column].total:
            page.write_formula(row, column, sheet.total_formula(column), look, sheet.total(column))
        elif column == 0:
            page.write_string(row, 0, "Total", made.formats(**line))
        else:
            page.write_blank(row, column, None, look)


def _text(words: str) -> str:
    return cut(clean(words), MOST_CHARACTERS)
