"""Payloads at rest: compressed by zstd, then sealed by AES-256-GCM under a ring of keys."""

import asyncio
import base64
import os
from typing import Self

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from milpa.errors import FatalError

_VERSION = 1
_NONCE_BYTES = 12
_KEY_BYTES = 32
_LEVEL = 3
_INLINE_BYTES = 128_000
"""Up to this size sealing takes well under a millisecond; larger payloads are sealed off the event loop."""


class Seal:
    """A ring of keys: the first seals, all open.

    Envelope: version (1 byte), length of the key's id (1 byte), the id, nonce (12 bytes), ciphertext with its tag.
    The context (which tenant, job and name) is authenticated with it: a payload opens nowhere but in its own row.
    """

    def __init__(self, keys: dict[str, bytes]) -> None:
        if not keys:
            raise FatalError("seal_keys_missing", "MILPA_SEAL_KEYS is empty; give at least one `id:base64key`.")
        self._ciphers = {key_id: AESGCM(_checked(key_id, key)) for key_id, key in keys.items()}
        self.key_id = next(iter(keys))

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read `id:base64key,id:base64key`. FatalError: not of that form, or a key that is not 32 bytes."""
        keys: dict[str, bytes] = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            key_id, _, key = part.partition(":")
            try:
                keys[key_id] = base64.b64decode(key, validate=True)
            except ValueError:
                raise FatalError("bad_seal_key", f"The seal key {key_id!r} is not base64.") from None
        return cls(keys)

    def seal(self, data: bytes, context: str) -> bytes:
        """Compress and seal."""
        nonce = os.urandom(_NONCE_BYTES)
        name = self.key_id.encode()
        sealed = self._ciphers[self.key_id].encrypt(nonce, zstandard.compress(data, _LEVEL), context.encode())
        return b"".join((bytes((_VERSION, len(name))), name, nonce, sealed))

    def open(self, envelope: bytes, context: str) -> bytes:
        """Open and decompress.

        FatalError: an unknown key, a changed envelope, or another context than it was sealed in.
        """
        start = 2 + (envelope[1] if len(envelope) > 1 else 0)
        cipher = self._ciphers.get(envelope[2:start].decode(errors="replace"))
        if envelope[:1] != bytes((_VERSION,)) or cipher is None:
            raise FatalError("seal_key_unknown", "A stored payload was sealed with a key that is not on the ring.")
        nonce, sealed = envelope[start : start + _NONCE_BYTES], envelope[start + _NONCE_BYTES :]
        try:
            packed = cipher.decrypt(nonce, sealed, context.encode())
        except (InvalidTag, ValueError):  # changed, or cut short
            raise FatalError("seal_broken", "A stored payload was changed or moved since it was sealed.") from None
        return zstandard.decompress(packed)

    async def seal_async(self, data: bytes, context: str) -> bytes:
        """Seal without holding up the event loop."""
        if len(data) <= _INLINE_BYTES:
            return self.seal(data, context)
        return await asyncio.to_thread(self.seal, data, context)

    async def open_async(self, envelope: bytes, context: str) -> bytes:
        """Open without holding up the event loop."""
        if len(envelope) <= _INLINE_BYTES:
            return self.open(envelope, context)
        return await asyncio.to_thread(self.open, envelope, context)


def _checked(key_id: str, key: bytes) -> bytes:
    if len(key) != _KEY_BYTES or not 0 < len(key_id.encode()) < 256:  # noqa: PLR2004 - its length is one byte
        raise FatalError("bad_seal_key", f"The seal key {key_id!r} must be 32 bytes, with an id of 1 to 255 bytes.")
    return key
