"""Text in PDF: fonts that travel with the file, fallbacks by script, right-to-left lines in reading order."""

import re
from functools import cache
from typing import Any
from xml.sax.saxutils import escape  # it writes markup and parses none  # nosec B406

from arabic_reshaper import reshape
from bidi.algorithm import get_display  # unlike bidi.get_display, it mirrors brackets
from reportlab import rl_config
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont

from workers.renderers.text import UNKNOWN, clean
from workers.renderers.theme import FONTS

REGULAR = "Lato-Regular"
BOLD = "Lato-Bold"
FALLBACKS = ("DejaVuSans", "NotoSansThai-Regular", "DroidSansFallback")
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]")
_ARABIC = re.compile("[\u0600-\u06ff]")
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufe0e\ufe0f\ufeff"))
_BEYOND_16_BITS = re.compile(r"<([0-9A-F]{5,6})>")


@cache
def fonts() -> dict[str, Any]:
    """Register our fonts with ReportLab, once, and return the characters that each has."""
    rl_config.useA85 = 0  # plain binary streams: a fifth smaller
    covers = {}
    for name in (REGULAR, BOLD, *FALLBACKS):
        font = _Font(name, str(FONTS / f"{name}.ttf"))
        pdfmetrics.registerFont(font)
        covers[name] = font.face.charToGlyph
    return covers


class _Font(TTFont):  # type: ignore[misc]  # ReportLab has no types
    """A TrueType font whose characters beyond U+FFFF can be copied: ReportLab writes them as broken UTF-16."""

    def addObjects(self, doc: Any) -> None:  # noqa: N802 (ReportLab's name)
        super().addObjects(doc)
        for name, made in doc.idToObject.items():
            if name.startswith("toUnicodeCMap:") and isinstance(made.content, str):
                made.content = _BEYOND_16_BITS.sub(_utf16, made.content)


def _utf16(match: re.Match[str]) -> str:
    return f"<{chr(int(match[1], 16)).encode('utf-16-be').hex().upper()}>"


def width(text: str, font: str, size: float) -> float:
    """Return the width of a line in points, in the main font or its fallbacks."""
    return float(sum(pdfmetrics.stringWidth(part, name, size) for name, part in runs(visible(text), font)))


def plain(text: str, font: str) -> bool:
    """Tell whether a text can be drawn as it is: in the main font, from left to right."""
    if text.isascii():
        return True
    covered = fonts()[font]
    return all(ord(character) in covered for character in text)


def markup(text: str, font: str, size: float, room: float) -> str:
    """Return a text as ReportLab markup: escaped, in fonts that have its characters, right-to-left lines turned.

    room: width in points at which right-to-left text is broken, since a line can be turned only once it is a line.
    """
    shown = visible(clean(text))
    if not _RIGHT_TO_LEFT.search(shown):
        return _tagged(shown, font)
    return "<br/>".join(_tagged(_turned(line), font) for line in _broken(_joined(shown), font, size, room))


def visible(text: str) -> str:
    """Return a text without characters that draw nothing, and a box for those that no font has."""
    text = text.translate(_INVISIBLE)
    if text.isascii():
        return text
    covers = fonts()
    return "".join(c if any(ord(c) in covers[name] for name in (REGULAR, *FALLBACKS)) else UNKNOWN for c in text)


def runs(text: str, font: str) -> list[tuple[str, str]]:
    """Return a text as (font, part): the main font where it can, else the first fallback that can."""
    if plain(text, font):
        return [(font, text)]
    covers = fonts()
    found: list[tuple[str, str]] = []
    for character in text:
        name = next((n for n in (font, *FALLBACKS) if ord(character) in covers[n]), font)
        if found and found[-1][0] == name:
            found[-1] = (name, found[-1][1] + character)
        else:
            found.append((name, character))
    return found


def _tagged(text: str, font: str) -> str:
    parts = runs(text, font)
    return "".join(
        escape(part) if name == font else f'<font name="{name}">{escape(part)}</font>' for name, part in parts
    )


def _joined(text: str) -> str:
    """Return Arabic letters in the forms that they take beside each other."""
    if not _ARABIC.search(text):
        return text
    return visible(str(reshape(text)))


def _turned(line: str) -> str:
    return str(get_display(line))


def _broken(text: str, font: str, size: float, room: float) -> list[str]:
    """Break a text into lines that fit, between words where it can."""
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if width(longer, font, size) <= room:
            line = longer
            continue
        lines += [line] if line else []
        *full, line = _chopped(word, font, size, room)
        lines += full
    return [*lines, line]


def _chopped(word: str, font: str, size: float, room: float) -> list[str]:
    pieces = [""]
    for character in word:
        if pieces[-1] and width(pieces[-1] + character, font, size) > room:
            pieces.append("")
        pieces[-1] += character
    return pieces
