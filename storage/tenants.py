"""Tenants and their API keys: `mlp_<prefix>_<secret>`, of which only a keyed hash is stored."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from storage.rows import ApiKeyRow, NewApiKey, Role, TenantRow
from storage.session import Session


class TenantStore:
    """All tenants; only the fleet's transaction has it."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def create(self, name: str, max_running: int | None = None) -> TenantRow:
        """Make a tenant. UsageError (`tenant_exists`): the name is taken."""
        ...

    async def get(self, name_or_id: str | UUID) -> TenantRow | None:
        """Return the tenant of that name or id, or None."""
        ...

    async def set_max_running(self, tenant_id: UUID, max_running: int | None) -> None:
        """Cap how many of the tenant's jobs are rung or running at once; None: no cap."""
        ...

    async def create_key(
        self,
        tenant_id: UUID,
        name: str,
        role: Role,
        scopes: Sequence[str] = (),
        expires_at: datetime | None = None,
    ) -> NewApiKey:
        """Make a key. Its secret is in the answer and nowhere else."""
        ...

    async def revoke_key(self, tenant_id: UUID, key_id: UUID) -> bool:
        """End a key at once. False: the tenant has no such key that is still good."""
        ...

    async def keys(self, tenant_id: UUID) -> list[ApiKeyRow]:
        """Return the tenant's keys, newest first."""
        ...

    async def authenticate(self, secret: str) -> ApiKeyRow | None:
        """Return the key with this secret if it is good now, else None."""
        ...

    async def ensure_local(self, known_secret: str | None = None) -> tuple[TenantRow, str]:
        """Return the tenant `local`, made if need be, and an admin key of it: the known one while it is good."""
        ...
