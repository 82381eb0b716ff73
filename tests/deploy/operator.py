"""What the audit of a tenant says of its operator."""

from collections.abc import Sequence
from uuid import UUID

from storage.audit_rows import ActorKind, AuditFilter
from storage.transaction import Database


async def operators_deeds(database: Database, tenant: UUID) -> Sequence[tuple[str, list[str]]]:
    """Return what was done and to what, newest first."""
    async with database.transaction(tenant) as transaction:
        rows = await transaction.audit.list(AuditFilter(subject="operator"))
    assert {row.kind for row in rows} <= {ActorKind.SYSTEM}
    return [(row.action, row.targets) for row in rows]
