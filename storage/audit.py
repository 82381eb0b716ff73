"""The audit: who did what to a tenant's data. Rows are added, read, and dropped when their time is over; never changed.

A request that writes is kept in the transaction that it writes in: neither is there without the other.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from storage.audit_rows import Actor, ActorKind, AuditFilter, AuditRow, NewAudit, Trail
from storage.session import Session, read, to_json

_KEEP = text("""
INSERT INTO audit_log (tenant_id, kind, subject, role, action, targets, address, request_id, status)
SELECT CAST(:tenant_id AS uuid), :kind, :subject, CAST(:role AS text), :action, CAST(:targets AS text[]),
    CAST(:address AS text), CAST(:request_id AS text), CAST(:status AS int)
WHERE :always OR pg_current_xact_id_if_assigned() IS NOT NULL
""")

_KEEP_ALL = text("SELECT keep_audit(CAST(:rows AS jsonb))")

_KEEP_OPERATOR = text("""
INSERT INTO audit_log (tenant_id, kind, subject, action, targets)
SELECT id, 'system', 'operator', :action, CAST(:targets AS text[]) FROM tenants
WHERE CAST(:tenant AS uuid) IS NULL OR id = :tenant
""")

_LIST = text("""
SELECT * FROM audit_log
WHERE (CAST(:subject AS text) IS NULL OR subject = :subject)
    AND (CAST(:action AS text) IS NULL OR action = :action)
    AND (CAST(:target AS text) IS NULL OR :target = ANY (targets))
    AND (CAST(:since AS timestamptz) IS NULL OR at >= :since)
    AND (CAST(:until AS timestamptz) IS NULL OR at < :until)
    AND (CAST(:before AS timestamptz) IS NULL OR (at, id) < (:before, CAST(:before_id AS uuid)))
ORDER BY at DESC, id DESC LIMIT :limit
""")

_PRUNE = text("SELECT prune_audit() AS rows")


class AuditLog:
    """One tenant's audit."""

    def __init__(self, session: Session, tenant: UUID) -> None:
        self._session = session
        self._tenant = tenant

    async def list(
        self, where: AuditFilter, limit: int = 50, before: tuple[datetime, UUID] | None = None
    ) -> Sequence[AuditRow]:
        """Return rows, newest first; before: `(at, id)` of the last one seen."""
        at, row_id = before or (None, None)
        rows = await self._session.all(
            _LIST,
            subject=where.subject,
            action=where.action,
            target=where.target,
            since=where.since,
            until=where.until,
            before=at,
            before_id=row_id,
            limit=limit,
        )
        return [read(row, AuditRow) for row in rows]

    async def keep_if_written(self, trail: Trail) -> bool:
        """Keep the request if this transaction has written anything; whether it has."""
        return await self._keep(trail.deed(trail.status), always=False)

    async def system(self, part: str, action: str, targets: Sequence[str]) -> None:
        """Keep what a part of the house does to the tenant's data in this transaction."""
        actor = Actor(tenant_id=self._tenant, kind=ActorKind.SYSTEM, subject=part)
        await self._keep(NewAudit(actor=actor, action=action, targets=targets), always=True)

    async def _keep(self, deed: NewAudit, *, always: bool) -> bool:
        columns = {name: value for name, value in deed.columns().items() if name != "age"}
        return await self._session.run(_KEEP, **columns, always=always) > 0


class FleetAudit:
    """The audits of all tenants: added to and pruned, never read."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def keep(self, deeds: Sequence[NewAudit]) -> None:
        """Keep deeds of any tenants, the last hour's; those of a tenant that was erased meanwhile are dropped."""
        await self._session.first(_KEEP_ALL, rows=to_json([deed.columns() for deed in deeds]))

    async def operator(self, action: str, targets: Sequence[str], tenant: UUID | None = None) -> None:
        """Keep what an operator does in this transaction to a tenant, or to all."""
        await self._session.run(_KEEP_OPERATOR, action=action, targets=list(targets), tenant=tenant)

    async def prune(self) -> int:
        """Drop a bite of the rows whose time is over; returns how many. Call again until nothing is left.

        How long that is, `storage.migrate` has told the database: who prunes has no say in it.
        """
        return int((await self._session.one(_PRUNE))["rows"])
