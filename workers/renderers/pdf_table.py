"""A report's tables in PDF: columns that fit the page, headers on every page, figures to the right, honest cuts."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from reportlab.lib.enums import TA_LEFT, TA_RIGHT
from reportlab.lib.styles import ParagraphStyle
from reportlab.platypus import LongTable, Paragraph

from solvers.report import Cell, Table, Unit
from workers.renderers.figures import Style, header, number, show, style
from workers.renderers.pdf_text import BOLD, REGULAR, markup, plain, width
from workers.renderers.text import clean, cut
from workers.renderers.theme import HAIRLINE, INK, NAVY, PAPER

MOST_ROWS = 500
MOST_CELL_CHARACTERS = 240
MOST_HEADER_CHARACTERS = 60
PADDING = 5.0
SIZES = (8.5, 7.5, 6.5, 5.5)
"""Sizes of type in points, the largest that fits the page first."""
WIDEST_WORDS = 210.0
NARROWEST_WORDS = 52.0
TWO_LINES = 0.58
"""Share of its longest words that a column needs to show them on two lines."""
LEADING = 1.28


class Layout(NamedTuple):
    """How a table stands on its page. columns: how many are shown; widths: of those, in points."""

    size: float
    columns: int
    widths: list[float]


class PrintedTable:
    """A table made ready for a page: its cells as text, its styles, its widths."""

    def __init__(self, table: Table, currency: str) -> None:
        self.table = table
        self.rows = table.rows[:MOST_ROWS]
        self.styles = [style(c.unit, [r[i] for r in table.rows], currency) for i, c in enumerate(table.columns)]
        self.heading = [cut(clean(header(column, currency)), MOST_HEADER_CHARACTERS) for column in table.columns]
        self.cells = [[self._text(cell, how) for cell, how in zip(row, self.styles, strict=True)] for row in self.rows]
        self.totals = self._totals()

    @staticmethod
    def _text(cell: Cell, how: Style) -> str:
        return cut(clean(show(cell, how, units=False)), MOST_CELL_CHARACTERS)

    def _totals(self) -> list[str]:
        if not self.rows or not any(column.total for column in self.table.columns):
            return []
        sums: list[str] = []
        for index, (column, how) in enumerate(zip(self.table.columns, self.styles, strict=True)):
            figures = [value for row in self.table.rows if (value := number(row[index])) is not None]
            sums.append(show(sum(figures), how, units=False) if column.total else "Total" if index == 0 else "")
        return sums

    def layout(self, room: float, *, smallest: float = SIZES[-1]) -> Layout | None:
        """Return the largest type that fits all columns into `room` points, or None where none does."""
        for size in SIZES:
            widths = self._widths(size, room)
            if widths is not None and size >= smallest:
                return Layout(size, len(widths), widths)
        return None

    def cut_layout(self, room: float) -> Layout:
        """Return a layout of as many of the first columns as fit in the smallest type."""
        size = SIZES[-1]
        needed = [low for low, _ in self._demands(size)]
        columns = 1
        while columns < len(needed) and sum(needed[: columns + 1]) <= room:
            columns += 1
        return Layout(size, columns, _shared(self._demands(size)[:columns], room))

    def _widths(self, size: float, room: float) -> list[float] | None:
        demands = self._demands(size)
        return _shared(demands, room) if sum(low for low, _ in demands) <= room else None

    def _demands(self, size: float) -> list[tuple[float, float]]:
        """Return for each column the least width that it can have and the width that it would like, in points."""
        found = []
        for index, how in enumerate(self.styles):
            texts = [row[index] for row in self.cells]
            longest = sorted(set(texts), key=len)[-20:]
            widest = max((width(text, REGULAR, size) for text in longest), default=0.0)
            total = width(self.totals[index], BOLD, size) if self.totals else 0.0
            head = max((width(word, BOLD, size) for word in self.heading[index].split()), default=0.0)
            words = min(widest, max(NARROWEST_WORDS, widest * TWO_LINES))
            least = max(head, total, words if how.unit is Unit.TEXT else widest)
            wish = max(least, min(max(widest, width(self.heading[index], BOLD, size) * 0.6), WIDEST_WORDS))
            found.append((min(least, WIDEST_WORDS) + 2 * PADDING, wish + 2 * PADDING))
        return found

    def flowable(self, layout: Layout) -> Any:
        """Return the ReportLab table: it breaks over pages and repeats its header."""
        body = [self._row(cells, layout, REGULAR) for cells in self.cells]
        totals = [self._row(self.totals, layout, BOLD)] if self.totals else []
        return LongTable(
            [self._row(self.heading, layout, BOLD, "white"), *body, *totals],
            colWidths=layout.widths,
            repeatRows=1,
            hAlign="LEFT",
            style=self._look(layout),
        )

    def _row(self, cells: Sequence[str], layout: Layout, font: str, color: str = INK) -> list[Any]:
        return [self._cell(text, index, layout, font, color) for index, text in enumerate(cells[: layout.columns])]

    def _cell(self, text: str, index: int, layout: Layout, font: str, color: str) -> Any:
        """Return plain text where it fits on a line, which is quick, else a paragraph that wraps and mixes fonts."""
        room = layout.widths[index] - 2 * PADDING + 0.01
        if plain(text, font) and width(text, font, layout.size) <= room:
            return text
        words = self.styles[index].unit is Unit.TEXT
        look = paragraph_style(font, layout.size, color, right=not words)
        return Paragraph(markup(text, font, layout.size, room), look)

    def _look(self, layout: Layout) -> list[tuple[Any, ...]]:
        last = len(self.cells) + (1 if self.totals else 0)
        look: list[tuple[Any, ...]] = [
            ("FONT", (0, 0), (-1, -1), REGULAR, layout.size, layout.size * LEADING),
            ("TEXTCOLOR", (0, 0), (-1, -1), INK),
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("LEFTPADDING", (0, 0), (-1, -1), PADDING),
            ("RIGHTPADDING", (0, 0), (-1, -1), PADDING),
            ("TOPPADDING", (0, 0), (-1, -1), 3),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 3.5),
            ("BACKGROUND", (0, 0), (-1, 0), NAVY),
            ("TEXTCOLOR", (0, 0), (-1, 0), "white"),
            ("FONT", (0, 0), (-1, 0), BOLD, layout.size, layout.size * LEADING),
            ("VALIGN", (0, 0), (-1, 0), "BOTTOM"),
            ("LINEBELOW", (0, 1), (-1, -1), 0.4, HAIRLINE),
        ]
        look += [
            ("ALIGN", (index, 0), (index, -1), "RIGHT")
            for index, how in enumerate(self.styles[: layout.columns])
            if how.unit is not Unit.TEXT
        ]
        if self.totals:
            look += [
                ("FONT", (0, last), (-1, last), BOLD, layout.size, layout.size * LEADING),
                ("BACKGROUND", (0, last), (-1, last), PAPER),
                ("LINEABOVE", (0, last), (-1, last), 1, NAVY),
            ]
        return look

    def note(self, layout: Layout) -> str:
        """Return what is missing on paper and where to find it, or ""."""
        rows, columns = len(self.table.rows), len(self.table.columns)
        missing = []
        if rows > len(self.rows):
            whole = " Totals are of all rows." if self.totals else ""
            missing.append(f"The first {len(self.rows):,} of {rows:,} rows; the XLSX and CSV files have all.{whole}")
        if columns > layout.columns:
            missing.append(f"The first {layout.columns} of {columns} columns; the XLSX and CSV files have all.")
        return " ".join(missing)


def _shared(demands: Sequence[tuple[float, float]], room: float) -> list[float]:
    """Share the room: each column its least, the rest in proportion to what it would like, never beyond that."""
    least, wish = sum(low for low, _ in demands), sum(high for _, high in demands)
    if wish <= room:
        stretch = min(room / wish, 1.35) if wish else 1.0
        return [high * stretch for _, high in demands]
    part = max(0.0, room - least) / (wish - least) if wish > least else 0.0
    return [low + (high - low) * part for low, high in demands]


def paragraph_style(font: str, size: float, color: str = INK, *, right: bool = False, **more: Any) -> Any:
    """Return a ReportLab paragraph style in our type."""
    name = f"{font}-{size}-{color}-{right}"
    look = {"fontName": font, "fontSize": size, "leading": size * LEADING, "textColor": color}
    return ParagraphStyle(name, alignment=TA_RIGHT if right else TA_LEFT, **(look | more))
