"""The pages of a PDF: A4 upright or lying, a footer with "Page 1 of n", the same bytes each time."""

import io
from typing import Any

from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import BaseDocTemplate, Frame, PageBreak, PageTemplate

from workers.renderers.pdf_text import REGULAR, runs, visible
from workers.renderers.theme import HAIRLINE, MUTED

PAGE_WIDTH, PAGE_HEIGHT = 595.28, 841.89
MARGIN = 48.0
FOOTER = 26.0
FOOTER_SIZE = 7.5
MOST_FOOTER_CHARACTERS = 90


def document_of(story: list[Any], *, title: str, subject: str) -> bytes:
    """Return a PDF of the flowables of `story`."""
    buffer = io.BytesIO()
    document = BaseDocTemplate(buffer, title=title, subject=subject, author="Milpa", lang="en", invariant=1)
    sizes = {"upright": (PAGE_WIDTH, PAGE_HEIGHT), "lying": (PAGE_HEIGHT, PAGE_WIDTH)}
    document.addPageTemplates(
        [
            PageTemplate(
                id=name,
                frames=[Frame(MARGIN, MARGIN, across - 2 * MARGIN, up - 2 * MARGIN, 0, 0, 0, 0)],
                pagesize=(across, up),
            )
            for name, (across, up) in sizes.items()
        ]
    )
    document.build(_without_last_break(story), canvasmaker=_canvas_with_footer(title))
    return buffer.getvalue()


def _without_last_break(story: list[Any]) -> list[Any]:
    """Drop page breaks at the end: they would leave an empty page."""
    while story and isinstance(story[-1], PageBreak):
        story = story[:-1]
    return story


def _canvas_with_footer(title: str) -> Any:
    """Return a canvas class that writes every page's footer at the end, when the number of pages is known."""
    words = visible(title)[:MOST_FOOTER_CHARACTERS]

    class Numbered(Canvas):  # type: ignore[misc]  # ReportLab has no types
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._pages: list[dict[str, Any]] = []

        def showPage(self) -> None:  # noqa: N802 (ReportLab's name)
            self._pages.append(dict(self.__dict__))
            self._startPage()

        def save(self) -> None:
            for number, page in enumerate(self._pages, start=1):
                self.__dict__.update(page)
                _footer(self, words, f"Page {number} of {len(self._pages)}")
                super().showPage()
            super().save()

    return Numbered


def _footer(canvas: Any, words: str, page: str) -> None:
    across = canvas._pagesize[0]  # noqa: SLF001 (the canvas has no other word for it)
    canvas.setStrokeColor(HAIRLINE)
    canvas.setLineWidth(0.5)
    canvas.line(MARGIN, FOOTER + 12, across - MARGIN, FOOTER + 12)
    canvas.setFillColor(MUTED)
    canvas.setFont(REGULAR, FOOTER_SIZE)
    canvas.drawRightString(across - MARGIN, FOOTER, page)
    text = canvas.beginText(MARGIN, FOOTER)
    for font, part in runs(words, REGULAR):
        text.setFont(font, FOOTER_SIZE)
        text.textOut(part)
    canvas.drawText(text)
