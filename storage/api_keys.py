"""API keys of a tenant: `mlp_<prefix>_<secret>`, of which only a keyed hash is stored."""

import secrets
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from milpa.errors import UsageError
from milpa.jobs import new_id
from storage.rows import ApiKeyRow, NewApiKey, Role
from storage.session import Session, read

MAX_KEYS = 1000

_LOCK_TENANT = text("SELECT pg_advisory_xact_lock(hashtext('milpa api keys'), hashtext(CAST(:tenant AS text)))")
_CREATE = text("""
INSERT INTO api_keys (id, tenant_id, name, prefix, key_hash, role, scopes, expires_at)
VALUES (:id, :tenant, :name, :prefix, :key_hash, :role, :scopes, :expires_at)
RETURNING *
""")
_REVOKE = text("""
UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE tenant_id = :tenant AND id = :id RETURNING *
""")
_GOOD = text("""
SELECT * FROM api_keys WHERE tenant_id = :tenant AND revoked_at IS NULL AND coalesce(expires_at > now(), true)
""")
_PAGE = text("""
SELECT * FROM api_keys
WHERE tenant_id = :tenant
    AND (CAST(:before AS timestamptz) IS NULL OR (created_at, id) < (:before, CAST(:before_id AS uuid)))
ORDER BY created_at DESC, id DESC LIMIT :limit
""")


class ApiKeyStore:
    """One tenant's API keys. A foreign key is a missing one."""

    def __init__(self, session: Session, tenant: UUID) -> None:
        self._session = session
        self._tenant = tenant

    async def create(
        self, name: str, role: Role, scopes: Sequence[str] = (), expires_at: datetime | None = None
    ) -> NewApiKey:
        """Make a key. Its secret is in the answer and nowhere else.

        UsageError (`too_many_api_keys`): the tenant has as many as it may.
        """
        await self._session.run(_LOCK_TENANT, tenant=str(self._tenant))
        if len(await self.good()) >= MAX_KEYS:
            raise UsageError("too_many_api_keys", f"There can be {MAX_KEYS:,} API keys at most; revoke one first.")
        prefix = secrets.token_hex(6)
        secret = f"mlp_{prefix}_{secrets.token_hex(32)}"
        row = await self._session.one(
            _CREATE,
            id=new_id(),
            tenant=self._tenant,
            name=name,
            prefix=prefix,
            key_hash=hash_key(self._session, secret),
            role=role,
            scopes=list(scopes),
            expires_at=expires_at,
        )
        return NewApiKey(read(row, ApiKeyRow), secret)

    async def good(self) -> list[ApiKeyRow]:
        """Return the keys that are neither revoked nor expired."""
        return [read(row, ApiKeyRow) for row in await self._session.all(_GOOD, tenant=self._tenant)]

    async def list(self, limit: int, after: tuple[datetime, UUID] | None = None) -> list[ApiKeyRow]:
        """Return keys, newest first, those that have ended included. after: the last row of the page before."""
        before, before_id = after or (None, None)
        rows = await self._session.all(_PAGE, tenant=self._tenant, before=before, before_id=before_id, limit=limit)
        return [read(row, ApiKeyRow) for row in rows]

    async def revoke(self, key_id: UUID) -> ApiKeyRow | None:
        """End a key for good; one that has ended stays so. None: there is no such key.

        Others that revoke or make keys of the tenant wait for this transaction, so that what is `good` after it is so.
        """
        await self._session.run(_LOCK_TENANT, tenant=str(self._tenant))
        row = await self._session.first(_REVOKE, tenant=self._tenant, id=key_id)
        return None if row is None else read(row, ApiKeyRow)


def hash_key(session: Session, secret: str) -> bytes:
    """Return what is stored of a key: HMAC-SHA256. A slow hash adds nothing to 256 random bits."""
    return session.digest("api key", secret.encode())
