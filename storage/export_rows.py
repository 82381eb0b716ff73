"""Exports as the stores take and give them. Times are UTC, from the database's clock."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec

from storage.rows import Subject


class ExportState(StrEnum):
    """Where an export stands; `expired`: its days are over, or someone in it was erased."""

    PENDING = "pending"
    RUNNING = "running"
    READY = "ready"
    FAILED = "failed"
    EXPIRED = "expired"


class ExportRow(msgspec.Struct, frozen=True, kw_only=True):
    """An export as stored. subject_kind: of the person it is of; None: it is of everything."""

    id: UUID
    state: ExportState
    subject_kind: str | None
    requested_by: str
    attempt: int
    object_key: str | None
    size: int | None
    sha256: str | None
    reason: str | None
    created_at: datetime
    finished_at: datetime | None
    expires_at: datetime | None


class ExportRef(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt at an export: whoever holds a later one has taken it over."""

    tenant_id: UUID
    export_id: UUID
    attempt: int


class ExportTask(msgspec.Struct, frozen=True, kw_only=True):
    """What to export: what was there at a time, of everyone or of one person."""

    until: datetime
    subject: Subject | None


class NewExportFile(msgspec.Struct, frozen=True, kw_only=True):
    """A zip already put under `object_key`. size: bytes; sha256: hex digest."""

    object_key: str
    size: int
    sha256: str
