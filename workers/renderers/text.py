"""Text that came from a caller, made safe to put into a file, and names made from it."""

import re
import unicodedata

_UNSHOWABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # controls: not legal in XML, nothing to see
    "\u202a-\u202e\u2066-\u2069"  # direction overrides: they would turn the text around them
    "\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"  # halves of pairs and non-characters: not encodable or not XML
)
_SPACE = re.compile(r"[ \t\r\n\u2028\u2029]+")
_NOT_IN_FILE_NAME = re.compile(r"[^a-z0-9]+")
_DEVICE = re.compile("con|prn|aux|nul|(com|lpt)[0-9]")  # which Windows opens instead of a file, whatever the ending
MAX_NAME_CHARACTERS = 60
UNKNOWN = "□"
"""Stands for what can't be drawn."""


def clean(text: str) -> str:
    """Return `text` on one line, composed (NFC), without what no reader could see."""
    if text.isascii() and text.isprintable() and "  " not in text:
        return text.strip()
    return _SPACE.sub(" ", unicodedata.normalize("NFC", _UNSHOWABLE.sub("", text))).strip()


def cut(text: str, limit: int) -> str:
    """Return `text` with at most `limit` characters, ending in … where something is missing."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def file_name(text: str) -> str:
    """Return a name of lower-case ASCII letters, digits and hyphens that any file system takes."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    name = _NOT_IN_FILE_NAME.sub("-", ascii_text)[:MAX_NAME_CHARACTERS].strip("-") or "unnamed"
    return f"{name}-" if _DEVICE.fullmatch(name) else name


def cut_to_units(text: str, longest: int) -> str:
    """Return what fits into so many UTF-16 code units, which Excel counts: an emoji is two, a letter one."""
    return text.encode("utf-16-le")[: 2 * longest].decode("utf-16-le", errors="ignore")


def unique(names: list[str], *, longest: int) -> list[str]:
    """Return `names` cut to `longest` UTF-16 code units and numbered where two would be equal but for their case."""
    taken: set[str] = set()
    result = []
    for name in names:
        candidate, number = cut_to_units(name, longest), 1
        while candidate.casefold() in taken:
            number += 1
            ending = f"-{number}"
            candidate = cut_to_units(name, longest - len(ending)) + ending
        taken.add(candidate.casefold())
        result.append(candidate)
    return result
