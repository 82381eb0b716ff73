"""A zip written piece by piece into the object store, of which only a piece is ever in memory."""

import asyncio
import hashlib
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import IO, Self, cast

Write = Callable[[bytes], Awaitable[None]]


class _Sink:
    """What the zip is written to: it can't be gone back in, so that sizes follow the data."""

    def __init__(self) -> None:
        self.pending = bytearray()

    def write(self, data: bytes) -> int:
        self.pending += data
        return len(data)

    def flush(self) -> None:
        pass


class ZipStream:
    """A zip in the making. size, sha256: of what was written so far."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._sink = _Sink()
        self._zip = zipfile.ZipFile(cast("IO[bytes]", self._sink), "w", zipfile.ZIP_DEFLATED)
        self._hash = hashlib.sha256()
        self.size = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, type_: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if type_ is None:
            await asyncio.to_thread(self._zip.close)
            await self._drain()

    @property
    def sha256(self) -> str:
        """The hex digest of what was written."""
        return self._hash.hexdigest()

    async def add(self, name: str, data: bytes) -> None:
        """Add an entry that is at hand."""
        await asyncio.to_thread(self._zip.writestr, name, data)
        await self._drain()

    async def add_pieces(self, name: str, pieces: AsyncIterator[bytes]) -> None:
        """Add an entry that comes in pieces."""
        with self._zip.open(name, "w", force_zip64=True) as entry:
            async for piece in pieces:
                await asyncio.to_thread(entry.write, piece)
                await self._drain()
        await self._drain()

    async def _drain(self) -> None:
        piece = bytes(self._sink.pending)
        self._sink.pending.clear()
        if piece:
            self._hash.update(piece)
            self.size += len(piece)
            await self._write(piece)
