"""A line between a process and PostgreSQL, or the API, that cuts and delays; it knows a COMMIT when it passes.

https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from enum import StrEnum
from random import Random

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_MOST_BYTES = 65_536
_QUERY, _COMMIT = b"Q", b"COMMIT"


class Mischief(StrEnum):
    """What happens to a COMMIT: it never arrives, its answer never arrives, or its answer is late."""

    LOST = "lost"
    UNANSWERED = "unanswered"
    LATE = "late"


class Line:
    """One connection through the proxy."""

    def __init__(self, near: Streams, far: Streams) -> None:
        self.near_reader, self.near = near
        self.far_reader, self.far = far
        self.swallow = False
        self.silent = False
        self.late_seconds = 0.0

    def cut(self) -> None:
        """End both halves at once, whatever is under way."""
        self.near.transport.abort()
        self.far.transport.abort()

    async def back(self) -> None:
        """Pass on what the far end says."""
        while data := await self.far_reader.read(_MOST_BYTES):
            if self.swallow:
                return
            if self.silent:
                continue
            seconds, self.late_seconds = self.late_seconds, 0.0
            await asyncio.sleep(seconds)
            self.near.write(data)
            await self.near.drain()


class Proxy:
    """Passes everything on; `cut` ends what is open now, `silence` has it hang, `share` of all COMMITs meet a mischief."""

    def __init__(self, connect: Callable[[], Awaitable[Streams]], dice: Random, late_seconds: float) -> None:
        self.share = 0.0
        self.done: Counter[Mischief] = Counter()
        self.port = 0
        self._connect = connect
        self._dice = dice
        self._late_seconds = late_seconds
        self._lines: set[Line] = set()

    @property
    def address(self) -> str:
        """Where clients of an API connect through this proxy."""
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> int:
        """Cut every connection; returns how many there were."""
        lines = list(self._lines)
        for line in lines:
            line.cut()
        return len(lines)

    def silence(self) -> int:
        """Have nothing more come back on what is open now, and tell nobody; returns how many connections there were."""
        for line in self._lines:
            line.silent = True
        return len(self._lines)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one connection on until either end closes it."""
        try:
            line = Line((reader, writer), await self._connect())
        except OSError:
            writer.transport.abort()
            return
        self._lines.add(line)
        ways = [asyncio.create_task(self._forth(line)), asyncio.create_task(line.back())]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        line.cut()
        self._lines.discard(line)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)

    async def _forth(self, line: Line) -> None:
        while data := await line.near_reader.read(_MOST_BYTES):
            line.far.write(data)
            await line.far.drain()


class PostgresProxy(Proxy):
    """Reads what clients say message by message, to find their COMMITs."""

    @property
    def url(self) -> str:
        """Where the application's login connects through this proxy."""
        return f"postgresql://milpa_app@127.0.0.1:{self.port}/milpa?sslmode=disable"

    async def _forth(self, line: Line) -> None:
        head = await line.near_reader.readexactly(4)
        line.far.write(head + await self._body(line, head))
        while True:
            kind, size = await line.near_reader.readexactly(1), await line.near_reader.readexactly(4)
            body = await self._body(line, size)
            commits = kind == _QUERY and body.upper().startswith(_COMMIT)
            mischief = self._dice.choice(list(Mischief)) if commits and self._dice.random() < self.share else None
            if mischief is not None:
                self.done[mischief] += 1
            if mischief is Mischief.LOST:
                return
            line.swallow = mischief is Mischief.UNANSWERED
            if mischief is Mischief.LATE:
                line.late_seconds = self._dice.uniform(0, self._late_seconds)
            line.far.write(kind + size + body)
            await line.far.drain()

    @staticmethod
    async def _body(line: Line, size: bytes) -> bytes:
        return await line.near_reader.readexactly(int.from_bytes(size) - 4)


@asynccontextmanager
async def listening(proxy: Proxy) -> AsyncIterator[None]:
    """Serve on a free port of this machine; at exit every connection is cut."""
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield
    finally:
        server.close()
        proxy.cut()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(server.wait_closed(), 5)
