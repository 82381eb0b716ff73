"""Tables as CSV for programs and spreadsheets: column names as headings, plain numbers, ISO dates."""

import csv
import io
import zipfile
from collections.abc import Iterable, Sequence
from datetime import date
from typing import NamedTuple

from milpa.spreadsheets import defused
from solvers.report import Cell, Report
from workers.renderers.text import clean, file_name, unique

BYTE_ORDER_MARK = "\ufeff"
EARLIEST_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
LONGEST_ENTRY_NAME = 80


class TablesFile(NamedTuple):
    """A CSV file, or a ZIP of them. ending: of its name, hyphen included."""

    ending: str
    media_type: str
    data: bytes


def tables(report: Report) -> TablesFile:
    """Return one table as CSV, several as a ZIP with a CSV each; a report without tables gives its facts.

    UTF-8 with a byte order mark: Excel takes a file without one for the local code page and spoils every accent, while
    every other reader drops the mark. Lines end in CR LF (RFC 4180). A text that a spreadsheet would take for a formula
    gets an apostrophe before it.
    """
    if not report.tables:
        return TablesFile(".csv", "text/csv", _facts(report))
    if len(report.tables) == 1:
        return TablesFile(".csv", "text/csv", _csv(_heading(report, 0), report.tables[0].rows))
    names = unique([file_name(table.name) for table in report.tables], longest=LONGEST_ENTRY_NAME)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for index, (name, table) in enumerate(zip(names, report.tables, strict=True)):
            entry = zipfile.ZipInfo(f"{name}.csv", EARLIEST_ZIP_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, _csv(_heading(report, index), table.rows))
    return TablesFile("-csv.zip", "application/zip", buffer.getvalue())


def _heading(report: Report, index: int) -> list[Cell]:
    return [column.name for column in report.tables[index].columns]


def _facts(report: Report) -> bytes:
    rows = [(fact.name, fact.label, fact.value, fact.unit.value, fact.note) for fact in report.facts]
    return _csv(["name", "label", "value", "unit", "note"], rows)


def _csv(heading: Sequence[Cell], rows: Iterable[Sequence[Cell]]) -> bytes:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow([_plain(cell) for cell in heading])
    writer.writerows([_plain(cell) for cell in row] for row in rows)
    return (BYTE_ORDER_MARK + buffer.getvalue()).encode()


def _plain(cell: Cell) -> str | int | float:
    """Return a cell as CSV holds it: true and false in lower case, nothing for what is missing or not a number."""
    if isinstance(cell, str):
        return defused(clean(cell))
    if cell is None or cell != cell:  # noqa: PLR0124 (NaN is what differs from itself)
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return cell.isoformat() if isinstance(cell, date) else cell
