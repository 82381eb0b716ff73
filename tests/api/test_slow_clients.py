"""Clients that are slow, many or too much, over real sockets, served as `milpa api` serves; patience is short here."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
import psutil
import pytest
from litestar import Request, get, post
from litestar.datastructures import State
from litestar.response import Stream
from sqlalchemy import text

from api.answer_headers import ALWAYS
from api.main import create_app
from api.principal import Permission
from deploy.local.servers import Servers
from deploy.serve import server_config
from milpa.settings import Settings
from tests.api.conftest import client, running, serving
from tests.api.deals import SUBMIT, body
from tests.api.jobs import JobDriver
from tests.support.stack import settings_of
from tests.support.waiting import until

HASTY = Settings(
    head_seconds=0.6,
    body_seconds=0.6,
    body_bytes_per_second=1_000_000,
    keep_alive_seconds=1,
    stalled_seconds=1.0,
    max_head_bytes=8_000,
    max_connections=5,
)
PATIENT = msgspec.structs.replace(
    HASTY, head_seconds=60.0, body_seconds=60.0, keep_alive_seconds=60, stalled_seconds=60.0
)
GREETING = b"GET /health/live HTTP/1.1\r\nHost: milpa.test\r\n"
BODY = b"POST /echo HTTP/1.1\r\nHost: milpa.test\r\nContent-Type: text/plain\r\n"
CHUNK = b"x" * 65_536


@post("/echo", requires=Permission.PUBLIC)
async def echo(request: Request[Any, Any, Any]) -> int:
    return len(await request.body())


@get("/flood", requires=Permission.PUBLIC)
async def flood(state: State) -> Stream:
    async def frames() -> AsyncIterator[bytes]:
        state.sent = 0
        try:
            while True:
                state.sent += len(CHUNK)
                yield CHUNK
                await asyncio.sleep(0)  # so that the end of the connection can be noticed
        finally:
            state.ended = True

    return Stream(frames(), media_type="text/event-stream")


@asynccontextmanager
async def serving_with(settings: Settings) -> AsyncIterator[tuple[int, Any]]:
    """Yields the port and the app's state."""
    app = create_app(settings)
    app.register(echo)
    app.register(flood)
    async with serving(server_config(app, settings)) as address:
        yield int(address.rpartition(":")[2]), app.state


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def all_of(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(30):
        return await reader.read()


async def drip(writer: asyncio.StreamWriter, data: bytes, pause: float = 0.05) -> None:
    """Send one byte at a time, until the other end has had enough."""
    with suppress(ConnectionError):
        for byte in data:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(pause)


def is_refused(answer: bytes, status: int, slug: str) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer
    problem = json.loads(body)
    assert (problem["status"], problem["type"]) == (status, f"/problems/{slug}")
    lines = head.lower().split(b"\r\n")
    assert b"connection: close" in lines
    assert b"content-type: application/problem+json" in lines
    assert f"x-request-id: {problem['request_id']}".encode() in lines
    for name, value in ALWAYS:
        assert name + b": " + value.lower() in lines


@pytest.mark.parametrize("sent", [b"", b"GET", GREETING, b"\r\n"])
async def test_headers_that_never_end(sent: bytes) -> None:
    async with serving_with(HASTY) as (port, _), connected(port) as (reader, writer):
        writer.write(sent)
        is_refused(await all_of(reader), 408, "too-slow")


@pytest.mark.parametrize(("public_url", "told"), [("https://milpa.example", True), ("http://milpa.example", False)])
async def test_a_refusal_tells_who_comes_by_tls_to_come_so_again(public_url: str, told: bool) -> None:
    settings = msgspec.structs.replace(HASTY, public_url=public_url)
    async with serving_with(settings) as (port, _), connected(port) as (reader, writer):
        writer.write(b"\x16\x03\x01\x02\x00")
        assert (b"strict-transport-security: max-age=31536000\r\n" in await all_of(reader)) is told


async def test_headers_that_come_byte_by_byte() -> None:
    async with serving_with(HASTY) as (port, _), connected(port) as (reader, writer):
        dripping = asyncio.create_task(drip(writer, GREETING + b"X-More: " + b"x" * 10_000))
        is_refused(await all_of(reader), 408, "too-slow")
        await dripping


@pytest.mark.parametrize("sent", [b"GET", b"\r\n"])
async def test_a_second_request_that_never_ends(sent: bytes) -> None:
    async with serving_with(HASTY) as (port, _), connected(port) as (reader, writer):
        writer.write(GREETING + b"\r\n")
        assert await reader.readuntil(b'{"status":"ok"}')
        writer.write(sent)
        is_refused(await all_of(reader), 408, "too-slow")


@pytest.mark.parametrize("how", [b"Content-Length: 5000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n1388\r\n"])
async def test_a_body_that_comes_byte_by_byte(how: bytes) -> None:
    async with serving_with(HASTY) as (port, _), connected(port) as (reader, writer):
        writer.write(BODY + how)
        dripping = asyncio.create_task(drip(writer, b"x" * 5000))
        is_refused(await all_of(reader), 408, "too-slow")
        await dripping


async def test_a_body_that_comes_fast_enough_may_take_long() -> None:
    settings = msgspec.structs.replace(HASTY, body_seconds=0.5, body_bytes_per_second=1_000)
    async with serving_with(settings) as (port, _), connected(port) as (reader, writer):
        writer.write(BODY + b"Connection: close\r\nContent-Length: 4000\r\n\r\n" + b"x" * 2000)
        await drip(writer, b"x" * 20, 0.06)  # longer than body_seconds in all
        writer.write(b"x" * 1980)
        assert (await all_of(reader)).endswith(b"\r\n\r\n4000")


async def test_a_body_that_goes_on_after_its_answer() -> None:
    async with serving_with(HASTY) as (port, _), connected(port) as (reader, writer):
        writer.write(b"GET /nowhere HTTP/1.1\r\nHost: milpa.test\r\nContent-Length: 5000\r\n\r\n")
        dripping = asyncio.create_task(drip(writer, b"x" * 5000))
        assert (await all_of(reader)).startswith(b"HTTP/1.1 404 ")
        await dripping


async def test_an_idle_connection_is_closed() -> None:
    async with serving_with(HASTY) as (port, _), connected(port) as (reader, writer):
        writer.write(GREETING + b"\r\n")
        assert (await all_of(reader)).endswith(b'{"status":"ok"}')


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /" + b"x" * 9_000 + b" HTTP/1.1\r\n",
        GREETING + b"X-More: " + b"x" * 9_000,
        GREETING + b"X-More: " + b"x" * 9_000 + b"\r\n\r\n",
        GREETING + b"".join(b"X-%d: y\r\n" % number for number in range(1_500)),
        BODY + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(1_500)),
    ],
)
async def test_a_head_that_is_too_large(sent: bytes) -> None:
    async with serving_with(PATIENT) as (port, _), connected(port) as (reader, writer):
        writer.write(sent)
        is_refused(await all_of(reader), 431, "head-too-large")


@pytest.mark.parametrize("sent", [b"\x16\x03\x01\x02\x00", b"GET / HTTP/9.9\r\n\r\n", b"get\x00 / HTTP/1.1\r\n\r\n"])
async def test_what_is_no_http(sent: bytes) -> None:
    async with serving_with(PATIENT) as (port, _), connected(port) as (reader, writer):
        writer.write(sent)
        is_refused(await all_of(reader), 400, "bad-request")


@pytest.mark.parametrize(
    "smuggled",
    [
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nxxxx",
        b"Content-Length: +4\r\n\r\nxxxx",
        b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    ],
)
async def test_a_body_of_two_lengths_is_refused(smuggled: bytes) -> None:
    async with serving_with(PATIENT) as (port, _), connected(port) as (reader, writer):
        writer.write(BODY + smuggled)
        is_refused(await all_of(reader), 400, "bad-request")


async def test_a_connection_too_many_is_sent_away_and_the_next_is_not() -> None:
    async with serving_with(PATIENT) as (port, _):
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]
        async with connected(port) as (reader, _writer):
            is_refused(await all_of(reader), 503, "too-many-connections")
        held[0][1].close()
        await held[0][1].wait_closed()
        async with asyncio.timeout(30):
            while True:
                async with connected(port) as (reader, writer):
                    writer.write(GREETING + b"Connection: close\r\n\r\n")
                    if (await all_of(reader)).endswith(b'{"status":"ok"}'):
                        break
        for _, writer in held[1:]:
            writer.close()


async def test_an_upgrade_to_websockets_is_not_taken() -> None:
    async with serving_with(PATIENT) as (port, _), connected(port) as (reader, writer):
        upgrade = b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n"
        writer.write(GREETING + b"Connection: Upgrade, close\r\n" + upgrade + b"\r\n")
        assert not (await all_of(reader)).startswith(b"HTTP/1.1 101 ")


def silent_reader(port: int, asked: bytes) -> socket.socket:
    """Ask, and read nothing of the answer."""
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.connect(("127.0.0.1", port))
    reader.sendall(asked)
    return reader


async def test_who_does_not_read_costs_no_memory_and_is_cut_off() -> None:
    async with serving_with(HASTY) as (port, state):
        before = psutil.Process().memory_info().rss
        with silent_reader(port, b"GET /flood HTTP/1.1\r\nHost: milpa.test\r\n\r\n"):
            await asyncio.sleep(0.5)
            sent = state.sent
            await asyncio.sleep(0.2)
            assert state.sent == sent < 20_000_000  # what the sockets' buffers hold, and no more
            assert psutil.Process().memory_info().rss - before < 50_000_000

            async def cut_off() -> bool:
                return bool(state.get("ended"))

            await until(cut_off)


async def test_silent_listeners_of_a_long_log_share_it_and_are_cut_off(
    stack: Servers, key: str, driver: JobDriver
) -> None:
    """Twenty who follow ten megabytes of events and read none cost about one log, not twenty, and lose their place."""
    settings = msgspec.structs.replace(settings_of(stack), stalled_seconds=1.0)
    async with running(create_app(settings)) as app:
        async with client(app, key) as http:
            job = (await http.post(SUBMIT, json=body())).json()["id"]
        async with driver.database.transaction(driver.tenant) as transaction:
            await transaction.connection.execute(
                text(
                    "INSERT INTO job_events (tenant_id, job_id, seq, type, data)"
                    " SELECT :tenant, :job, number, 'phase', jsonb_build_object('note', repeat('x', 1000))"
                    " FROM generate_series(2, 10000) AS number"
                ),
                {"tenant": driver.tenant, "job": job},
            )
        async with serving(server_config(app, settings)) as address:
            port = int(address.rpartition(":")[2])
            hub = app.state.services.hub
            before = psutil.Process().memory_info().rss
            asked = f"GET /v1/jobs/{job}/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nAuthorization: Bearer {key}"
            silent = [silent_reader(port, f"{asked}\r\n\r\n".encode()) for _ in range(20)]

            async def all_follow() -> bool:
                return bool(hub.streams == 20)

            async def none_follows() -> bool:
                return bool(hub.streams == 0)

            await until(all_follow)
            await until(none_follows)
            assert psutil.Process().memory_info().rss - before < 150_000_000
            for reader in silent:
                reader.close()
