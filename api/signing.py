"""Tokens that only we can have made: list cursors and file links. What they hold is readable, never secret."""

import base64
import binascii
import hashlib
import hmac
from typing import Any, TypeVar

import msgspec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

T = TypeVar("T")
_MAC_BYTES = 16


class Signer:
    """Signs small values for one purpose; a token made for another purpose does not open."""

    def __init__(self, signing_key: str, purpose: str) -> None:
        self._key = HKDF(SHA256(), 32, salt=None, info=f"milpa {purpose}".encode()).derive(signing_key.encode())

    def sign(self, value: Any) -> str:
        """Return a URL-safe token that holds `value`."""
        data: bytes = msgspec.msgpack.encode(value)
        return base64.urlsafe_b64encode(self._mac(data) + data).rstrip(b"=").decode()

    def open(self, token: str, type_: type[T]) -> T | None:
        """Return the value of a token, or None when it is not one of ours or not of this type."""
        try:
            raw = base64.urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
            mac, data = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
            if not hmac.compare_digest(mac, self._mac(data)):
                return None
            return msgspec.msgpack.decode(data, type=type_)
        except (binascii.Error, UnicodeEncodeError, msgspec.MsgspecError):
            return None

    def _mac(self, data: bytes) -> bytes:
        return hmac.digest(self._key, data, hashlib.sha256)[:_MAC_BYTES]
