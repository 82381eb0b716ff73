"""The tables of the audit: its rows, and how long they are kept."""

from sqlalchemy import (
    ARRAY,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
    text,
)

from storage.columns import EMPTY_TEXTS, metadata, now

audit_log = Table(
    "audit_log",
    metadata,
    Column("tenant_id", Uuid, nullable=False),  # no foreign key: what goes must go by the function made for it
    Column("id", Uuid, nullable=False, server_default=text("uuidv7()")),
    now("at"),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("role", Text),
    Column("action", Text, nullable=False),
    Column("targets", ARRAY(Text), nullable=False, server_default=EMPTY_TEXTS),
    Column("address", Text),
    Column("request_id", Text),
    Column("status", Integer),  # null: no request was answered
    PrimaryKeyConstraint("tenant_id", "at", "id"),
    CheckConstraint("kind IN ('api_key', 'jwt', 'link', 'system')", "kind"),
    Index("audit_log_age", "at", postgresql_using="brin"),
)

audit_retention = Table(
    "audit_retention",
    metadata,
    Column("one", Boolean, primary_key=True, server_default=text("true")),  # there is one row
    Column("days", Double, nullable=False),
    CheckConstraint("one", "one"),
    CheckConstraint("days >= 1", "days"),
)
"""Written by the owner alone, when it migrates: else whoever prunes could say how much."""
