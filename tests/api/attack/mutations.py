"""Good bodies made bad: in their values, in their text, in their bytes."""

import gzip
import json
from typing import Any

import zstandard
from hypothesis import strategies as st

from tests.support.planted import MARK

ODD: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 10**400, 1e308, -1e308, 5e-324, -0.0, 0.1, "", " ", "\x00", "\ud800", "\udfff\ud800",
    "\u202e", "\ufeff", "e\u0301", "ﬁ", "=1+1", "' OR 1=1 --", "../../etc/passwd", "http://[::1", "http://xn--a", "http://" + "xn--" * 400, "http://a:-1", "http://ⓔⓧⓐⓜⓟⓛⓔ.com:99999/", "a" * 300, MARK * 3000,
    "9999-12-31T23:59:59-23:59", "0 0 30 2 *", "America/../UTC", "%s%n{0}${x}", [], {}, [[]], {"": {}}, {"__class__": 1, "constructor": {}, "~1/": MARK},
]  # fmt: skip
RAW = [
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"-" + b"9" * 5000,
    b"01",
    b"0x1",
    b"'a'",
    b'"\\u12"',
    b'"\xc0\xaf"',
    b'"\xed\xa0\x80"',
    b"{",
    b"]",
    b",",
    b"\x00",
]
CODINGS = {"gzip": gzip.compress, "zstd": zstandard.compress}
Coded = tuple[bytes, str | None]


@st.composite
def mutated(draw: st.DrawFn, good: Any) -> bytes:
    """Draw a body in which one to four things are not as in a good one."""
    value = good
    for _ in range(draw(st.integers(0, 3))):
        value = draw(changed(value))
    text = json.dumps(value, allow_nan=False).encode()
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        text = draw(spoiled(text))
    return text


@st.composite
def changed(draw: st.DrawFn, value: Any) -> Any:
    """Draw the value with one thing below it replaced, left out, doubled, renamed or wrapped."""
    if isinstance(value, dict) and value and draw(st.integers(0, 3)):
        name = draw(st.sampled_from(sorted(value)))
        match draw(st.integers(0, 5)):
            case 0:
                return {key: item for key, item in value.items() if key != name}
            case 1:
                return value | {
                    draw(st.sampled_from(["", "\x00", MARK, "id", "kind", f"{name}s", name.upper()])): value[name]
                }
            case _:
                return value | {name: draw(changed(value[name]))}
    if isinstance(value, list) and value and draw(st.integers(0, 3)):
        place = draw(st.integers(0, len(value) - 1))
        if draw(st.integers(0, 5)) == 0:
            return value * draw(st.sampled_from([0, 2, 50]))
        return [*value[:place], draw(changed(value[place])), *value[place + 1 :]]
    return draw(st.sampled_from(ODD) | st.just(nested(value, draw(st.sampled_from([1, 30, 70])))))


def nested(value: Any, depth: int) -> Any:
    """Return the value within so many lists."""
    for _ in range(depth):
        value = [value]
    return value


@st.composite
def spoiled(draw: st.DrawFn, data: bytes) -> bytes:
    """Draw the bytes with something cut off, flipped, put in, doubled or written another way."""
    place = draw(st.integers(0, max(0, len(data) - 1)))
    before, at, after = data[:place], data[place : place + 1] or b"x", data[place + 1 :]
    return draw(
        st.sampled_from(
            [
                before,
                before + bytes([at[0] ^ 1 << draw(st.integers(0, 7))]) + after,
                before + draw(st.sampled_from(RAW)) + at + after,
                data.replace(b":", b":" + draw(st.sampled_from(RAW)) + b",", 1),
                data.replace(b"{", b'{"problem":{},"jobs":[],', 1),  # keys that come twice
                draw(st.sampled_from([b"\xef\xbb\xbf", b"\xff\xfe", b" " * 1000, b"\x00"])) + data,
                data.decode("utf-8", "replace").encode(draw(st.sampled_from(["utf-16", "utf-32", "utf-7"]))),
                data * 2,
            ]
        )
    )


@st.composite
def packed(draw: st.DrawFn, bodies: st.SearchStrategy[bytes]) -> Coded:
    """Draw a body and what it says of its coding; not always the truth."""
    data, coding = draw(bodies), draw(st.sampled_from([None, None, None, "gzip", "zstd"]))
    if coding is None:
        return data, None
    made = CODINGS[coding](data)
    return draw(
        st.sampled_from([made, made, made[:-3], data, made + made, made + b"\x00", CODINGS["gzip"](made)])
    ), coding
