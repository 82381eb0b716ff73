"""An empty table to fill in: the columns of a kind's main table with two example rows."""

import csv
import io
from typing import Any, Final

from solvers.kind import JobKind
from solvers.rows.cells import write
from solvers.rows.columns import Column, columns_of
from solvers.rows_process import TableFormat

EXAMPLE_ROWS: Final = 2

_NARROWEST, _WIDEST = 12, 32
_HEADER_FORMAT: Final = {"bold": True, "bg_color": "#E8EEF4", "bottom": 1, "align": "left"}


def template(kind: JobKind[Any, Any], table_format: TableFormat) -> bytes:
    """Return the template of a kind's main table as CSV or XLSX. ValueError: the kind has none, or Parquet is asked."""
    if kind.main_table is None:
        raise ValueError(f"{kind.name} has no main table")
    columns = columns_of(kind.problem, kind.main_table)
    examples = kind.example["problem"][kind.main_table][:EXAMPLE_ROWS]
    if table_format is TableFormat.CSV:
        return _csv(columns, examples)
    if table_format is TableFormat.XLSX:
        return _xlsx(kind.main_table, columns, examples)
    raise ValueError("templates are CSV or XLSX")


def _csv(columns: list[Column], examples: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    lines = csv.writer(text)
    lines.writerow(column.name for column in columns)
    lines.writerows([write(row.get(column.name)) for column in columns] for row in examples)
    return text.getvalue().encode()


def _xlsx(title: str, columns: list[Column], examples: list[dict[str, Any]]) -> bytes:
    import xlsxwriter

    data = io.BytesIO()
    with xlsxwriter.Workbook(data, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}) as book:
        sheet = book.add_worksheet(title[:31])
        header = book.add_format(_HEADER_FORMAT)
        for place, column in enumerate(columns):
            sheet.write_string(0, place, column.name, header)
            sheet.write_comment(0, place, column.note, {"x_scale": 2})
            values = [row.get(column.name) for row in examples]
            for line, value in enumerate(values, 1):
                _write_cell(sheet, line, place, value)
            widest = max(len(text) for text in (column.name, *map(write, values)))
            sheet.set_column(place, place, min(max(widest + 2, _NARROWEST), _WIDEST))
        sheet.freeze_panes(1, 0)
    return data.getvalue()


def _write_cell(sheet: Any, line: int, place: int, value: Any) -> None:
    if isinstance(value, bool):
        sheet.write_boolean(line, place, value)
    elif isinstance(value, int | float):
        sheet.write_number(line, place, value)
    elif value is not None:
        sheet.write_string(line, place, write(value))
