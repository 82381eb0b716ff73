"""Files in object storage through obstore: a local folder, S3, GCS, Azure or memory."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast
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


_PIECE_BYTES = 8_000_000
"""Of an object written piece by piece: what is held before it is sent."""


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

    async def put(self, key: str, data: bytes) -> None:
        """Write an object. FatalError (`object_exists`): the key was written before."""
        with _told_apart():
            try:
                await obstore.put_async(self._store, key, data, mode="create")
            except AlreadyExistsError:
                raise FatalError("object_exists", "A stored file would have been written over.") from None

    @asynccontextmanager
    async def writer(self, key: str) -> AsyncIterator[Callable[[bytes], Awaitable[None]]]:
        """Write an object piece by piece, of whatever size; it is there once this ends."""
        with _told_apart():
            async with obstore.open_writer_async(self._store, key, buffer_size=_PIECE_BYTES) as file:

                async def write(piece: bytes) -> None:
                    await file.write(piece)

                yield write

    async def get(self, key: str) -> bytes:
        """Return an object whole. FileNotFoundError: there is none."""
        with _told_apart():
            return bytes(await (await obstore.get_async(self._store, key)).bytes_async())

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        """Return an object in pieces. FileNotFoundError: there is none."""
        with _told_apart():
            found = await obstore.get_async(self._store, key)
        return _pieces(found.stream())

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; one that is gone already does no harm."""
        for key in keys:
            with _told_apart():
                try:
                    await obstore.delete_async(self._store, key)
                except (NotFoundError, FileNotFoundError):
                    continue

    async def presigned(self, key: str, seconds: int) -> str | None:
        """Return an address that gives the object for so long, or None where the store has no such thing."""
        if not self._signs:
            return None
        with _told_apart():
            return await obstore.sign_async(self._store, "GET", key, timedelta(seconds=seconds))

    async def list(self, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        """Go through the objects under a prefix."""
        now = datetime.now(UTC)
        with _told_apart():
            async for found in obstore.list(self._store, prefix or None):
                for meta in found:
                    yield ObjectInfo(meta["path"], meta["size"], now - meta["last_modified"])


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


async def _pieces(found: Any) -> AsyncIterator[bytes]:
    with _told_apart():
        async for piece in found:
            yield bytes(piece)


@contextmanager
def _told_apart() -> Iterator[None]:
    try:
        yield
    except (NotFoundError, FileNotFoundError):
        raise FileNotFoundError("There is no such object.") from None
    except (BaseError, OSError) as error:
        raise TransientError("object_store_unavailable", "The object store does not answer.") from error
