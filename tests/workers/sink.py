"""A web server of the tests' own, which takes webhooks well or badly."""

import asyncio
import contextlib
import socket
import ssl
import struct
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Received:
    """One request as it came; at: in seconds since 1970."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float = field(default_factory=time.time)


@dataclass
class Sink:
    """What came, and how to answer: by path, the next of its answers, the last one again and again.

    An answer is a status, `hang` (until released), `reset`, `garbage`, `drip` (a status, then an endless body), or the
    whole response as text.
    """

    port: int = 0
    connections: int = 0
    open: int = 0
    most_open: int = 0
    received: list[Received] = field(default_factory=list)
    answers: dict[str, list[int | str]] = field(default_factory=lambda: defaultdict(lambda: [200]))
    released: asyncio.Event = field(default_factory=asyncio.Event)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}/{path}"

    def at(self, path: str) -> list[Received]:
        return [request for request in self.received if request.path == f"/{path}"]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = (line.split(": ", 1) for line in head[1:] if line)
        headers = {name.lower(): value for name, value in fields}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        path = head[0].split(" ")[1]
        self.received.append(Received(path, headers, body))
        self.came.set()
        answers = self.answers[path.partition("?")[0].removeprefix("/")]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            await self._answer(answer, writer)
        finally:
            self.open -= 1

    async def _answer(self, answer: int | str, writer: asyncio.StreamWriter) -> None:
        match answer:
            case "hang":
                await self.released.wait()
                return
            case "reset":
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
                return
            case "garbage":
                writer.write(b"\x00\x01 this is no HTTP\r\n\r\n")
            case "drip":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nso far")
                await writer.drain()
                await self.released.wait()
                return
            case int():
                text = f"answer {answer} " + "x" * 5000
                writer.write(f"HTTP/1.1 {answer} Any\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())
            case str():
                writer.write(answer.encode())
        await writer.drain()


@asynccontextmanager
async def running_sink(tls: ssl.SSLContext | None = None) -> AsyncIterator[Sink]:
    """Serve on this machine's loopback, both versions of IP, and let go of whoever hangs at the end."""
    sink = Sink()
    v4 = await asyncio.start_server(sink.serve, "127.0.0.1", 0, ssl=tls)
    sink.port = v4.sockets[0].getsockname()[1]
    servers = [v4]
    with contextlib.suppress(OSError):  # a machine without IPv6
        servers.append(await asyncio.start_server(sink.serve, "::1", sink.port, ssl=tls))
    try:
        yield sink
    finally:
        sink.released.set()
        for server in servers:
            server.close()
