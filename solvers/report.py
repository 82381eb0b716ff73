"""What to show, apart from how to render it: facts, tables and charts. Never a file format."""

from datetime import date
from enum import StrEnum

import msgspec

Cell = str | float | int | bool | date | None


class Unit(StrEnum):
    """How a number reads. MONEY uses the report's currency; SHARE is a fraction shown as per cent."""

    TEXT = "text"
    NUMBER = "number"
    WHOLE = "whole"
    MONEY = "money"
    SHARE = "share"
    YEARS = "years"
    MONTHS = "months"
    AREA = "sqm"
    DATE = "date"
    RATIO = "ratio"


class Mark(StrEnum):
    """The shape of a chart."""

    BAR = "bar"
    STACKED_BAR = "stacked_bar"
    LINE = "line"
    STEP = "step"
    AREA = "area"
    SCATTER = "scatter"
    GANTT = "gantt"


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """One figure that matters. name: stable, for comparison between jobs; label: for people; headline: shown first."""

    name: str
    label: str
    value: Cell
    unit: Unit = Unit.NUMBER
    note: str = ""
    headline: bool = True


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A column of a table. total: whether its sum means something (XLSX writes it as a live formula)."""

    name: str
    label: str
    unit: Unit = Unit.TEXT
    total: bool = False


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Rows under columns; `rows[i][j]` belongs to `columns[j]`. `note` says what a reader should know.

    `formulas`: column name → formula over column names in braces, such as "{price} * {allocation}": XLSX shows the
    figure as a live formula, the other formats show the value in the row.
    """

    name: str
    title: str
    columns: list[Column]
    rows: list[tuple[Cell, ...]]
    note: str = ""
    formulas: dict[str, str] = {}


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """A picture of one table: which columns go where. Renderers make Vega-Lite, PNG and native Excel charts of it.

    x, y, color, size, label: column names. For GANTT: x is the start, x2 the end, y the row. `y` may name several
    columns (one series each). `limit`: name of a column drawn as a line over the marks (a cap, a covenant).
    `reference`: draws one horizontal line at that value.
    """

    name: str
    title: str
    mark: Mark
    table: str
    x: str
    y: list[str]
    x2: str | None = None
    color: str | None = None
    size: str | None = None
    label: str | None = None
    limit: str | None = None
    reference: float | None = None
    horizontal: bool = False


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All that a reader should see of one job.

    `sentences` explain the answer in plain words; `hidden_tables` feed charts only and are not shown as tables.
    `front`: tables that stand on one page with the title and the key figures, to be signed; the rest begins a new page.
    """

    title: str
    subtitle: str = ""
    currency: str = ""
    facts: list[Fact] = []
    sentences: list[str] = []
    tables: list[Table] = []
    charts: list[Chart] = []
    front: list[str] = []
    hidden_tables: list[str] = []

    def table(self, name: str) -> Table:
        """Return the table of that name. KeyError: there is none."""
        for table in self.tables:
            if table.name == name:
                return table
        raise KeyError(name)
