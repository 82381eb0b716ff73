"""Server-sent events as bytes: frames, heartbeats, and the headers that keep proxies from holding them back."""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping

from litestar.response import Stream

MEDIA_TYPE = "text/event-stream"
HEARTBEAT_SECONDS = 15.0
RETRY = b"retry: 3000\n\n"
HEARTBEAT = b": \n\n"
_PIECE_BYTES = 65_536
_HEADERS: Mapping[str, str] = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}


def frame(event: str, data: bytes, identity: str | int | None = None) -> bytes:
    """Return one event; `data` is JSON on one line. Without an identity a client resumes after the event before it."""
    head = b"" if identity is None else b"id: %b\n" % str(identity).encode()
    return b"%bevent: %b\ndata: %b\n\n" % (head, event.encode(), data)


def pieces(frames: Iterable[bytes]) -> Iterator[bytes]:
    """Join frames to pieces: few writes for who reads, and one piece is all that who does not read has us hold."""
    piece = bytearray()
    for each in frames:
        piece += each
        if len(piece) >= _PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)


def stream(frames: AsyncIterator[bytes]) -> Stream:
    """Answer with a stream that sends its first byte at once."""
    return Stream(_from_the_start(frames), media_type=MEDIA_TYPE, headers=dict(_HEADERS))


async def _from_the_start(frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield RETRY
    async for part in frames:
        yield part
