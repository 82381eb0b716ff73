"""Exports: everything of a tenant, or of one person, as a zip made in the background and kept for some days."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import text

from milpa.jobs import new_id
from storage.audit import AuditLog
from storage.export_rows import ExportRef, ExportRow, ExportTask, NewExportFile
from storage.rows import Subject
from storage.session import Session, read

LEASE_SECONDS = 120.0
"""How long a worker may be silent over an export before another starts it anew."""

_CREATE = text("""
INSERT INTO exports (tenant_id, id, subject_kind, subject, requested_by)
VALUES (:tenant, :id, :kind, :subject, :requested_by) RETURNING *
""")
_GET = text("SELECT * FROM exports WHERE id = :export")
_LIST = text("""
SELECT * FROM exports
WHERE CAST(:before AS timestamptz) IS NULL OR (created_at, id) < (:before, CAST(:before_id AS uuid))
ORDER BY created_at DESC, id DESC LIMIT :limit
""")
_OPEN = text("SELECT subject, created_at FROM exports WHERE id = :export AND attempt = :attempt AND state = 'running'")
_RENEW = text("""
UPDATE exports SET lease_until = now() + make_interval(secs => :lease)
WHERE id = :export AND attempt = :attempt AND state = 'running'
""")
_FINISH = text("""
UPDATE exports
SET state = 'ready', object_key = :object_key, size = :size, sha256 = :sha256, subject = NULL, lease_until = NULL,
    finished_at = now(), expires_at = now() + make_interval(secs => :keep)
WHERE id = :export AND attempt = :attempt AND state = 'running'
""")
_RELEASE = text("""
UPDATE exports SET state = 'pending', attempt = attempt - 1, lease_until = NULL
WHERE id = :export AND attempt = :attempt AND state = 'running'
""")
_RECALL = text("""
WITH old AS (SELECT id, object_key FROM exports WHERE state <> 'expired' FOR UPDATE)
UPDATE exports
SET state = CASE state WHEN 'failed' THEN state ELSE 'expired' END, object_key = NULL, subject = NULL,
    lease_until = NULL, finished_at = coalesce(finished_at, now())
FROM old WHERE exports.id = old.id
RETURNING old.object_key
""")

_GIVE_UP = text("""
UPDATE exports SET state = 'failed', reason = 'given_up', subject = NULL, lease_until = NULL, finished_at = now()
WHERE state = 'running' AND lease_until <= now() AND attempt >= :most
""")
_TAKE = text("""
WITH due AS (
    SELECT tenant_id, id FROM exports
    WHERE state = 'pending' OR (state = 'running' AND lease_until <= now())
    ORDER BY created_at LIMIT 1 FOR UPDATE SKIP LOCKED
)
UPDATE exports SET state = 'running', attempt = attempt + 1, lease_until = now() + make_interval(secs => :lease)
FROM due WHERE exports.tenant_id = due.tenant_id AND exports.id = due.id
RETURNING exports.tenant_id, exports.id AS export_id, attempt
""")
_EXPIRE = text("""
WITH old AS (
    SELECT tenant_id, id, object_key FROM exports
    WHERE state = 'ready' AND expires_at <= now() LIMIT 500 FOR UPDATE SKIP LOCKED
), marked AS (
    UPDATE exports SET state = 'expired', object_key = NULL
    FROM old WHERE exports.tenant_id = old.tenant_id AND exports.id = old.id
), audited AS (
    INSERT INTO audit_log (tenant_id, kind, subject, action, targets)
    SELECT tenant_id, 'system', 'retention', 'expire_exports', array_agg(CAST(id AS text)) FROM old GROUP BY tenant_id
)
SELECT object_key FROM old
""")
_PRUNE = text("""
DELETE FROM exports WHERE state IN ('expired', 'failed') AND finished_at < now() - make_interval(secs => :age)
""")

_DAY_SECONDS = 86_400.0


class ExportStore:
    """One tenant's exports. A foreign one is a missing one."""

    def __init__(self, session: Session, tenant: UUID) -> None:
        self._session = session
        self._tenant = tenant

    async def request(self, requested_by: str, subject: Subject | None = None) -> ExportRow:
        """Ask for an export of everything, or of what is known of one person."""
        export_id = new_id()
        sealed = subject and self._session.seal.seal(
            msgspec.msgpack.encode(subject), export_context(self._tenant, export_id)
        )
        row = await self._session.one(
            _CREATE,
            tenant=self._tenant,
            id=export_id,
            kind=subject and subject.kind,
            subject=sealed,
            requested_by=requested_by,
        )
        return read(row, ExportRow)

    async def get(self, export_id: UUID) -> ExportRow | None:
        """Return the export, or None."""
        row = await self._session.first(_GET, export=export_id)
        return None if row is None else read(row, ExportRow)

    async def list(self, limit: int, before: tuple[datetime, UUID] | None = None) -> Sequence[ExportRow]:
        """Return exports, newest first; before: `(created_at, id)` of the last one seen."""
        at, last = before or (None, None)
        rows = await self._session.all(_LIST, limit=limit, before=at, before_id=last)
        return [read(row, ExportRow) for row in rows]

    async def open(self, ref: ExportRef) -> ExportTask | None:
        """Return what the export is of. None: it was recalled or taken over."""
        row = await self._session.first(_OPEN, export=ref.export_id, attempt=ref.attempt)
        if row is None:
            return None
        if row["subject"] is None:
            return ExportTask(until=row["created_at"], subject=None)
        packed = self._session.seal.open(row["subject"], export_context(self._tenant, ref.export_id))
        return ExportTask(until=row["created_at"], subject=msgspec.msgpack.decode(packed, type=Subject))

    async def renew(self, ref: ExportRef) -> bool:
        """Say that the export goes on. False: it was recalled or taken over; stop."""
        return await self._session.run(_RENEW, export=ref.export_id, attempt=ref.attempt, lease=LEASE_SECONDS) > 0

    async def finish(self, ref: ExportRef, file: NewExportFile, keep_days: float) -> bool:
        """Keep the file for so many days. False: the export was recalled or taken over, and nothing was written."""
        done = await self._session.run(
            _FINISH,
            export=ref.export_id,
            attempt=ref.attempt,
            object_key=file.object_key,
            size=file.size,
            sha256=file.sha256,
            keep=keep_days * _DAY_SECONDS,
        )
        if done:
            await AuditLog(self._session, self._tenant).system("exporter", "make_export", [str(ref.export_id)])
        return done > 0

    async def release(self, ref: ExportRef) -> bool:
        """Give the export back, because this worker shuts down; counts nothing. False: it was recalled or taken over.

        The number of the attempt is given back too: whoever calls this does no more under it.
        """
        return await self._session.run(_RELEASE, export=ref.export_id, attempt=ref.attempt) > 0

    async def recall(self) -> Sequence[str]:
        """End all exports, because someone in them was erased; returns the keys of objects to delete afterwards."""
        return [row["object_key"] for row in await self._session.all(_RECALL) if row["object_key"]]


class DueExports:
    """The exports of all tenants: which are due, not what is in them."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def take(self, most_attempts: int) -> ExportRef | None:
        """Take the export that has waited longest. None: there is none. What was begun so often is given up."""
        await self._session.run(_GIVE_UP, most=most_attempts)
        row = await self._session.first(_TAKE, lease=LEASE_SECONDS)
        return None if row is None else read(row, ExportRef)

    async def expire(self) -> Sequence[str]:
        """End those whose days are over; returns the keys of objects to delete after the commit."""
        return [row["object_key"] for row in await self._session.all(_EXPIRE)]

    async def prune(self, retention_days: float) -> int:
        """Forget ended exports that old."""
        return await self._session.run(_PRUNE, age=retention_days * _DAY_SECONDS)


def export_context(tenant_id: UUID, export_id: UUID) -> str:
    """Name the one row in which the person of an export opens."""
    return f"{tenant_id}/export/{export_id}"
