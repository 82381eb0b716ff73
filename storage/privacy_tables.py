"""The tables of persons in jobs, and of exports."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
    text,
)

from storage.columns import count, metadata, now, of_job, tenant, time

job_subjects = Table(
    "job_subjects",
    metadata,
    *of_job(),
    Column("kind", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),  # a keyed hash of the person's id
    PrimaryKeyConstraint("job_id", "kind", "digest"),
    Index("job_subjects_person", "tenant_id", "kind", "digest"),
)

exports = Table(
    "exports",
    metadata,
    Column("id", Uuid, nullable=False),
    tenant(),
    Column("state", Text, nullable=False, server_default=text("'pending'")),
    Column("subject_kind", Text),
    Column("subject", LargeBinary),  # sealed, and forgotten with the end; null: everything
    Column("requested_by", Text, nullable=False),
    count("attempt"),
    time("lease_until"),
    Column("object_key", Text),
    Column("size", BigInteger),
    Column("sha256", Text),
    Column("reason", Text),
    now("created_at"),
    time("finished_at"),
    time("expires_at"),
    PrimaryKeyConstraint("tenant_id", "id"),
    CheckConstraint("state IN ('pending', 'running', 'ready', 'failed', 'expired')", "state"),
    CheckConstraint("(state = 'ready') = (object_key IS NOT NULL)", "object"),
    Index("exports_newest", "tenant_id", "created_at", "id"),
    Index("exports_due", "created_at", postgresql_where=text("state IN ('pending', 'running')")),
    Index("exports_object", "object_key", postgresql_where=text("object_key IS NOT NULL")),
)
