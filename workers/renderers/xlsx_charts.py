"""Native Excel charts on the cells of a table, or, where Excel needs another shape, on a sheet of references."""

from datetime import date
from itertools import pairwise
from typing import Any, NamedTuple

from solvers.report import Chart, Mark, Report
from workers.renderers.figures import excel_axis_format, excel_format
from workers.renderers.plot import BARS, Plot, Point, Scale, groups, resolve
from workers.renderers.text import cut
from workers.renderers.theme import FONT, HAIRLINE, INK, LIMIT, MUTED, NAVY, PALETTE
from workers.renderers.xlsx_formulas import CHART_DATA, TableSheet, letter

SIZE = {"width": 488, "height": 380}
MOST_TITLE_CHARACTERS = 120
MOST_MARKERS = 40
MOST_LABELS = 20

Range = list[str | int]
Place = str | float | date


class Reference(NamedTuple):
    """A cell of the helper sheet: a formula that reads other cells, with the value it has."""

    formula: str
    value: str | float | date


HelperCell = Reference | str | float | date | None


class Lines(NamedTuple):
    """One series of a native chart."""

    name: str
    categories: Range
    values: Range


class ChartBook:
    """Makes the charts of a workbook and keeps the cells that they need beside the tables."""

    def __init__(self, report: Report, tables: list[TableSheet]) -> None:
        self.report = report
        self.sheets = {sheet.table.name: sheet for sheet in tables}
        self.rows: list[list[HelperCell]] = []

    def native(self, book: Any, chart: Chart) -> Any | None:
        """Return a native chart, or None when there is nothing to draw. KeyError: it names what is not there."""
        plot = resolve(chart, self.report)
        if not plot.points:
            return None
        made = _SHAPES[chart.mark](self, book, plot)
        self._dress(made, plot)
        return made

    def write_data(self, book: Any, formats: Any) -> None:
        """Write the helper cells, if any, on a hidden sheet of their own."""
        if not self.rows:
            return
        page = book.add_worksheet(CHART_DATA)
        page.hide()
        day = formats(num_format="yyyy-mm-dd")
        for row, cells in enumerate(self.rows):
            for column, cell in enumerate(cells):
                _write_helper(page, row, column, cell, day)

    def bars(self, book: Any, plot: Plot) -> Any:
        """Return columns or lying bars; the limit is a line over columns and a hollow bar behind lying ones."""
        lying = plot.chart.horizontal
        kind = {"type": "bar" if lying else "column"}
        if plot.chart.mark is Mark.STACKED_BAR:
            kind["subtype"] = "stacked"
        made = book.add_chart(kind)
        lines = self._matrix(plot)
        marks, bound = lines[: len(plot.series)], lines[len(plot.series) :]
        for index, line in enumerate(marks):
            made.add_series({**_series(line), "fill": {"color": _color(index)}, "gap": 60})
        self._bound(book, made, bound, lying=lying)
        return made

    def lines(self, book: Any, plot: Plot) -> Any:
        """Return lines to scale: over days, over numbers, or over categories."""
        if plot.x.scale is Scale.NUMBER:
            made = book.add_chart({"type": "scatter", "subtype": "straight"})
        else:
            made = book.add_chart({"type": "line"})
        lines = self._steps(plot) if plot.chart.mark is Mark.STEP else self._matrix(plot)
        few = len(plot.points) <= MOST_MARKERS * len(plot.series) and plot.chart.mark is Mark.LINE
        for index, line in enumerate(lines):
            marks = index < len(plot.series)
            look = {"color": _color(index), "width": 2.25} if marks else _limit_line()
            made.add_series(
                {**_series(line), "line": look, "marker": _marker(index) if few and marks else {"type": "none"}}
            )
        return made

    def areas(self, book: Any, plot: Plot) -> Any:
        """Return areas, stacked where there are several; a limit is a line over them."""
        several = len(plot.series) > 1
        made = book.add_chart({"type": "area", **({"subtype": "stacked"} if several else {})})
        lines = self._matrix(plot)
        for index, line in enumerate(lines[: len(plot.series)]):
            made.add_series({**_series(line), "fill": {"color": _color(index), "transparency": 15 if several else 60}})
        self._bound(book, made, lines[len(plot.series) :], lying=False)
        return made

    def scatter(self, book: Any, plot: Plot) -> Any:
        """Return points by series; sizes are not shown, labels are, where there are few points."""
        if plot.x.scale is Scale.CATEGORY:
            return self._category_points(book, plot)
        made = book.add_chart({"type": "scatter"})
        for index, (name, points) in enumerate(groups(plot).items()):
            rows: list[list[HelperCell]] = [[self._x(plot, point), self._y(plot, point)] for point in points]
            at = self._keep([[name, ""], *rows])
            line = Lines(name, _down(at + 1, 0, len(rows)), _down(at + 1, 1, len(rows)))
            labels = self._labels(plot, points) if len(plot.points) <= MOST_LABELS else {}
            made.add_series({**_series(line), "marker": _marker(index, 6), **labels})
        for line in self._flat_reference(plot):
            made.add_series({**_series(line), "line": _limit_line(), "marker": {"type": "none"}})
        return made

    def gantt(self, book: Any, plot: Plot) -> Any:
        """Return a stacked bar whose first series, up to the start, is invisible."""
        made = book.add_chart({"type": "bar", "subtype": "stacked"})
        series = list(groups(plot))
        heading: list[HelperCell] = ["", plot.x.label, *series]
        at = self._keep([heading, *(self._gantt_row(plot, point, series) for point in plot.points)])
        count = len(plot.points)
        start = Lines(plot.x.label, _down(at + 1, 0, count), _down(at + 1, 1, count))
        made.add_series({**_series(start), "fill": {"none": True}, "border": {"none": True}, "gap": 40})
        for index, name in enumerate(series):
            line = Lines(name, _down(at + 1, 0, count), _down(at + 1, 2 + index, count))
            made.add_series({**_series(line), "fill": {"color": _color(index)}, "gap": 40})
        return made

    def _gantt_row(self, plot: Plot, point: Point, series: list[str]) -> list[HelperCell]:
        start = self._cell(plot, point.row, plot.x.position)
        end = self._cell(plot, point.row, self._place(plot, plot.chart.x2))
        length = _length(point)
        lengths: list[HelperCell] = [None] * len(series)
        lengths[series.index(point.series)] = Reference(f"={end}-{start}", length) if end and start else length
        return [str(point.y), self._x(plot, point), *lengths]

    def _category_points(self, book: Any, plot: Plot) -> Any:
        made = book.add_chart({"type": "line"})
        for index, line in enumerate(self._matrix(plot)):
            marker = _marker(index, 7) if index < len(plot.series) else {"type": "none"}
            made.add_series({**_series(line), "line": {"none": True}, "marker": marker})
        return made

    def _matrix(self, plot: Plot) -> list[Lines]:
        """Return series over shared categories: the table's own cells where it has that shape, else references."""
        sheet = self.sheets[plot.table.name]
        whole = len(plot.points) == len(sheet.rows) * len(plot.y) and plot.chart.reference is None
        if whole and plot.chart.color is None and self._same_in_cells(plot):
            columns = [*plot.y, *([plot.limit] if plot.limit else [])]
            along = _column(sheet, plot.x.position)
            return [Lines(c.label, along, _column(sheet, c.position)) for c in columns]
        return self._pivot(plot)

    @staticmethod
    def _same_in_cells(plot: Plot) -> bool:
        """Tell whether each row is a category of its own, in cells that Excel reads as we do."""
        if len({point.x for point in plot.points}) * len(plot.y) != len(plot.points):
            return False
        return plot.x.scale is not Scale.DATE or isinstance(plot.table.rows[0][plot.x.position], date)

    def _pivot(self, plot: Plot) -> list[Lines]:
        places: dict[Place, dict[str, Point]] = {}
        for point in plot.points:
            places.setdefault(point.x, {})[point.series] = point
        names = [*plot.series, *([plot.limit.label] if plot.limit else [])]
        if plot.chart.reference is not None:
            names.append("Reference")
        rows: list[list[HelperCell]] = []
        for place, found in places.items():
            row: list[HelperCell] = [
                place if plot.x.scale is Scale.CATEGORY else self._x(plot, next(iter(found.values())))
            ]
            row += [self._y(plot, found[name]) if name in found else None for name in plot.series]
            rows.append([*row, *self._bounds(plot, next(iter(found.values())))])
        at = self._keep([["", *names], *rows])
        return [
            Lines(name, _down(at + 1, 0, len(rows)), _down(at + 1, 1 + index, len(rows)))
            for index, name in enumerate(names)
        ]

    def _bounds(self, plot: Plot, point: Point) -> list[HelperCell]:
        found: list[HelperCell] = []
        if plot.limit:
            value = plot.figure(point, plot.limit)
            cell = self._cell(plot, point.row, plot.limit.position)
            found.append(Reference(f"={cell}", value) if cell and value is not None else value)
        return [*found, *([plot.chart.reference] if plot.chart.reference is not None else [])]

    def _steps(self, plot: Plot) -> list[Lines]:
        """Return each step as two points at the same place: what was, and what is from here on."""
        if plot.x.scale is Scale.CATEGORY:
            return self._pivot(plot)
        first = len(self.rows)
        lines = self._pivot(plot)
        heading, *rows = self.rows[first:]
        doubled = [heading, rows[0]]
        for before, now in pairwise(rows):
            doubled += [[now[0], *before[1:]], now]
        self.rows[first:] = doubled
        return [
            Lines(line.name, _down(first + 1, 0, len(doubled) - 1), _down(first + 1, 1 + index, len(doubled) - 1))
            for index, line in enumerate(lines)
        ]

    def _flat_reference(self, plot: Plot) -> list[Lines]:
        if plot.chart.reference is None:
            return []
        ends = sorted(plot.points, key=lambda point: point.x)
        at = self._keep([[self._x(plot, end), plot.chart.reference] for end in (ends[0], ends[-1])])
        return [Lines("Reference", _down(at, 0, 2), _down(at, 1, 2))]

    def _bound(self, book: Any, made: Any, lines: list[Lines], *, lying: bool) -> None:
        for line in lines:
            if lying:
                made.add_series({**_series(line), "fill": {"none": True}, "border": {"color": LIMIT, "width": 1.5}})
                continue
            over = book.add_chart({"type": "line"})
            over.add_series({**_series(line), "line": _limit_line(), "marker": {"type": "none"}})
            made.combine(over)

    def _labels(self, plot: Plot, points: list[Point]) -> dict[str, Any]:
        if plot.label is None:
            return {}
        custom = [{"value": _words(plot.words(point, plot.label) or "")} for point in points]
        return {"data_labels": {"value": True, "custom": custom, "position": "right"}}

    def _dress(self, made: Any, plot: Plot) -> None:
        title = cut(plot.title, MOST_TITLE_CHARACTERS)
        font = {"name": FONT, "size": 12, "bold": True, "color": NAVY}
        made.set_title({"name": _words(title), "name_font": font, "overlay": False})
        made.set_size(SIZE)
        made.set_legend({"position": "top"} if self._legend(plot) else {"none": True})
        if plot.chart.mark is Mark.GANTT:
            made.set_legend({"position": "top", "delete_series": [0]} if len(plot.series) > 1 else {"none": True})
        made.set_chartarea({"border": {"color": HAIRLINE}})
        made.show_hidden_data()
        made.show_blanks_as("gap")
        self._set_axes(made, plot)

    @staticmethod
    def _legend(plot: Plot) -> bool:
        return len(plot.series) > 1 or plot.limit is not None or plot.chart.reference is not None

    @staticmethod
    def _set_axes(made: Any, plot: Plot) -> None:
        words = {"color": MUTED, "size": 9}
        gantt = plot.chart.mark is Mark.GANTT
        lying = gantt or (plot.chart.horizontal and plot.chart.mark in BARS)
        amount: dict[str, Any] = {
            "num_format": excel_axis_format((plot.x if gantt else plot.y[0]).style, _largest(plot)),
            "num_font": words,
            "major_gridlines": {"visible": True, "line": {"color": HAIRLINE}},
            "line": {"none": True},
        }
        along: dict[str, Any] = {
            "num_font": {"color": INK, "size": 9},
            "label_position": "low",
            "major_gridlines": {"visible": False},
        }
        if plot.x.scale is Scale.DATE and not gantt:
            along |= {"date_axis": True, **_months(plot)}
        if plot.x.scale is Scale.NUMBER and not gantt:
            along |= {"num_format": excel_format(plot.x.style)}
        if plot.chart.mark in {*BARS, Mark.AREA} and _never_negative(plot):
            amount["min"] = 0  # else Excel starts bars of like heights somewhere above
        if gantt:
            amount |= _ends(plot) | ({"num_format": "mmm yyyy"} if plot.x.scale is Scale.DATE else {})
        if lying:
            made.set_y_axis({**along, "reverse": True})
            made.set_x_axis({**amount, "label_position": "high"})
        else:
            made.set_x_axis(along)
            made.set_y_axis(amount)

    def _x(self, plot: Plot, point: Point) -> HelperCell:
        cell = self._cell(plot, point.row, plot.x.position)
        as_written = isinstance(plot.table.rows[point.row][plot.x.position], str) and plot.x.scale is Scale.DATE
        return Reference(f"={cell}", point.x) if cell and not as_written else point.x

    def _y(self, plot: Plot, point: Point) -> HelperCell:
        cell = self._cell(plot, point.row, point.y_index)
        return Reference(f"={cell}", point.y) if cell else point.y

    def _cell(self, plot: Plot, row: int, column: int) -> str:
        """Return the address of a table's cell, or "" where the sheet ends before it."""
        sheet = self.sheets[plot.table.name]
        return f"{sheet.quoted}!${letter(column)}${row + 2}" if row < len(sheet.rows) else ""

    @staticmethod
    def _place(plot: Plot, name: str | None) -> int:
        return next(i for i, column in enumerate(plot.table.columns) if column.name == name)

    def _keep(self, rows: list[list[HelperCell]]) -> int:
        at = len(self.rows)
        self.rows += rows
        return at


_SHAPES = {
    Mark.BAR: ChartBook.bars,
    Mark.STACKED_BAR: ChartBook.bars,
    Mark.LINE: ChartBook.lines,
    Mark.STEP: ChartBook.lines,
    Mark.AREA: ChartBook.areas,
    Mark.SCATTER: ChartBook.scatter,
    Mark.GANTT: ChartBook.gantt,
}


def _ends(plot: Plot) -> dict[str, Any]:
    found = [
        end for point in plot.points for end in (point.x, point.x2) if end is not None and not isinstance(end, str)
    ]
    low, high = min(found), max(found)
    return {} if low == high else {"min": low, "max": high}


def _months(plot: Plot) -> dict[str, Any]:
    """Return about eight ticks along an axis of days."""
    days = [point.x for point in plot.points if isinstance(point.x, date)]
    months = (max(days) - min(days)).days / 30
    return {"num_format": "mmm yyyy", "major_unit": max(1, round(months / 8)), "major_unit_type": "months"}


def _never_negative(plot: Plot) -> bool:
    return all(float(point.y) >= 0 for point in plot.points)


def _largest(plot: Plot) -> float:
    return max((abs(point.y) for point in plot.points if isinstance(point.y, float)), default=0.0)


def _length(point: Point) -> float:
    if isinstance(point.x, date) and isinstance(point.x2, date):
        return float((point.x2 - point.x).days)
    return float(point.x2) - float(point.x) if isinstance(point.x2, float) and isinstance(point.x, float) else 0.0


def _series(line: Lines) -> dict[str, Any]:
    return {"name": _words(line.name), "categories": line.categories, "values": line.values}


def _words(text: str) -> str:
    """Return a name that Excel shows as it is: one that begins with = would be read as a reference."""
    return f" {text}" if text.startswith("=") or not text else text


def _column(sheet: TableSheet, column: int) -> Range:
    return [sheet.name, 1, column, len(sheet.rows), column]


def _down(row: int, column: int, count: int) -> Range:
    return [CHART_DATA, row, column, row + count - 1, column]


def _color(index: int) -> str:
    return PALETTE[index % len(PALETTE)]


def _marker(index: int, size: int = 5) -> dict[str, Any]:
    return {"type": "circle", "size": size, "fill": {"color": _color(index)}, "border": {"color": "white"}}


def _limit_line() -> dict[str, Any]:
    return {"color": LIMIT, "width": 1.5, "dash_type": "dash"}


def _write_helper(page: Any, row: int, column: int, cell: HelperCell, day: Any) -> None:
    if cell is None:
        return
    value = cell.value if isinstance(cell, Reference) else cell
    look = day if isinstance(value, date) else None
    if isinstance(cell, Reference):
        page.write_formula(row, column, cell.formula, look, _serial(value))
    elif isinstance(value, date):
        page.write_datetime(row, column, value, look)
    elif isinstance(value, str):
        page.write_string(row, column, value)
    else:
        page.write_number(row, column, value)


def _serial(value: str | float | date) -> str | float:
    return float((value - date(1899, 12, 30)).days) if isinstance(value, date) else value
