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


class _Issues:
    def __init__(self) -> None:
        self.listed: list[Issue] = []
        self.total = 0

    def add(self, code: str, at: str, message: str, *, row: int | None = None, column: str | None = None) -> None:
        self.total += 1
        if self.total <= MAX_ISSUES:
            self.listed.append(Issue(code=code, pointer=at, message=message, row=row, column=column))


def read_table(kind: JobKind[Any, Any], table_format: TableFormat, data: bytes) -> RowsRead:
    """Read the main table of a kind from a file. ValueError: the kind has none."""
    table = _main_table(kind)
    columns = columns_of(kind.problem, table)
    try:
        grid = read_grid(data, table_format, {column.name for column in columns})
    except UnreadableError as error:
        issue = Issue(code=error.code, pointer=pointer(table), message=error.message)
        return RowsRead(table=pointer(table), issues=[issue], total=1)
    return rows_of(grid, columns, table)


def _main_table(kind: JobKind[Any, Any]) -> str:
    if kind.main_table is None:
        raise ValueError(f"{kind.name} has no main table")
    return kind.main_table


def rows_of(grid: Grid, columns: list[Column], table: str) -> RowsRead:
    """Return the rows below the header, which is the first line that is not empty; empty lines are no rows."""
    issues = _Issues()
    start = next((place for place, line in enumerate(grid) if any(line)), None)
    if start is None:
        issues.add("empty_table", pointer(table), "The file has no header and no rows.")
        return RowsRead(table=pointer(table), issues=issues.listed, total=issues.total)
    placed = _match_header(grid[start], columns, table, start + 1, issues)
    body = [(number, line) for number, line in enumerate(grid[start + 1 :], start + 2) if any(line)]
    if not body:
        message = "There is a header but no row below it."
        issues.add("empty_table", pointer(table), message, row=start + 1)
    header_is_wrong = issues.total > 0
    rows = _parse(body, placed, len(grid[start]), table, issues)
    return RowsRead(
        table=pointer(table),
        rows=[] if header_is_wrong else rows,
        numbers=[] if header_is_wrong else [number for number, _ in body],
        issues=issues.listed,
        total=issues.total,
    )


def _match_header(
    header: list[str], columns: list[Column], table: str, row: int, issues: _Issues
) -> list[tuple[int, Column]]:
    """Return the known columns and where they are; say which are unknown, missing or come twice."""
    known = {column.name: column for column in columns}
    placed: dict[str, tuple[int, Column]] = {}
    for place, name in enumerate(header):
        if name in placed:
            issues.add(
                "duplicate_column", pointer(table), f"The column {ticked(name)} comes twice.", row=row, column=name
            )
        elif name in known:
            placed[name] = place, known[name]
        elif name:
            hint = did_you_mean(name, known, ticked) or f" There are {', '.join(map(ticked, known))}."
            message = f"There is no column {ticked(name)}.{hint}"
            issues.add("unknown_column", pointer(table), message, row=row, column=name)
    for name, column in known.items():
        if column.required and name not in placed:
            message = f"The column {ticked(name)} is missing; the header has {listed(filter(None, header))}."
            issues.add("missing_column", pointer(table), message, row=row, column=name)
    return list(placed.values())


def _parse(
    body: list[tuple[int, list[str]]], placed: list[tuple[int, Column]], width: int, table: str, issues: _Issues
) -> list[dict[str, Any]]:
    readers = [(place, column.name, column.parse) for place, column in placed]
    rows = []
    for index, (number, line) in enumerate(body):
        if any(line[width:]):
            message = f"This row has more cells ({len(line)}) than the header ({width}): quote text with commas."
            issues.add("too_many_cells", pointer(table, index), message, row=number)
        row: dict[str, Any] = {}
        length = len(line)
        for place, name, parse in readers:
            if place < length and (text := line[place]):
                try:
                    row[name] = parse(text)
                except CellError as error:
                    at = pointer(table, index, name)
                    issues.add(error.code, at, error.message, row=number, column=name)
        rows.append(row)
    return rows
