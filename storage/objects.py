"""Files in object storage through obstore: a local folder, S3, GCS, Azure or memory."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from milpa.settings import Settings


class ObjectInfo(NamedTuple):
    """One stored object. size: bytes; age: since it was written."""

    key: str
    size: int
    age: timedelta


def object_key(tenant_id: UUID, job_id: UUID, attempt: int | str, name: str) -> str:
    """Return the write-once key of a file made by this attempt."""
    return f"{tenant_id}/{job_id}/{attempt}/{name}"


class ObjectStore:
    """Write-once objects. TransientError (`object_store_unavailable`) from every call: the store does not answer."""

    def __init__(self, settings: Settings) -> None: ...

    async def put(self, key: str, data: bytes) -> None:
        """Write an object. FatalError (`object_exists`): the key was written before."""
        ...

    async def get(self, key: str) -> bytes:
        """Return an object whole. FileNotFoundError: there is none."""
        ...

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        """Return an object in pieces. FileNotFoundError: there is none."""
        ...

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; one that is gone already does no harm."""
        ...

    async def presigned(self, key: str, seconds: int) -> str | None:
        """Return an address that gives the object for so long, or None where the store has no such thing."""
        ...

    def list(self, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        """Go through the objects under a prefix."""
        ...
