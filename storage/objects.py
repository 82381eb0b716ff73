"""Files in object storage through obstore: a local folder, S3, GCS, Azure or memory.

obstore's blocking calls, in threads of ours: its asynchronous ones answer from a thread that may still touch the
interpreter while that ends, which then aborts the process (one short program in sixty on a busy machine).
"""

import asyncio
import os
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar, cast
from urllib.parse import urlsplit
from uuid import UUID

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError
from obstore.store import LocalStore, MemoryStore, from_url

from milpa.errors import FatalError, TransientError
from milpa.settings import Settings

if TYPE_CHECKING:
    from obstore.store import RetryConfig

_RETRIES: "RetryConfig" = {"max_retries": 3, "retry_timeout": timedelta(seconds=10)}

_THREADS = 32
"""Calls under way at once; more wait their turn."""

_PIECE_BYTES = 8_000_000
"""Of an object written piece by piece: what is held before it is sent."""

_SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)")

_Given = ParamSpec("_Given")
_Answer = TypeVar("_Answer")


class ObjectInfo(NamedTuple):
    """One stored object. size: bytes; age: since it was written."""

    key: str
    size: int
    age: timedelta


def object_key(tenant_id: UUID, job_id: UUID, attempt: int | str, name: str) -> str:
    """Return a fresh write-once key for a file made by this attempt. Who knows all ids still can't guess it."""
    return f"{tenant_id}/{job_id}/{attempt}/{secrets.token_hex(16)}/{name}"


def export_key(tenant_id: UUID, export_id: UUID) -> str:
    """Return a write-once key for an attempt at an export, which nobody guesses."""
    return f"{tenant_id}/exports/{export_id}/{secrets.token_hex(16)}.zip"


class ObjectStore:
    """Write-once objects. TransientError (`object_store_unavailable`) from every call: the store does not answer."""

    def __init__(self, settings: Settings) -> None:
        url = settings.object_store_url or (Path(settings.data_dir).absolute() / "objects").as_uri()
        self._store = _open(url, {name: option.reveal() for name, option in settings.object_store_options.items()})
        self._signs = not isinstance(self._store, LocalStore | MemoryStore)
        self._threads = ThreadPoolExecutor(_THREADS, "objects")

    async def put(self, key: str, data: bytes) -> None:
        """Write an object. FatalError (`object_exists`): the key was written before."""
        with _told_apart():
            try:
                await self._call(obstore.put, self._store, key, data, mode="create")
            except AlreadyExistsError:
                raise FatalError("object_exists", "A stored file would have been written over.") from None

    @asynccontextmanager
    async def writer(self, key: str) -> AsyncIterator[Callable[[bytes], Awaitable[None]]]:
        """Write an object piece by piece, of whatever size; it is there once this ends."""
        with _told_apart():
            file = await self._call(obstore.open_writer, self._store, key, buffer_size=_PIECE_BYTES)
            try:

                async def write(piece: bytes) -> None:
                    await self._call(file.write, piece)

                yield write
            finally:
                await self._call(file.close)

    async def get(self, key: str) -> bytes:
        """Return an object whole. FileNotFoundError: there is none."""
        with _told_apart():
            return bytes(await self._call(lambda: obstore.get(self._store, key).bytes()))

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        """Return an object in pieces. FileNotFoundError: there is none."""
        with _told_apart():
            found = await self._call(obstore.get, self._store, key)
        return self._pieces(found.stream())

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; one that is gone already does no harm."""
        for key in keys:
            with _told_apart():
                try:
                    await self._call(obstore.delete, self._store, key)
                except (NotFoundError, FileNotFoundError):
                    continue

    async def presigned(self, key: str, seconds: int) -> str | None:
        """Return an address that gives the object for so long, or None where the store has no such thing."""
        if not self._signs:
            return None
        with _told_apart():
            return await self._call(obstore.sign, self._store, "GET", key, timedelta(seconds=seconds))

    async def list(self, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        """Go through the objects under a prefix."""
        now = datetime.now(UTC)
        with _told_apart():
            pages = obstore.list(self._store, prefix or None)
            while (page := await self._call(next, pages, None)) is not None:
                for meta in page:
                    yield ObjectInfo(meta["path"], meta["size"], now - meta["last_modified"])

    async def _pieces(self, stream: Any) -> AsyncIterator[bytes]:
        with _told_apart():
            while (piece := await self._call(next, stream, None)) is not None:
                yield bytes(piece)

    async def _call(self, work: Callable[_Given, _Answer], *args: _Given.args, **more: _Given.kwargs) -> _Answer:
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *args, **more))


def _open(url: str, options: dict[str, str]) -> Any:
    parts = urlsplit(url)
    if parts.scheme == "memory":
        return MemoryStore()
    if parts.scheme == "file":
        return LocalStore(prefix=parts.path, mkdir=True, automatic_cleanup=True)  # folders go with their last file
    plain = any(value.startswith("http://") for value in options.values())  # an endpoint without TLS, by address
    try:
        return from_url(url, config=cast("Any", options), client_options={"allow_http": plain}, retry_config=_RETRIES)
    except (BaseError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise FatalError("bad_object_store", f"MILPA_OBJECT_STORE_URL or its options can't be used: {reason}") from None


@contextmanager
def _told_apart() -> Iterator[None]:
    try:
        yield
    except (NotFoundError, FileNotFoundError):
        raise FileNotFoundError("There is no such object.") from None
    except (BaseError, OSError) as error:
        said = f"The object store does not answer{_why(error)}."
        raise TransientError("object_store_unavailable", said) from error


def _why(error: Exception) -> str:
    """Return what the system said, of a full disk say; nothing else of a text that has keys in it."""
    number = _SYSTEM_ERROR.search(str(error))
    return f": {os.strerror(int(number[1]))}" if number else ""
