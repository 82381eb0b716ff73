"""Bodies in, answers out: raw bytes with the limit enforced while they stream, packed or not."""

import asyncio
import zlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import msgspec
import zstandard
from litestar import Request, Response
from litestar.types.asgi_types import HTTPReceiveMessage
from multipart import parse_options_header

from api.in_flight import InFlight
from api.problem_details import invalid, malformed, too_large, unsupported
from api.services import settings_for
from api.times import beyond_utc
from milpa.settings import Settings
from solvers.decode import Decoded, decode
from solvers.issues import Issue, pointer

T = TypeVar("T")
AnyRequest = Request[Any, Any, Any]
HEAVY_BYTES = 65_536
"""Bodies larger than this are decoded off the event loop, and counted among those in flight."""
_HEAVY = asyncio.Semaphore(1)
"""One large body is decoded at a time: it takes many times its own size, and decoding holds the interpreter anyway."""
_LENGTH_DIGITS = 15
_GZIP = 16 + zlib.MAX_WBITS
_PIECE_BYTES = 65_536
_MOST_MEMBERS = 1000
"""Of one gzip; millions of empty ones would cost far more than a full body."""
_ZSTD_WINDOW = 2**23
"""The largest window a zstd content coding may ask for (RFC 9659), in bytes."""


class ContentType(msgspec.Struct, frozen=True):
    """A media type in lower case, and its parameters."""

    media_type: str
    parameters: dict[str, str]


_JSON = ContentType("application/json", {})


def content_type(request: AnyRequest) -> ContentType:
    """Parse the request's Content-Type; a body without one is 415."""
    given = request.headers.get("content-type", "")
    if given == _JSON.media_type:
        return _JSON
    if not given:
        raise unsupported("The request has no Content-Type.")
    return ContentType(*parse_options_header(given))


async def read_json(request: AnyRequest) -> bytes:
    """Read a JSON body of at most `max_body_bytes`; another Content-Type is 415."""
    declared = content_type(request)
    if declared.media_type != _JSON.media_type:
        raise unsupported("This address takes application/json.", Accept="application/json")
    if declared.parameters.get("charset", "utf-8").lower() not in {"utf-8", "utf8"}:
        raise unsupported("JSON comes in UTF-8.")
    return await read_body(request)


async def read_body(request: AnyRequest) -> bytes:
    """Read the body, unpacking gzip and zstd. `max_body_bytes` holds for what arrives and for what it unpacks to.

    A large body counts among those of all requests until this one has ended; while they are too many it is 503.
    """
    limit = settings_for(request).max_body_bytes
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding not in {"identity", "gzip", "x-gzip", "zstd"}:
        raise unsupported("Content-Encoding is one of gzip, zstd.", **{"Accept-Encoding": "gzip, zstd"})
    body = await _receive(request, limit)
    if coding != "identity":
        body = await asyncio.to_thread(unpack, body, coding, limit)
        _hold(request, len(body))
    return body


async def _receive(request: AnyRequest, limit: int) -> bytes:
    length = request.headers.get("content-length", "")
    if length.isdecimal() and (len(length) > _LENGTH_DIGITS or int(length) > limit):
        raise too_large(limit)
    body = bytearray()
    while True:
        message = cast("HTTPReceiveMessage", await request.receive())
        if message["type"] == "http.disconnect":
            raise malformed("The connection was closed before the body was complete.")
        body += message["body"]
        if len(body) > limit:
            raise too_large(limit)
        _hold(request, len(body))
        if not message.get("more_body", False):
            return bytes(body)


def _hold(request: AnyRequest, size: int) -> None:
    if size > HEAVY_BYTES:
        in_flight: InFlight = request.app.state.in_flight
        in_flight.hold(request.scope, size)


def unpack(packed: bytes, coding: str, limit: int) -> bytes:
    """Unpack, stopping one byte past `limit`: a bomb costs no more than a full body."""
    try:
        body = _unzstd(packed, limit + 1) if coding == "zstd" else _gunzip(packed, limit + 1)
    except (EOFError, zlib.error, zstandard.ZstdError):
        raise malformed(f"The body is not {coding}, or is cut short.") from None
    if len(body) > limit:
        raise too_large(limit)
    return body


def _unzstd(packed: bytes, most: int) -> bytes:
    unpacker = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    return unpacker.stream_reader(packed, read_across_frames=True).read(most)


def _gunzip(packed: bytes, most: int) -> bytes:
    """Unpack the members of a gzip one after the other, piece by piece: what is left behind one is copied each time."""
    body, members, unpacker = bytearray(), 1, zlib.decompressobj(wbits=_GZIP)
    for start in range(0, len(packed), _PIECE_BYTES):
        rest = packed[start : start + _PIECE_BYTES]
        while rest:
            if unpacker.eof:
                members, unpacker = members + 1, zlib.decompressobj(wbits=_GZIP)
            if members > _MOST_MEMBERS:
                raise EOFError
            body += unpacker.decompress(rest, most - len(body))
            if len(body) >= most:
                return bytes(body)
            rest = unpacker.unused_data
    if not unpacker.eof:
        raise EOFError
    return bytes(body)


async def decode_asked(body: bytes, type_: type[T], settings: Settings) -> T:
    """Decode a body that a route takes as it is, or refuse it: 422 with every issue."""
    decoded = await off_loop(len(body), lambda: decode_body(body, type_, settings))
    if decoded.value is None:
        raise invalid(decoded.issues, decoded.total)
    if issues := _times_beyond(decoded.value):
        raise invalid(issues)
    return decoded.value


def _times_beyond(asked: Any) -> list[Issue]:
    names = [name for name in getattr(asked, "__struct_fields__", ()) if beyond_utc(getattr(asked, name))]
    message = "This time is before the first or after the last that there is in UTC."
    return [Issue(code="out_of_range", pointer=pointer(name), message=message) for name in names]


async def off_loop(size: int, read: Callable[[], T]) -> T:
    """Read so many bytes: at once when they are few, else one body at a time beside the event loop."""
    if size <= HEAVY_BYTES:
        return read()
    async with _HEAVY:
        return await asyncio.to_thread(read)


def decode_body(body: bytes, type_: type[T], settings: Settings) -> Decoded[T]:
    """Decode JSON that is no deeper, with no longer numbers, than the settings allow."""
    return decode(body, type_, max_depth=settings.max_json_depth, max_number=settings.max_number_length)


def answer(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response[bytes]:
    """Answer with JSON; bytes are JSON already."""
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return Response(content=content, status_code=status, media_type="application/json", headers=dict(headers or {}))
