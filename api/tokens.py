"""JSON Web Tokens (RFC 7519): who is asking, signed with a shared secret or with a key that the issuer publishes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Annotated, Any
from urllib.parse import urlsplit

import jwt
import msgspec

from api.key_set import ALGORITHMS, KeySet
from milpa.errors import UsageError
from milpa.settings import Settings
from storage.rows import Role

_SHARED = "HS256"
_SECRET_BYTES = 32
"""As long as the hash, as RFC 7518 asks."""
_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


class Claims(msgspec.Struct, frozen=True):
    """What a good token says. sub: who; tenant: name or id of the tenant."""

    sub: _Text
    tenant: _Text
    role: Role


class Tokens:
    """Reads tokens under the rules of the settings.

    UsageError (`bad_setting`): under these settings tokens could be forged, or one made for another service would do.
    """

    def __init__(self, settings: Settings) -> None:
        _check(settings)
        self._secret = settings.jwt_secret.reveal()
        self._keys = KeySet(settings.jwt_jwks_url) if settings.jwt_jwks_url else None
        self._rules: dict[str, Any] = {
            "issuer": settings.jwt_issuer or None,
            "audience": settings.jwt_audience or None,
            "leeway": settings.jwt_leeway_seconds,
            "options": {"require": ["exp", "sub", "tenant", "role"], "enforce_minimum_key_length": True},
        }

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep the issuer's keys fresh meanwhile."""
        if self._keys is None:
            yield
            return
        async with self._keys.kept_fresh():
            yield

    async def read(self, token: str) -> Claims | None:
        """Return what a token says, or None: it is not signed by whom we trust, not for us, or not now.

        TransientError (`jwks_unavailable`): the issuer's keys are not known.
        """
        try:
            header = jwt.get_unverified_header(token)
            algorithm = str(header.get("alg"))
            key = await self._key(algorithm, header.get("kid"))
            if key is None:
                return None
            claims = jwt.decode(token, key, algorithms=[algorithm], **self._rules)
            said = msgspec.convert(claims, Claims)
        except (jwt.PyJWTError, msgspec.ValidationError, RecursionError):
            return None
        printable = said.sub.isprintable() and said.tenant.isprintable()  # they go to the database and into logs
        return said if printable else None

    async def _key(self, algorithm: str, key_id: str | None) -> jwt.PyJWK | str | None:
        """Return what checks a signature of this algorithm: each has its own, so that none is taken for another's."""
        if algorithm == _SHARED:
            return self._secret or None
        if algorithm in ALGORITHMS and self._keys is not None:
            return await self._keys.find(algorithm, key_id)
        return None


def _check(settings: Settings) -> None:
    secret = settings.jwt_secret.reveal()
    if secret and len(secret.encode()) < _SECRET_BYTES:
        raise UsageError(
            "bad_setting", f"MILPA_JWT_SECRET is shorter than {_SECRET_BYTES} bytes; try: openssl rand -base64 48"
        )
    if not settings.jwt_jwks_url:
        return
    if not settings.jwt_issuer or not settings.jwt_audience:
        raise UsageError(
            "bad_setting",
            "MILPA_JWT_JWKS_URL needs MILPA_JWT_ISSUER and MILPA_JWT_AUDIENCE: others may sign with the same keys.",
        )
    url = urlsplit(settings.jwt_jwks_url)
    if url.username or url.password:
        raise UsageError("bad_setting", "MILPA_JWT_JWKS_URL holds a user name; public keys need none.")
    if url.scheme != "https" and not (url.scheme == "http" and _is_loopback(url.hostname or "")):
        raise UsageError("bad_setting", "MILPA_JWT_JWKS_URL must begin with https://, except on this machine.")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
