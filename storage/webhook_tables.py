"""The tables of webhooks: endpoints, their secrets, deliveries, and every attempt at one."""

from sqlalchemy import (
    ARRAY,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from storage.columns import EMPTY_TEXTS, count, metadata, now, tenant, time

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("id", Uuid, nullable=False),
    tenant(),
    Column("url", Text, nullable=False),
    Column("events", ARRAY(Text), nullable=False, server_default=EMPTY_TEXTS),  # empty filters nothing, here and below
    Column("kinds", ARRAY(Text), nullable=False, server_default=EMPTY_TEXTS),
    Column("tags", ARRAY(Text), nullable=False, server_default=EMPTY_TEXTS),
    now("created_at"),
    now("updated_at"),  # since when it has listened as it does
    time("failing_since"),
    time("disabled_at"),
    Column("disabled_reason", Text),
    PrimaryKeyConstraint("tenant_id", "id"),
    CheckConstraint("disabled_reason IN ('asked', 'gone', 'failing')", "reason"),
    CheckConstraint("(disabled_at IS NULL) = (disabled_reason IS NULL)", "disabled"),
)

webhook_secrets = Table(
    "webhook_secrets",
    metadata,
    Column("id", Uuid, nullable=False),
    tenant(),
    Column("endpoint_id", Uuid),  # null: signs for the addresses that jobs and batches name
    Column("secret", LargeBinary, nullable=False),  # sealed: see seal.py
    now("created_at"),
    time("expires_at"),
    PrimaryKeyConstraint("tenant_id", "id"),
    ForeignKeyConstraint(
        ("tenant_id", "endpoint_id"), ("webhook_endpoints.tenant_id", "webhook_endpoints.id"), ondelete="CASCADE"
    ),
    Index("webhook_secrets_endpoint", "tenant_id", "endpoint_id"),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", Uuid, nullable=False),
    tenant(),
    Column("endpoint_id", Uuid),  # null: to the address that the job or the batch named
    Column("url", Text, nullable=False),
    Column("target", Text, nullable=False),  # what may be slow together: the endpoint's id, or an address's origin
    Column("type", Text, nullable=False),
    Column("event_at", DateTime(timezone=True), nullable=False),
    Column("job_id", Uuid),
    Column("batch_id", Uuid),
    Column("data", JSONB),  # of an event that tells of neither job nor batch
    Column("state", Text, nullable=False, server_default=text("'pending'")),
    count("tries"),  # numbers the attempts; whoever holds an older number has lost the delivery
    count("failures"),  # since it was last asked for: the place in the retry schedule
    now("next_at"),
    time("lease_until"),
    now("created_at"),
    time("ended_at"),
    PrimaryKeyConstraint("tenant_id", "id"),
    ForeignKeyConstraint(
        ("tenant_id", "endpoint_id"), ("webhook_endpoints.tenant_id", "webhook_endpoints.id"), ondelete="CASCADE"
    ),
    ForeignKeyConstraint(("tenant_id", "job_id"), ("jobs.tenant_id", "jobs.id"), ondelete="CASCADE"),
    ForeignKeyConstraint(("tenant_id", "batch_id"), ("batches.tenant_id", "batches.id"), ondelete="CASCADE"),
    CheckConstraint("state IN ('pending', 'delivered', 'failed')", "state"),
    CheckConstraint("(state = 'pending') = (ended_at IS NULL)", "ended"),
    Index("webhook_deliveries_pending", "tenant_id", "target", "next_at", postgresql_where=text("state = 'pending'")),
    Index("webhook_deliveries_leased", "tenant_id", "target", postgresql_where=text("lease_until IS NOT NULL")),
    Index("webhook_deliveries_newest", "tenant_id", "created_at", "id"),
    Index("webhook_deliveries_endpoint", "tenant_id", "endpoint_id", "created_at"),
    Index("webhook_deliveries_job", "tenant_id", "job_id"),
    Index("webhook_deliveries_age", "created_at"),
)

webhook_attempts = Table(
    "webhook_attempts",
    metadata,
    Column("tenant_id", Uuid, nullable=False),
    Column("delivery_id", Uuid, nullable=False),
    Column("number", Integer, nullable=False),
    now("at"),
    Column("seconds", Double, nullable=False),
    Column("status", Integer),  # null: no answer
    Column("error", Text),
    Column("response", Text),  # cut
    PrimaryKeyConstraint("tenant_id", "delivery_id", "number"),
    ForeignKeyConstraint(
        ("tenant_id", "delivery_id"), ("webhook_deliveries.tenant_id", "webhook_deliveries.id"), ondelete="CASCADE"
    ),
)
