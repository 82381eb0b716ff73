"""Payloads at rest: compressed by zstd, then sealed by AES-256-GCM under a ring of keys."""

import asyncio
import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Self

import structlog
import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from milpa.errors import FatalError, UsageError
from milpa.settings import Settings

_VERSION = 1
_NONCE_BYTES = 12
_KEY_BYTES = 32
_LEVEL = 3
_INLINE_BYTES = 128_000
"""Up to this size sealing takes well under a millisecond; larger payloads are sealed off the event loop."""

log = structlog.get_logger(__name__)


class _Ring(NamedTuple):
    key_id: str
    ciphers: Mapping[str, AESGCM]


class Seal:
    """A ring of keys: the first seals, all open. file: where the ring is kept; read again when it has changed.

    Envelope: version (1 byte), length of the key's id (1 byte), the id, nonce (12 bytes), ciphertext with its tag.
    The context (which tenant, job and name) is authenticated with it: a payload opens nowhere but in its own row.
    """

    def __init__(self, keys: Mapping[str, bytes], file: Path | None = None) -> None:
        self._file = file
        self._stamp = file and _stamp(file)
        self._ring = _ring(keys)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read `id:base64key,id:base64key`. FatalError: not of that form, or a key that is not 32 bytes."""
        return cls(read_keys(text))

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Read the ring of the settings: from its file where one is named.

        UsageError: neither keys nor a file are set. FatalError: the file is not there, or a key is no key.
        """
        if not settings.seal_keys_file and not settings.seal_keys.reveal():
            raise UsageError("bad_setting", "MILPA_SEAL_KEYS is not set; try: echo first:$(openssl rand -base64 32)")
        if not settings.seal_keys_file:
            return cls.from_text(settings.seal_keys.reveal())
        file = Path(settings.seal_keys_file)
        try:
            return cls(read_keys(file.read_text()), file)
        except OSError as error:
            reason = f"MILPA_SEAL_KEYS_FILE can't be read: {error.strerror}."
            raise FatalError("seal_keys_missing", reason) from None

    @property
    def key_id(self) -> str:
        """The id of the key that seals now."""
        self._renew()
        return self._ring.key_id

    @property
    def mark(self) -> bytes:
        """What everything begins with that is sealed now: version, length of the key's id, the id."""
        name = self.key_id.encode()
        return bytes((_VERSION, len(name))) + name

    def _renew(self) -> None:
        """Take the ring from its file again if it has changed; a broken file leaves the ring as it is."""
        if self._file is None:
            return
        try:
            stamp = _stamp(self._file)
            if stamp != self._stamp:
                self._ring = _ring(read_keys(self._file.read_text()))
                self._stamp = stamp
        except (OSError, FatalError) as error:
            log.error("seal_keys_unreadable", error=type(error).__name__)  # noqa: TRY400  its text may show a key

    def seal(self, data: bytes, context: str) -> bytes:
        """Compress and seal."""
        self._renew()
        nonce, ring = os.urandom(_NONCE_BYTES), self._ring
        name = ring.key_id.encode()
        sealed = ring.ciphers[ring.key_id].encrypt(nonce, zstandard.compress(data, _LEVEL), context.encode())
        return b"".join((bytes((_VERSION, len(name))), name, nonce, sealed))

    def open(self, envelope: bytes, context: str) -> bytes:
        """Open and decompress.

        FatalError: an unknown key, a changed envelope, or another context than it was sealed in.
        """
        start = 2 + (envelope[1] if len(envelope) > 1 else 0)
        key_id = envelope[2:start].decode(errors="replace")
        if key_id not in self._ring.ciphers:
            self._renew()
        cipher = self._ring.ciphers.get(key_id)
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


def read_keys(text: str) -> Mapping[str, bytes]:
    """Read keys, `id:base64key` each, between commas or on lines. FatalError: one is not of that form."""
    keys: dict[str, bytes] = {}
    for part in filter(None, (part.strip() for part in text.replace("\n", ",").split(","))):
        key_id, _, key = part.partition(":")
        try:
            keys[key_id] = base64.b64decode(key, validate=True)
        except ValueError:
            raise FatalError("bad_seal_key", f"The seal key {key_id!r} is not base64.") from None
    return keys


def new_key(key_id: str) -> str:
    """Return a fresh key in the form of the settings."""
    return f"{key_id}:{base64.b64encode(os.urandom(_KEY_BYTES)).decode()}"


def _ring(keys: Mapping[str, bytes]) -> _Ring:
    if not keys:
        raise FatalError("seal_keys_missing", "MILPA_SEAL_KEYS is empty; give at least one `id:base64key`.")
    return _Ring(next(iter(keys)), {key_id: AESGCM(_checked(key_id, key)) for key_id, key in keys.items()})


def _stamp(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_ino, found.st_mtime_ns


def _checked(key_id: str, key: bytes) -> bytes:
    if len(key) != _KEY_BYTES or not 0 < len(key_id.encode()) < 256:  # noqa: PLR2004 - its length is one byte
        raise FatalError("bad_seal_key", f"The seal key {key_id!r} must be 32 bytes, with an id of 1 to 255 bytes.")
    return key
