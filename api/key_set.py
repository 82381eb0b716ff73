"""The public keys of an issuer of tokens (JWKS, RFC 7517): kept, refreshed, fetched anew for a key not seen before."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import jwt
import msgspec
import structlog

from milpa.ending import end
from milpa.errors import TransientError
from milpa.repeating import patiently

ALGORITHMS = frozenset({"RS256", "ES256"})
REFRESH_SECONDS = 300.0
"""How old the keys grow before they are fetched again."""
AGAIN_SECONDS = 10.0
"""The least time between two fetches, whatever tokens arrive."""
KEEP_SECONDS = 3600.0
"""How long keys are good while their address does not answer."""
FETCH_SECONDS = 5.0
_MOST_BYTES = 1_000_000
_RSA_BITS = 2048
"""RFC 7518 asks for no less."""

_log = structlog.get_logger("milpa.api")


class _Document(msgspec.Struct):
    keys: list[dict[str, Any]]


class KeySet:
    """The keys at one address. At most one fetch runs, and all who need it wait for the same one."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._keys: list[jwt.PyJWK] = []
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._fetching: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def kept_fresh(self) -> AsyncIterator[None]:
        """Fetch the keys now and again and again, beside the requests."""
        refreshing = asyncio.create_task(self._refresh())
        try:
            yield
        finally:
            await end(refreshing, *filter(None, [self._fetching]))

    async def _refresh(self) -> None:
        while True:
            await patiently(self._fetch_shared)
            await asyncio.sleep(REFRESH_SECONDS if self._keys_are_known() else AGAIN_SECONDS)

    async def find(self, algorithm: str, key_id: str | None) -> jwt.PyJWK | None:
        """Return the one key that signed, by the token's header; a key not seen before may take a fetch.

        None: there is no such key, or without an id several. TransientError (`jwks_unavailable`): no keys are known.
        """
        found = self._matching(algorithm, key_id)
        if not found and self._may_fetch():
            await self._fetch_shared()
            found = self._matching(algorithm, key_id)
        if not self._keys_are_known():
            raise TransientError("jwks_unavailable", "The keys that tokens are signed with can't be fetched.")
        return found[0] if len(found) == 1 else None

    def _matching(self, algorithm: str, key_id: str | None) -> list[jwt.PyJWK]:
        if not self._keys_are_known():
            return []
        return [key for key in self._keys if key.algorithm_name == algorithm and key_id in (None, key.key_id)]

    def _keys_are_known(self) -> bool:
        return self._fetched_at is not None and time.monotonic() - self._fetched_at < KEEP_SECONDS

    def _may_fetch(self) -> bool:
        under_way = self._fetching is not None
        return under_way or self._tried_at is None or time.monotonic() - self._tried_at >= AGAIN_SECONDS

    async def _fetch_shared(self) -> None:
        if self._fetching is None:
            self._tried_at = time.monotonic()
            self._fetching = asyncio.create_task(self._fetch())
        await asyncio.shield(self._fetching)

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                document = msgspec.json.decode(await self._read(), type=_Document)
            self._keys = [key for key in map(_usable, document.keys) if key is not None]
            self._fetched_at = time.monotonic()
        except (httpx.HTTPError, TimeoutError, msgspec.MsgspecError) as error:
            _log.warning("keys of tokens not fetched; the known ones stay", error=type(error).__name__)
        finally:
            self._fetching = None

    async def _read(self) -> bytes:
        body = bytearray()
        async with httpx.AsyncClient() as http, http.stream("GET", self._url) as response:
            if response.status_code != httpx.codes.OK:  # a redirect might lead away from https
                raise httpx.HTTPStatusError("not 200", request=response.request, response=response)
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > _MOST_BYTES:
                    raise msgspec.DecodeError("too large")
        return bytes(body)


def _usable(data: dict[str, Any]) -> jwt.PyJWK | None:
    """Return a key that checks signatures of ours, or None: it is for something else, or weak."""
    algorithm = {"RSA": "RS256", "EC": "ES256"}.get(str(data.get("kty")))
    if algorithm is None or data.get("alg", algorithm) != algorithm or data.get("use", "sig") != "sig":
        return None
    if algorithm == "ES256" and data.get("crv") != "P-256":
        return None
    try:
        key = jwt.PyJWK(data, algorithm)
    except jwt.PyJWTError:
        return None
    return key if algorithm != "RS256" or key.key.key_size >= _RSA_BITS else None
