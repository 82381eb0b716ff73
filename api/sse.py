"""Server-sent events as bytes: frames, heartbeats, and the headers that keep proxies from holding them back."""

from collections.abc import AsyncIterator, Mapping

from litestar.response import Stream

MEDIA_TYPE = "text/event-stream"
HEARTBEAT_SECONDS = 15.0
RETRY = b"retry: 3000\n\n"
HEARTBEAT = b": \n\n"
_HEADERS: Mapping[str, str] = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}


def frame(event: str, data: bytes, identity: str | int | None = None) -> bytes:
    """Return one event; `data` is JSON on one line. Without an identity a client resumes after the event before it."""
    head = b"" if identity is None else b"id: %b\n" % str(identity).encode()
    return b"%bevent: %b\ndata: %b\n\n" % (head, event.encode(), data)


def stream(frames: AsyncIterator[bytes]) -> Stream:
    """Answer with a stream that sends its first byte at once."""
    return Stream(_from_the_start(frames), media_type=MEDIA_TYPE, headers=dict(_HEADERS))


async def _from_the_start(frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield RETRY
    async for part in frames:
        yield part
