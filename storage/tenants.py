"""All tenants, and whose key it is that someone shows."""

import hmac
import re
from collections.abc import Sequence
from datetime import datetime
from unicodedata import is_normalized
from uuid import UUID

import msgspec
from sqlalchemy import text

from milpa.errors import FatalError, UsageError
from milpa.jobs import new_id
from milpa.settings import TenantLimits
from storage.api_keys import ApiKeyStore, hash_key
from storage.rows import ApiKeyRow, NewApiKey, Role, TenantRow
from storage.session import Session, read, to_json

LOCAL = "local"
_LONGEST_NAME = 255

_KEY_FORM = re.compile(r"mlp_(?P<prefix>[0-9a-f]+)_[0-9a-f]+$")

_CREATE = text("""
INSERT INTO tenants (id, name, max_running) VALUES (:id, :name, :max_running) ON CONFLICT (name) DO NOTHING RETURNING *
""")
_GET = text("SELECT * FROM tenants WHERE id = :id")
_FIND = text("SELECT * FROM tenants WHERE name = :name")
_IDS = text("SELECT id FROM tenants ORDER BY created_at, id")
_SET_MAX_RUNNING = text("UPDATE tenants SET max_running = :max_running WHERE id = :id")
_LIMITS = text("SELECT limits FROM tenants WHERE id = :id")
_SET_LIMITS = text("UPDATE tenants SET limits = CAST(:limits AS jsonb) WHERE id = :id")
_GOOD_KEY = text("""
SELECT *, coalesce(last_used_at < now() - interval '1 minute', true) AS note_use FROM api_keys
WHERE prefix = :prefix AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
""")
_NOTE_USE = text("""
UPDATE api_keys SET last_used_at = now() WHERE id = (SELECT id FROM api_keys WHERE id = :id FOR UPDATE SKIP LOCKED)
""")


class _OwnLimits(msgspec.Struct):
    limits: TenantLimits


class TenantStore:
    """All tenants, as the fleet's role sees them."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def create(self, name: str, max_running: int | None = None) -> TenantRow:
        """Make a tenant. UsageError (`tenant_exists`, `bad_tenant_name`): the name is taken, or cannot be one."""
        if not _can_be_named(name):
            raise UsageError(
                "bad_tenant_name", "A tenant's name is 1 to 255 visible characters, composed (NFC), and is no id."
            )
        row = await self._session.first(_CREATE, id=new_id(), name=name, max_running=max_running)
        if row is None:
            raise UsageError("tenant_exists", f"There is a tenant called {name!r} already.")
        return read(row, TenantRow)

    async def get(self, name_or_id: str | UUID) -> TenantRow | None:
        """Return the tenant of that name or id, or None."""
        if isinstance(name_or_id, UUID):
            row = await self._session.first(_GET, id=name_or_id)
        else:
            row = await self._session.first(_FIND, name=name_or_id)
        return None if row is None else read(row, TenantRow)

    async def ids(self) -> Sequence[UUID]:
        """Return the ids of all tenants, the oldest first."""
        return [row["id"] for row in await self._session.all(_IDS)]

    async def set_max_running(self, tenant_id: UUID, max_running: int | None) -> None:
        """Cap how many of the tenant's jobs are rung or running at once; None: no cap."""
        await self._session.run(_SET_MAX_RUNNING, id=tenant_id, max_running=max_running)
        self._session.outbox.waiting = True

    async def limits(self, tenant_id: UUID) -> TenantLimits:
        """Return the limits that the tenant has otherwise than all; none when there is no such tenant."""
        row = await self._session.first(_LIMITS, id=tenant_id)
        return TenantLimits() if row is None else read(row, _OwnLimits).limits

    async def set_limits(self, tenant_id: UUID, limits: TenantLimits) -> None:
        """Give the tenant these limits in place of those it had."""
        await self._session.run(_SET_LIMITS, id=tenant_id, limits=to_json(limits))

    async def create_key(
        self, tenant_id: UUID, name: str, role: Role, scopes: Sequence[str] = (), expires_at: datetime | None = None
    ) -> NewApiKey:
        """Make a key for a tenant. Its secret is in the answer and nowhere else."""
        return await ApiKeyStore(self._session, tenant_id).create(name, role, scopes, expires_at)

    async def authenticate(self, secret: str) -> ApiKeyRow | None:
        """Return the key with this secret if it is good now, else None."""
        form = _KEY_FORM.match(secret)
        row = form and await self._session.first(_GOOD_KEY, prefix=form["prefix"])
        if row is None or not hmac.compare_digest(row["key_hash"], hash_key(self._session, secret)):
            return None
        if row["note_use"]:
            await self._session.run(_NOTE_USE, id=row["id"])
        return read(row, ApiKeyRow)

    async def ensure_local(self, known_secret: str | None = None) -> tuple[TenantRow, str]:
        """Return the tenant `local`, made if need be, and an admin key of it: the known one while it is good."""
        await self._session.run(_CREATE, id=new_id(), name=LOCAL, max_running=None)
        tenant = await self.get(LOCAL)
        if tenant is None:
            raise FatalError("tenant_missing", "The local tenant could not be made.")
        key = await self.authenticate(known_secret) if known_secret else None
        if known_secret and key is not None and key.tenant_id == tenant.id and key.role is Role.ADMIN:
            return tenant, known_secret
        return tenant, (await self.create_key(tenant.id, "admin", Role.ADMIN)).secret


def _can_be_named(name: str) -> bool:
    """Tell whether a token could name a tenant so, and no other one by it."""
    try:
        UUID(name)
    except ValueError:
        return 0 < len(name) <= _LONGEST_NAME and name.isprintable() and is_normalized("NFC", name)
    return False
