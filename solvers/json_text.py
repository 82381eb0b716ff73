"""Facts about JSON bytes, told from the bytes alone: how deep, how many containers, which line, what went wrong."""

import re
from itertools import accumulate
from typing import Final

_BRACKETS: Final = bytes.maketrans(b"{}", b"[]")
_NOT_STRUCTURE: Final = bytes(byte for byte in range(256) if byte not in b'[]{}"')
_NUMBERS: Final = bytes.maketrans(b"123456789" + b":,[- \t\r\n", b"000000000" + b"::::::::")
_IN_NUMBERS: Final = bytes.maketrans(b"123456789+-.eE", b"0" * 14)
_STRING: Final = re.compile(rb'"[^"]*"')
_INT64_DIGITS: Final = 19
_LONE_SURROGATE: Final = re.compile(rb"\\u[dD](?:[89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|[c-fC-F])")
_BYTE_OFFSET: Final = re.compile(r"^(?:JSON is malformed: )?(.*) \(byte (\d+)\)$")


def _words() -> tuple[dict[int, int], dict[int, int]]:
    """Return, for each run of eight brackets read as one integer, how deep it rises and where it ends."""
    peak, change = {}, {}
    for bits in range(256):
        steps = [1 if bits >> place & 1 else -1 for place in range(8)]
        word = int.from_bytes(bytes(ord("[") if step > 0 else ord("]") for step in steps), "little")
        peak[word], change[word] = max(accumulate(steps)), sum(steps)
    return peak, change


_PEAK, _CHANGE = _words()


def brackets(data: bytes) -> bytes:
    """Return the brackets and braces outside strings, in order, all written as `[` and `]`."""
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    # Two quotes that touch once all else is gone close and open (or open and close) a string: in or out stays the same.
    marks = data.translate(_BRACKETS, _NOT_STRUCTURE).replace(b'""', b"")
    return b"".join(marks.split(b'"')[::2])


def deeper_than(marks: bytes, limit: int) -> bool:
    """Tell whether `brackets` open more than `limit` levels at once: eight of them at a time, through a table."""
    padded = marks + b"]" * (-len(marks) % 8)
    depth = 0
    for word in memoryview(padded).cast("Q"):
        if depth + _PEAK[word] > limit:
            return True
        depth += _CHANGE[word]
    return False


def has_long_integer(data: bytes) -> bool:
    """Tell whether some integer may not fit 64 bits: a number of 19 digits or more (at times one within a string)."""
    return b":" + b"0" * _INT64_DIGITS in b":" + data.translate(_NUMBERS)


def long_number(data: bytes, limit: int) -> int | None:
    """Return where a number of more than `limit` characters begins outside strings, or None."""
    run = b"0" * (limit + 1)
    if run not in data.translate(_IN_NUMBERS):
        return None
    plain = data.replace(b"\\\\", b"  ").replace(b'\\"', b"  ")  # now each quote begins or ends a string
    blank = _STRING.sub(lambda string: b" " * len(string[0]), plain)
    at = blank.translate(_IN_NUMBERS).find(run)
    return None if at < 0 else at


def place(data: bytes, offset: int) -> str:
    """Return "line 3, column 14" of a byte offset, both from 1, columns in characters."""
    start = data.rfind(b"\n", 0, offset) + 1
    line = data.count(b"\n", 0, offset) + 1
    column = len(data[start:offset].decode("utf-8", "replace")) + 1
    return f"line {line}, column {column}"


def why_malformed(data: bytes, parser_message: str) -> str:
    """Return what is wrong with bytes that are not JSON, where, and what to do, in plain words."""
    if not data.strip():
        return "The body is empty; JSON was expected."
    if data.startswith(b"\xef\xbb\xbf"):
        return "The body starts with a byte order mark; send UTF-8 without one."
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return f"The body is not UTF-8 at {place(data, error.start)}; save or send it as UTF-8."
    if lone := _LONE_SURROGATE.search(data):
        return f"Half of a surrogate pair stands alone at {place(data, lone.start())}; write the character itself."
    if at := _BYTE_OFFSET.match(parser_message):
        return _at_offset(data, at[1], int(at[2]))
    return f"The JSON ends too early, at {place(data, len(data))}; a bracket, brace or quote is still open."


def _at_offset(data: bytes, reason: str, offset: int) -> str:
    if reason == "trailing characters":  # told one byte late
        reason, offset = "something follows the end of the document", offset - 1
    for literal in (b"NaN", b"Infinity"):
        if data.startswith(literal, offset):
            name = literal.decode()
            return f"{name} is not JSON ({place(data, offset)}); give a finite number, or leave the field out."
    return f"Not JSON: {reason} at {place(data, offset)}."
