"""A grid of text becomes the rows of a problem, and all that is wrong with its header and cells."""

from typing import Any, Final

from solvers.issues import Issue, pointer
from solvers.kind import JobKind
from solvers.rows.cells import CellError
from solvers.rows.columns import Column, columns_of
from solvers.rows.grids import Grid, read_grid
from solvers.rows.unreadable import UnreadableError
from solvers.rows_process import RowsRead, TableFormat
from solvers.type_words import did_you_mean, listed, ticked

MAX_ISSUES: Final = 1000
MAX_COLUMNS: Final = 1000


class _Reading:
    """What was found in one table so far."""

    def __init__(self, table: str) -> None:
        self.table = table
        self.issues: list[Issue] = []
        self.total = 0

    def add(
        self,
        code: str,
        message: str,
        *,
        at: tuple[str | int, ...] = (),
        row: int | None = None,
        column: str | None = None,
    ) -> None:
        """Count an issue at a place within the table."""
        self.total += 1
        if self.total <= MAX_ISSUES:
            where = pointer(self.table, *at)
            self.issues.append(Issue(code=code, pointer=where, message=message, row=row, column=column))

    def answer(self, rows: list[dict[str, Any]], numbers: list[int]) -> RowsRead:
        """Return it with these rows."""
        return RowsRead(table=pointer(self.table), rows=rows, numbers=numbers, issues=self.issues, total=self.total)


def read_table(kind: JobKind[Any, Any], table_format: TableFormat, data: bytes) -> RowsRead:
    """Read the main table of a kind from a file. ValueError: the kind has none."""
    table = _main_table(kind)
    columns = columns_of(kind.problem, table)
    try:
        grid = read_grid(data, table_format, {column.name for column in columns})
    except UnreadableError as error:
        reading = _Reading(table)
        reading.add(error.code, error.message)
        return reading.answer([], [])
    return rows_of(grid, columns, table)


def _main_table(kind: JobKind[Any, Any]) -> str:
    if kind.main_table is None:
        raise ValueError(f"{kind.name} has no main table")
    return kind.main_table


def rows_of(grid: Grid, columns: list[Column], table: str) -> RowsRead:
    """Return the rows below the header, which is the first line that is not empty; empty lines are no rows."""
    reading = _Reading(table)
    start = next((place for place, line in enumerate(grid) if any(line)), None)
    if start is None:
        reading.add("empty_table", "The file has no header and no rows.")
        return reading.answer([], [])
    header = grid[start]
    if len(header) > MAX_COLUMNS:
        reading.add("too_large", f"The header has more than {MAX_COLUMNS:,} columns.", row=start + 1)
        return reading.answer([], [])
    body = [(number, line) for number, line in enumerate(grid[start + 1 :], start + 2) if any(line)]
    placed = _match_header(header, columns, start + 1, reading)
    _check_body(header, body, start + 1, reading)
    header_is_wrong = reading.total > 0
    rows = _parse(body, placed, len(header), reading)
    return reading.answer([], []) if header_is_wrong else reading.answer(rows, [number for number, _ in body])


def _match_header(header: list[str], columns: list[Column], row: int, reading: _Reading) -> list[tuple[int, Column]]:
    """Return the known columns and where they are; say which are unknown, missing or come twice."""
    known = {column.name: column for column in columns}
    placed: dict[str, tuple[int, Column]] = {}
    for place, name in enumerate(header):
        if name in placed:
            reading.add("duplicate_column", f"The column {ticked(name)} comes twice.", row=row, column=name)
        elif name in known:
            placed[name] = place, known[name]
        elif name:
            hint = did_you_mean(name, known, ticked) or f" There are {', '.join(map(ticked, known))}."
            reading.add("unknown_column", f"There is no column {ticked(name)}.{hint}", row=row, column=name)
    for name, column in known.items():
        if column.required and name not in placed:
            message = f"The column {ticked(name)} is missing; the header has {listed(filter(None, header))}."
            reading.add("missing_column", message, row=row, column=name)
    return list(placed.values())


def _check_body(header: list[str], body: list[tuple[int, list[str]]], row: int, reading: _Reading) -> None:
    """Say that there are no rows, or that a column has values and no name."""
    if not body:
        reading.add("empty_table", "There is a header but no row below it.", row=row)
    for place, name in enumerate(header):
        if not name and any(line[place] for _, line in body if place < len(line)):
            reading.add("unknown_column", f"Column {place + 1} has values and no name in the header.", row=row)


def _parse(
    body: list[tuple[int, list[str]]], placed: list[tuple[int, Column]], width: int, reading: _Reading
) -> list[dict[str, Any]]:
    readers = [(place, column.name, column.parse) for place, column in placed]
    rows = []
    for index, (number, line) in enumerate(body):
        if any(line[width:]):
            message = f"This row has more cells ({len(line)}) than the header ({width}): quote text with commas."
            reading.add("too_many_cells", message, at=(index,), row=number)
        row: dict[str, Any] = {}
        length = len(line)
        for place, name, parse in readers:
            if place < length and (text := line[place]):
                try:
                    row[name] = parse(text)
                except CellError as error:
                    reading.add(error.code, error.message, at=(index, name), row=number, column=name)
        rows.append(row)
    return rows
