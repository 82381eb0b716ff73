"""Bytes on a real socket, served as `milpa api` serves: one request is one request, whatever it is made of."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from litestar import Litestar

from deploy.serve import server_config
from milpa.settings import Settings
from tests.api.conftest import serving

SMUGGLED = b"GET /health/live HTTP/1.1\r\nHost: milpa.test\r\n\r\n"
CHUNKED = b"0\r\n\r\n" + SMUGGLED
HEAD = b"POST /v1/deal-picker/jobs HTTP/1.1\r\nHost: milpa.test\r\n"
LIVE = b"GET /health/live HTTP/1.1\r\n"


@pytest.fixture(scope="module")
async def port(app: Litestar) -> AsyncIterator[int]:
    async with serving(server_config(app, Settings())) as address:
        yield int(address.rpartition(":")[2])


async def said(port: int, sent: bytes) -> bytes:
    """Return all that comes back until the server closes, or has nothing more to say for a second."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    heard = b""
    try:
        while piece := await asyncio.wait_for(reader.read(65_536), 1):
            heard += piece
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.close()
    return heard


def statuses(heard: bytes) -> list[int]:
    return [int(line.split()[1]) for line in heard.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]


TWO_LENGTHS = {
    "both": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "both, the other way round": b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    "an unknown coding": b"Content-Length: 5\r\nTransfer-Encoding: xchunked\r\n",
    "chunked is not the last": b"Transfer-Encoding: chunked, identity\r\n",
    "chunked behind a line end": b"Content-Length: 5\r\nTransfer-Encoding:\n chunked\r\n",
    "chunked behind a tab": b"Content-Length: 5\r\nTransfer-Encoding: \x0bchunked\r\n",
    "a space before the colon": b"Content-Length: 5\r\nTransfer-Encoding : chunked\r\n",
    "two lengths": b"Content-Length: 5\r\nContent-Length: 99\r\n",
    "a list of lengths": b"Content-Length: 5, 99\r\n",
    "a length with a sign": b"Content-Length: +5\r\n",
    "a length below zero": b"Content-Length: -5\r\n",
    "a length in hex": b"Content-Length: 0x5\r\n",
    "a length of more than 64 bits": b"Content-Length: 18446744073709551621\r\n",
    "NUL in a name": b"Content-Len\x00gth: 5\r\n",
    "a name without an end": b"Content-Length 5\r\n",
}


@pytest.mark.parametrize("lengths", TWO_LENGTHS.values(), ids=TWO_LENGTHS)
async def test_a_body_with_two_lengths_hides_no_second_request(port: int, lengths: bytes) -> None:
    heard = await said(port, HEAD + lengths + b"\r\n" + CHUNKED)
    assert set(statuses(heard)) <= {400, 401}, heard
    assert b'"live"' not in heard
    assert 200 not in statuses(heard)


@pytest.mark.parametrize(
    "chunks", [b"5;\nx\r\nhello\r\n0\r\n\r\n", b"FFFFFFFFFFFFFFFF1\r\nx", b"-1\r\nx\r\n", b"0x5\r\nhello\r\n", b"5 \r\nhello\r\n", b"5\nhello\n0\n\n"]
)  # fmt: skip
async def test_chunks_of_another_form_hide_no_second_request(port: int, chunks: bytes) -> None:
    heard = await said(port, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + SMUGGLED)
    assert 200 not in statuses(heard), heard


LINES = {
    "of HTTP/0.9": b"GET /health/live\r\n\r\n",
    "of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "of HTTP/9.9": b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
    "of another protocol": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "without a target": b"GET  HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target that is no ASCII": b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target with a line end": b"GET /health\r/live HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target with NUL": b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
    "a value with NUL": LIVE + b"Host: a\r\nX-Request-ID: abc\x00defgh\r\n\r\n",
    "a value with a bare line end": LIVE + b"Host: a\r\nX-Request-ID: abcdefgh\rSet-Cookie: a=b\r\n\r\n",
    "a folded value": LIVE + b"Host: a\r\nX-Request-ID: abcdefgh\r\n Set-Cookie: a=b\r\n\r\n",
    "a long head": LIVE + b"Host: a\r\n" + b"X: " + b"a" * 200_000 + b"\r\n\r\n",
    "a thousand hosts": LIVE + b"Host: a\r\n" * 1000 + b"\r\n",
    "an absolute target": b"GET http://evil.test/health/live HTTP/1.1\r\nHost: milpa.test\r\n\r\n",
    "an authority as target": b"CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n",
    "TRACE": b"TRACE /health/live HTTP/1.1\r\nHost: a\r\nCookie: secret=1\r\n\r\n",
    "an upgrade to HTTP/2": LIVE + b"Host: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n",
    "an upgrade to a web socket": LIVE + b"Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AA\r\nSec-WebSocket-Version: 13\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
async def test_an_odd_head_is_answered_once_and_brings_no_header_in(port: int, line: bytes) -> None:
    heard = await said(port, line)
    assert len(statuses(heard)) <= 1, heard
    assert 101 not in statuses(heard)
    head = heard.partition(b"\r\n\r\n")[0].lower()
    assert b"set-cookie" not in head
    assert b"secret=1" not in heard
    assert b"evil" not in heard
    assert b"Traceback" not in heard
