"""A chart resolved against its table: which points are drawn, in which series, on which kind of axis."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import date, datetime
from enum import StrEnum
from typing import NamedTuple

from solvers.report import Cell, Chart, Column, Mark, Report, Table, Unit
from workers.renderers.figures import Style, header, number, show, style
from workers.renderers.text import clean, cut
from workers.renderers.thinning import Spot, keep

MAX_LABEL_CHARACTERS = 80
MAX_TITLE_CHARACTERS = 240
BARS = (Mark.BAR, Mark.STACKED_BAR)


class Scale(StrEnum):
    """How an axis is laid out."""

    CATEGORY = "category"
    NUMBER = "number"
    DATE = "date"


class Channel(NamedTuple):
    """A column in its role. position: its place in the table's rows."""

    position: int
    column: Column
    style: Style
    scale: Scale

    @property
    def label(self) -> str:
        """The column's label, short enough for a legend or an axis."""
        return name(self.column.label)

    @property
    def header(self) -> str:
        """The label with the unit of its figures."""
        return name(header(self.column, self.style.currency))


class Point(NamedTuple):
    """One mark: a row of the table in one series. x is a category's text, a number or a date, as its scale says."""

    row: int
    series: str
    x: str | float | date
    y: float | str
    y_index: int
    x2: float | date | None


class Plot(NamedTuple):
    """What to draw. series: labels in the order of the legend. note: what was left out, or ""."""

    chart: Chart
    table: Table
    x: Channel
    y: list[Channel]
    size: Channel | None
    limit: Channel | None
    label: Channel | None
    series: list[str]
    points: list[Point]
    note: str

    def figure(self, point: Point, channel: Channel | None) -> float | None:
        """Return the number that a point's row has in another column."""
        return None if channel is None else number(self.table.rows[point.row][channel.position])

    def words(self, point: Point, channel: Channel | None) -> str | None:
        """Return the text that a point's row has in another column."""
        return None if channel is None else text(self.table.rows[point.row][channel.position], channel.style)

    @property
    def title(self) -> str:
        """The chart's title, short enough for a few lines: pictures of thousands of lines take minutes."""
        return cut(clean(self.chart.title), MAX_TITLE_CHARACTERS)

    @property
    def categories(self) -> list[str]:
        """The texts along the category axis, in the order of the table."""
        on_y = self.chart.mark is Mark.GANTT
        return list(dict.fromkeys(str(point.y if on_y else point.x) for point in self.points))


def resolve(chart: Chart, report: Report) -> Plot:
    """Return the points of a chart. KeyError: it names a table or column that is not there."""
    table = report.table(chart.table)
    roles = _Roles(chart, table, report.currency)
    x = roles.channel(chart.x)
    points = _points(chart, table, roles, x)
    ordered = x.scale is not Scale.CATEGORY or x.column.unit is not Unit.TEXT
    kept = keep([_spot(chart.mark, point) for point in points], chart.mark, ordered=ordered)
    shown = [points[i] for i in kept.indexes]
    return Plot(
        chart=chart,
        table=table,
        x=x,
        y=[roles.channel(name) for name in chart.y],
        size=roles.optional(chart.size),
        limit=roles.optional(chart.limit),
        label=roles.optional(chart.label),
        series=list(dict.fromkeys(point.series for point in shown)),
        points=shown,
        note=kept.note,
    )


class _Roles:
    """Finds a chart's columns in its table."""

    def __init__(self, chart: Chart, table: Table, currency: str) -> None:
        self.chart, self.table, self.currency = chart, table, currency
        self.places = {column.name: index for index, column in enumerate(table.columns)}

    def channel(self, name: str) -> Channel:
        index = self.places[name]
        column = self.table.columns[index]
        cells = [row[index] for row in self.table.rows]
        return Channel(index, column, style(column.unit, cells, self.currency), self._scale(column, cells))

    def optional(self, name: str | None) -> Channel | None:
        return None if name is None else self.channel(name)

    def _scale(self, column: Column, cells: Sequence[Cell]) -> Scale:
        present = [cell for cell in cells if cell is not None]
        if self.chart.mark in BARS or not present:
            return Scale.CATEGORY
        if column.unit is not Unit.TEXT and all(number(cell) is not None for cell in present):
            return Scale.NUMBER
        if column.unit is Unit.DATE and all(as_date(cell) for cell in present):
            return Scale.DATE
        return Scale.CATEGORY


def as_date(cell: Cell) -> date | None:
    """Return the day in a cell: a date, "2026-01-31", or "2026-01" for the first of that month; else None."""
    if isinstance(cell, datetime):
        return cell.date()
    if isinstance(cell, date):
        return cell
    if not isinstance(cell, str):
        return None
    try:
        return date.fromisoformat(cell if len(cell) > len("2026-01") else f"{cell}-01")
    except ValueError:
        return None


def _points(chart: Chart, table: Table, roles: _Roles, x: Channel) -> list[Point]:
    color, x2 = roles.optional(chart.color), roles.optional(chart.x2)
    ys = [roles.channel(name) for name in chart.y]
    gantt = chart.mark is Mark.GANTT
    points = []
    for y in ys:
        named = _series_names(y, color, several=len(ys) > 1)
        for row, cells in enumerate(table.rows):
            at = _place(cells[x.position], x)
            value = text(cells[y.position], y.style) if gantt else number(cells[y.position])
            end = None if x2 is None else _place(cells[x2.position], x2)
            if at is None or value is None or isinstance(end, str) or (gantt and end is None):
                continue
            points.append(Point(row, named(cells), at, value, y.position, end))
    return points


def _place(cell: Cell, channel: Channel) -> str | float | date | None:
    match channel.scale:
        case Scale.NUMBER:
            return number(cell)
        case Scale.DATE:
            return as_date(cell)
        case Scale.CATEGORY:
            return text(cell, channel.style)


def text(cell: Cell, how: Style) -> str:
    """Return a cell as a label in a chart: short, clean, never empty."""
    return cut(clean(show(cell, how)), MAX_LABEL_CHARACTERS) or "–"


def name(label: str) -> str:
    """Return a column's label as the name of a series, an axis or a tooltip.

    Without backslashes: Vega-Lite writes such names into expressions and escapes their quotes only.
    """
    return cut(clean(label.replace("\\", "/")), MAX_LABEL_CHARACTERS)


def _series_names(y: Channel, color: Channel | None, *, several: bool) -> Callable[[Sequence[Cell]], str]:
    """Return what names the series of a row: the column, the group in the column of colours, or both."""
    label = y.label
    if color is None:
        return lambda _: label
    known: dict[Cell, str] = {}

    def named(cells: Sequence[Cell]) -> str:
        cell = cells[color.position]
        if cell not in known:
            group = text(cell, color.style)
            known[cell] = f"{group}, {label}" if several else group
        return known[cell]

    return named


def _spot(mark: Mark, point: Point) -> Spot:
    """Return what thinning looks at: the point's series, its place and its size."""
    if mark in BARS or mark is Mark.GANTT:
        return Spot(point.series, str(point.y if mark is Mark.GANTT else point.x), 0.0, _magnitude(point))
    place = point.x.toordinal() if isinstance(point.x, date) else point.x
    return Spot(point.series, "", place if isinstance(place, int | float) else float(point.row), float(point.y))


def _magnitude(point: Point) -> float:
    if isinstance(point.x2, date) and isinstance(point.x, date):
        return float((point.x2 - point.x).days)
    if isinstance(point.x2, float) and isinstance(point.x, float):
        return point.x2 - point.x
    return abs(point.y) if isinstance(point.y, float) else 0.0


def groups(plot: Plot) -> dict[str, list[Point]]:
    """Return the points of each series, in the order of the legend."""
    found: dict[str, list[Point]] = defaultdict(list)
    for point in plot.points:
        found[point.series].append(point)
    return dict(found)
