"""Where each table stands in the workbook, and the live formulas that follow from it."""

import math
import re
from collections.abc import Callable
from functools import cached_property

from solvers.report import Cell, Report, Table
from workers.renderers.figures import number
from workers.renderers.text import clean, cut_to_units, unique

MOST_ROWS = 1_048_576
LONGEST_SHEET_NAME = 31
SUMMARY = "Summary"
CHART_DATA = "Chart data"
_ILLEGAL_IN_SHEET_NAME = re.compile(r"[\[\]:*?/\\]")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


class TableSheet:
    """A table on its sheet: header in the first row, rows below, totals last."""

    def __init__(self, name: str, table: Table) -> None:
        self.name = name
        self.table = table

    @property
    def quoted(self) -> str:
        """The sheet's name as a formula writes it."""
        return "'" + self.name.replace("'", "''") + "'"

    @cached_property
    def rows(self) -> list[tuple[Cell, ...]]:
        """The rows that a sheet can hold beside its header and totals."""
        return self.table.rows[: MOST_ROWS - 2]

    @property
    def count(self) -> str:
        """How many rows there are, in words, and how many of them this sheet holds."""
        rows, all_rows = len(self.rows), len(self.table.rows)
        return f"{rows:,} row{'' if rows == 1 else 's'}" + (f" of {all_rows:,}" if rows < all_rows else "")

    @property
    def has_totals(self) -> bool:
        """Whether a row of totals means something."""
        return bool(self.rows) and any(column.total for column in self.table.columns)

    def formula(self, column: int) -> Callable[[int], str] | None:
        """Return what writes the column's formula for a sheet row (0 = header), or None where it has none.

        KeyError: the formula names a column that the table does not have.
        """
        template = self.table.formulas.get(self.table.columns[column].name)
        if template is None:
            return None
        letters = {c.name: letter(i) for i, c in enumerate(self.table.columns)}
        pieces = _PLACEHOLDER.split(template)
        text, names = pieces[::2], [letters[name] for name in pieces[1::2]]

        def write(row: int) -> str:
            cells = [f"{name}{row + 1}" for name in names]
            return "=" + text[0] + "".join(cell + after for cell, after in zip(cells, text[1:], strict=True))

        return write

    def total_formula(self, column: int) -> str:
        """Return the live sum of a column."""
        return f"=SUM({letter(column)}2:{letter(column)}{len(self.rows) + 1})"

    def total(self, column: int) -> float:
        """Return the sum of a column's numbers, which the file shows before it is recalculated."""
        return math.fsum(value for row in self.rows if (value := number(row[column])) is not None)


def sheets(report: Report) -> list[TableSheet]:
    """Return the sheets of a report's tables, those that only feed charts last, under legal and unique names."""
    ordered = sorted(report.tables, key=lambda table: table.name in report.hidden_tables)
    wanted = [SUMMARY, CHART_DATA, *(_sheet_name(table) for table in ordered)]
    names = unique(wanted, longest=LONGEST_SHEET_NAME)[2:]
    return [TableSheet(name, table) for name, table in zip(names, ordered, strict=True)]


def _sheet_name(table: Table) -> str:
    name = _ILLEGAL_IN_SHEET_NAME.sub(" ", clean(table.title) or clean(table.name))
    name = cut_to_units(" ".join(name.split()), LONGEST_SHEET_NAME).strip(" '")
    return "Table" if not name or name.casefold() == "history" else name


def letter(column: int) -> str:
    """Return the letters of a column, counted from 0: A, B, … Z, AA."""
    letters = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters
