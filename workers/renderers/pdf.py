"""The report as a PDF to print and to sign: title, key figures, plain words, charts, tables."""

import io
from typing import Any

from PIL import Image as Pillow
from reportlab.lib.utils import ImageReader
from reportlab.platypus import (
    CondPageBreak,
    Flowable,
    HRFlowable,
    KeepInFrame,
    KeepTogether,
    NextPageTemplate,
    PageBreak,
    Paragraph,
    Spacer,
    Table,
)

from solvers.report import Fact, Mark, Report
from workers.renderers.chart import natural_height, picture, spec_of
from workers.renderers.figures import show, style
from workers.renderers.pdf_page import MARGIN, PAGE_HEIGHT, PAGE_WIDTH, document_of
from workers.renderers.pdf_table import PrintedTable, paragraph_style
from workers.renderers.pdf_text import BOLD, REGULAR, fonts, markup, width
from workers.renderers.plot import Plot, resolve
from workers.renderers.text import clean, cut
from workers.renderers.theme import HAIRLINE, INK, MUTED, NAVY, PALETTE, PAPER

ROOM = PAGE_WIDTH - 2 * MARGIN
LYING_ROOM = PAGE_HEIGHT - 2 * MARGIN
GAP = 9.0
CARDS_A_ROW = 3
CARD_PADDING = 9.0
CARD_SIZES = (17.0, 14.0, 11.0, 9.0)
PIXELS_A_POINT = 1.3
"""Charts are laid out a little larger than printed, so that their 11-pixel type prints at about 8.5 points."""
DOTS_AN_INCH = 240
CHART_HEIGHT = 228
SMALL_CHART_HEIGHT = 228
TALLEST_CHART = 860
MOST_SMALL_CATEGORIES = 8
SMALLEST_UPRIGHT_TYPE = 7.5
MOST_ROWS_KEPT_TOGETHER = 15
ROOM_TO_BEGIN_A_TABLE = 190
MOST_TITLE_CHARACTERS = 240
MOST_SENTENCE_CHARACTERS = 4_000


def document(report: Report) -> bytes:
    """Return the bytes of a PDF. KeyError: a chart names what the report does not have."""
    fonts()
    story = [*_title(report), *_cards(report), *_front(report), *_more_facts(report), *_sentences(report)]
    story += [*_charts(report), *_tables(report)]
    return document_of(story, title=cut(clean(report.title), MOST_TITLE_CHARACTERS), subject=clean(report.subtitle))


def warm() -> None:
    """Load ReportLab and the fonts."""
    document(Report(title=""))


def _words(text: str, font: str, size: float, color: str = INK, room: float = ROOM, **more: Any) -> Any:
    return Paragraph(markup(text, font, size, room), paragraph_style(font, size, color, **more))


def _space(points: float) -> Any:
    return Spacer(1, points)


def _title(report: Report) -> list[Any]:
    found = [_words(cut(report.title, MOST_TITLE_CHARACTERS), BOLD, 22, NAVY)]
    if report.subtitle:
        found += [_space(3), _words(cut(report.subtitle, MOST_TITLE_CHARACTERS), REGULAR, 10, MUTED)]
    line = HRFlowable(width="100%", thickness=2, color=PALETTE[1], spaceBefore=8, spaceAfter=14, hAlign="LEFT")
    return [*found, line]


def _section(text: str, *, follows: bool = True) -> Any:
    return _words(text, BOLD, 12.5, NAVY, spaceBefore=16, spaceAfter=7, keepWithNext=int(follows))


def _cards(report: Report) -> list[Any]:
    """Return the key figures as cards, three beside each other."""
    facts = [fact for fact in report.facts if fact.headline]
    if not facts:
        return []
    columns = min(CARDS_A_ROW, len(facts))
    card = (ROOM - GAP * (columns - 1)) / columns
    made: list[Any] = []
    for first in range(0, len(facts), columns):
        row: list[Any] = []
        for fact in facts[first : first + columns]:
            row += [_card(fact, report.currency, card - 2 * CARD_PADDING), ""]
        row += [""] * (2 * columns - len(row))
        boxes = min(columns, len(facts) - first)
        widths = [card, GAP] * columns
        made += [Table([row[:-1]], colWidths=widths[:-1], hAlign="LEFT", style=_card_look(boxes)), _space(GAP)]
    return made


def _card(fact: Fact, currency: str, room: float) -> list[Any]:
    value = cut(clean(show(fact.value, style(fact.unit, [fact.value], currency))), 200)
    size = next((size for size in CARD_SIZES if width(value, BOLD, size) <= room), CARD_SIZES[-1])
    found = [
        _words(cut(fact.label, 120), REGULAR, 8.5, MUTED, room),
        _words(value, BOLD, size, NAVY, room, spaceBefore=2),
    ]
    return [*found, _words(cut(fact.note, 200), REGULAR, 8, MUTED, room, spaceBefore=2)] if fact.note else found


def _card_look(boxes: int) -> list[tuple[Any, ...]]:
    look: list[tuple[Any, ...]] = [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LEFTPADDING", (0, 0), (-1, -1), CARD_PADDING),
        ("RIGHTPADDING", (0, 0), (-1, -1), CARD_PADDING),
        ("TOPPADDING", (0, 0), (-1, -1), 7),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 9),
    ]
    for column in range(0, 2 * boxes, 2):
        look += [
            ("BACKGROUND", (column, 0), (column, 0), PAPER),
            ("LINEBEFORE", (column, 0), (column, 0), 2.5, PALETTE[0]),
        ]
    return look


def _front(report: Report) -> list[Any]:
    """Return the tables of the front page, as small as it takes to fit on it."""
    content: list[Any] = []
    for name in report.front:
        table = PrintedTable(report.table(name), report.currency)
        layout = table.layout(ROOM) or table.cut_layout(ROOM)
        content += [_section(cut(table.table.title, MOST_TITLE_CHARACTERS), follows=False)]
        content += [_words(note, REGULAR, 8.5, MUTED, spaceAfter=5) for note in [clean(table.table.note)] if note]
        content += [table.flowable(layout), _space(6)]
    return [KeepInFrame(0, 0, content, hAlign="CENTER", vAlign="TOP"), PageBreak()] if content else []


def _more_facts(report: Report) -> list[Any]:
    """Return the figures behind the headline as a small table."""
    rows = [
        [
            _words(cut(fact.label, 120), REGULAR, 8.5, MUTED, ROOM * 0.34),
            _words(_fact_value(fact, report.currency), REGULAR, 8.5, INK, ROOM * 0.26),
            _words(cut(fact.note, 240), REGULAR, 8.5, MUTED, ROOM * 0.36),
        ]
        for fact in report.facts
        if not fact.headline
    ]
    if not rows:
        return []
    look = [
        ("LINEBELOW", (0, 0), (-1, -1), 0.4, HAIRLINE),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LEFTPADDING", (0, 0), (0, -1), 0),
        ("TOPPADDING", (0, 0), (-1, -1), 2.5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 3),
    ]
    widths = [ROOM * 0.36, ROOM * 0.26, ROOM * 0.38]
    return [_space(2), Table(rows, colWidths=widths, hAlign="LEFT", style=look)]


def _fact_value(fact: Fact, currency: str) -> str:
    return cut(show(fact.value, style(fact.unit, [fact.value], currency)), 200)


def _sentences(report: Report) -> list[Any]:
    if not report.sentences:
        return []
    look = {"leftIndent": 11, "bulletIndent": 0, "spaceAfter": 4}
    lines = [_bullet(cut(sentence, MOST_SENTENCE_CHARACTERS), look) for sentence in report.sentences]
    return [_section("In plain words"), *lines]


def _bullet(text: str, look: dict[str, Any]) -> Any:
    style_of_line = paragraph_style(REGULAR, 10, INK, bulletFontName=REGULAR, bulletColor=PALETTE[1], **look)
    return Paragraph(markup(text, REGULAR, 10, ROOM - 11), style_of_line, bulletText="•")


def _charts(report: Report) -> list[Any]:
    """Return charts across the page; two small ones that follow each other stand side by side."""
    plots = [plot for chart in report.charts if (plot := resolve(chart, report)).points]
    rows: list[list[Any]] = []
    while plots:
        if len(plots) > 1 and _is_small(plots[0]) and _is_small(plots[1]):
            rows.append([_side_by_side(plots.pop(0), plots.pop(0))])
        else:
            rows.append(_chart(plots.pop(0), ROOM))
    if rows:
        rows[0].insert(0, _section("Charts", follows=False))
    return [KeepTogether(row) for row in rows]


def _is_small(plot: Plot) -> bool:
    bars = plot.chart.mark in {Mark.BAR, Mark.STACKED_BAR}
    return bars and len(plot.categories) <= MOST_SMALL_CATEGORIES


def _side_by_side(left: Plot, right: Plot) -> Any:
    room = (ROOM - GAP) / 2
    cells = [[_chart(left, room, SMALL_CHART_HEIGHT), "", _chart(right, room, SMALL_CHART_HEIGHT)]]
    look = [
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("RIGHTPADDING", (0, 0), (-1, -1), 0),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ]
    return Table(cells, colWidths=[room, GAP, room], hAlign="LEFT", style=look)


def _chart(plot: Plot, room: float, height: int | None = None) -> list[Any]:
    made = [_words(cut(plot.chart.title, MOST_TITLE_CHARACTERS), BOLD, 10, INK, room, spaceAfter=2)]
    if plot.note:
        made.append(_words(plot.note, REGULAR, 8, MUTED, room))
    return [*made, _image(plot, room, height), _space(8)]


def _image(plot: Plot, room: float, height: int | None) -> Any:
    """Return the chart as an opaque picture of `DOTS_AN_INCH` on paper."""
    drawn = spec_of(plot, width=round(room * PIXELS_A_POINT), height=height or _height(plot), titled=False)
    drawn["config"] |= {"padding": 2}
    opaque = Pillow.open(io.BytesIO(picture(drawn, dpi=round(DOTS_AN_INCH / PIXELS_A_POINT)))).convert("RGB")
    scale = room / opaque.width
    return _Picture(opaque, room, opaque.height * scale)


class _Picture(Flowable):  # type: ignore[misc]  # ReportLab has no types
    """An opaque picture: ReportLab's own image would keep a second one for transparency."""

    def __init__(self, pixels: Pillow.Image, width: float, height: float) -> None:
        super().__init__()
        self.pixels, self.width, self.height = ImageReader(pixels), width, height

    def draw(self) -> None:
        self.canv.drawImage(self.pixels, 0, 0, self.width, self.height)


def _height(plot: Plot) -> int:
    lying = plot.chart.mark is Mark.GANTT or plot.chart.horizontal
    return min(TALLEST_CHART, natural_height(plot)) if lying else CHART_HEIGHT


def _tables(report: Report) -> list[Any]:
    found: list[Any] = []
    for table in report.tables:
        if table.name not in {*report.hidden_tables, *report.front} and table.columns:
            found += _table(PrintedTable(table, report.currency))
    return found


def _table(table: PrintedTable) -> list[Any]:
    """Return a table upright where it is readable, else on pages turned to the side."""
    upright = table.layout(ROOM, smallest=SMALLEST_UPRIGHT_TYPE)
    layout = upright or table.layout(LYING_ROOM) or table.cut_layout(LYING_ROOM)
    notes = [clean(table.table.note), table.note(layout), "" if table.rows else "No rows."]
    body = [_section(cut(table.table.title, MOST_TITLE_CHARACTERS), follows=False)]
    body += [_words(note, REGULAR, 8.5, MUTED, spaceAfter=5) for note in notes if note]
    body.append(table.flowable(layout))
    if upright and len(table.rows) <= MOST_ROWS_KEPT_TOGETHER:
        return [KeepTogether(body), _space(6)]
    if upright:
        return [CondPageBreak(ROOM_TO_BEGIN_A_TABLE), *body, _space(6)]
    return [NextPageTemplate("lying"), PageBreak(), *body, NextPageTemplate("upright"), PageBreak()]
