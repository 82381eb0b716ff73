"""Webhooks: endpoints, their secrets, deliveries and attempts; and the closing of batches."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from migrations.policies import APP, FLEET, protect

revision = "0004"
down_revision = "0003"

TELL = """
CREATE FUNCTION tell_of_end() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    job record;
    batch record;
BEGIN
    SELECT kind, tags, webhook_url, batch_id,
        EXISTS (SELECT FROM webhook_endpoints WHERE tenant_id = NEW.tenant_id) AS heard
    INTO job FROM jobs WHERE tenant_id = NEW.tenant_id AND id = NEW.job_id;
    IF job.heard THEN
        INSERT INTO webhook_deliveries (tenant_id, id, endpoint_id, url, target, type, event_at, job_id)
        SELECT NEW.tenant_id, uuidv7(), endpoint.id, endpoint.url, endpoint.id::text, 'job.' || NEW.type, NEW.at,
            NEW.job_id
        FROM webhook_endpoints AS endpoint
        WHERE endpoint.tenant_id = NEW.tenant_id AND endpoint.disabled_at IS NULL
            AND (endpoint.events = '{}' OR 'job.' || NEW.type = ANY (endpoint.events))
            AND (endpoint.kinds = '{}' OR job.kind = ANY (endpoint.kinds))
            AND (endpoint.tags = '{}' OR endpoint.tags && job.tags);
    END IF;
    IF job.webhook_url IS NOT NULL THEN
        INSERT INTO webhook_deliveries (tenant_id, id, url, target, type, event_at, job_id)
        VALUES (NEW.tenant_id, uuidv7(), job.webhook_url, webhook_origin(job.webhook_url), 'job.' || NEW.type, NEW.at,
            NEW.job_id);
    END IF;
    IF job.batch_id IS NULL THEN
        RETURN NULL;
    END IF;
    -- The batch's row is the queue in which jobs that end at once wait for each other: one of them is the last.
    UPDATE batches SET ended = ended + 1, finished_at = CASE WHEN ended + 1 = size THEN NEW.at END
    WHERE tenant_id = NEW.tenant_id AND id = job.batch_id
    RETURNING id, webhook_url, finished_at INTO batch;
    IF batch.finished_at IS NULL THEN
        RETURN NULL;
    END IF;
    INSERT INTO webhook_deliveries (tenant_id, id, endpoint_id, url, target, type, event_at, batch_id)
    SELECT NEW.tenant_id, uuidv7(), endpoint.id, endpoint.url, endpoint.id::text, 'batch.finished', NEW.at, batch.id
    FROM webhook_endpoints AS endpoint
    WHERE endpoint.tenant_id = NEW.tenant_id AND endpoint.disabled_at IS NULL
        AND (endpoint.events = '{}' OR 'batch.finished' = ANY (endpoint.events));
    IF batch.webhook_url IS NOT NULL THEN
        INSERT INTO webhook_deliveries (tenant_id, id, url, target, type, event_at, batch_id)
        VALUES (NEW.tenant_id, uuidv7(), batch.webhook_url, webhook_origin(batch.webhook_url), 'batch.finished', NEW.at,
            batch.id);
    END IF;
    RETURN NULL;
END $$
"""

FUNCTIONS = (
    """
    CREATE FUNCTION webhook_origin(url text) RETURNS text LANGUAGE sql IMMUTABLE
    RETURN coalesce(lower(substring(url from '^[^:]+://[^/?#]+')), url)
    """,
    TELL,
    # Every way to end a job inserts exactly one such row.
    """
    CREATE TRIGGER job_events_tell_of_end AFTER INSERT ON job_events FOR EACH ROW
    WHEN (NEW.type IN ('succeeded', 'failed', 'cancelled'))
    EXECUTE FUNCTION tell_of_end()
    """,
)

COUNT_ENDED = (
    # Row-level security binds the owner too, and here it counts for all tenants.
    "ALTER TABLE batches NO FORCE ROW LEVEL SECURITY",
    "ALTER TABLE jobs NO FORCE ROW LEVEL SECURITY",
    """
    UPDATE batches SET ended = size - unfinished.jobs,
        finished_at = CASE WHEN unfinished.jobs = 0 THEN coalesce(unfinished.newest, now()) END
    FROM (
        SELECT batches.tenant_id, batches.id, count(jobs.id) FILTER (WHERE jobs.finished_at IS NULL) AS jobs,
            max(jobs.finished_at) AS newest
        FROM batches LEFT JOIN jobs ON jobs.tenant_id = batches.tenant_id AND jobs.batch_id = batches.id
        GROUP BY batches.tenant_id, batches.id
    ) AS unfinished
    WHERE batches.tenant_id = unfinished.tenant_id AND batches.id = unfinished.id
    """,
    "ALTER TABLE batches FORCE ROW LEVEL SECURITY",
    "ALTER TABLE jobs FORCE ROW LEVEL SECURITY",
)


def upgrade() -> None:
    op.add_column("batches", sa.Column("ended", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("batches", sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True))
    for statement in COUNT_ENDED:
        op.execute(statement)
    create_tables()
    op.execute(f"GRANT UPDATE (ended, finished_at) ON batches TO {APP}, {FLEET}")
    protect("webhook_endpoints", app="SELECT, INSERT, UPDATE, DELETE", fleet="SELECT")
    protect("webhook_secrets", app="SELECT, INSERT, UPDATE, DELETE")
    protect("webhook_deliveries", app="SELECT, INSERT, UPDATE", fleet="SELECT, INSERT, UPDATE, DELETE")
    protect("webhook_attempts", app="SELECT, INSERT")
    for statement in FUNCTIONS:
        op.execute(statement)


def create_tables() -> None:
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'::text[]"), nullable=False),
        sa.Column("kinds", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'::text[]"), nullable=False),
        sa.Column("tags", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'::text[]"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("disabled_reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "disabled_reason IN ('asked', 'gone', 'failing')", name=op.f("webhook_endpoints_reason_check")
        ),
        sa.CheckConstraint(
            "(disabled_at IS NULL) = (disabled_reason IS NULL)", name=op.f("webhook_endpoints_disabled_check")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name="webhook_endpoints_tenant_id_fkey", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="webhook_endpoints_pkey"),
    )
    op.create_table(
        "webhook_secrets",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("endpoint_id", sa.Uuid(), nullable=True),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name="webhook_secrets_tenant_id_fkey", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "endpoint_id"],
            ["webhook_endpoints.tenant_id", "webhook_endpoints.id"],
            name="webhook_secrets_tenant_id_endpoint_id_fkey",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="webhook_secrets_pkey"),
    )
    op.create_index("webhook_secrets_endpoint", "webhook_secrets", ["tenant_id", "endpoint_id"], unique=False)
    create_deliveries()
    op.create_table(
        "webhook_attempts",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("response", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id", "delivery_id"],
            ["webhook_deliveries.tenant_id", "webhook_deliveries.id"],
            name="webhook_attempts_tenant_id_delivery_id_fkey",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "delivery_id", "number", name="webhook_attempts_pkey"),
    )


def create_deliveries() -> None:
    table = "webhook_deliveries"
    op.create_table(
        table,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("endpoint_id", sa.Uuid(), nullable=True),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("event_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("batch_id", sa.Uuid(), nullable=True),
        sa.Column("data", JSONB(), nullable=True),
        sa.Column("state", sa.Text(), server_default=sa.text("'pending'"), nullable=False),
        sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('pending', 'delivered', 'failed')", name=op.f("webhook_deliveries_state_check")),
        sa.CheckConstraint("(state = 'pending') = (ended_at IS NULL)", name=op.f("webhook_deliveries_ended_check")),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name="webhook_deliveries_tenant_id_fkey", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "endpoint_id"],
            ["webhook_endpoints.tenant_id", "webhook_endpoints.id"],
            name="webhook_deliveries_tenant_id_endpoint_id_fkey",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "job_id"],
            ["jobs.tenant_id", "jobs.id"],
            name="webhook_deliveries_tenant_id_job_id_fkey",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "batch_id"],
            ["batches.tenant_id", "batches.id"],
            name="webhook_deliveries_tenant_id_batch_id_fkey",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="webhook_deliveries_pkey"),
    )
    pending, leased = sa.text("state = 'pending'"), sa.text("lease_until IS NOT NULL")
    op.create_index(f"{table}_pending", table, ["tenant_id", "target", "next_at"], postgresql_where=pending)
    op.create_index(f"{table}_leased", table, ["tenant_id", "target"], postgresql_where=leased)
    op.create_index(f"{table}_newest", table, ["tenant_id", "created_at", "id"])
    op.create_index(f"{table}_endpoint", table, ["tenant_id", "endpoint_id", "created_at"])
    op.create_index(f"{table}_job", table, ["tenant_id", "job_id"])
    op.create_index(f"{table}_age", table, ["created_at"])
