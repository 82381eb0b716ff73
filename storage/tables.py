"""The tables of the job core: what Alembic compares the database with. PostgreSQL is the truth about every job."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
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

from storage import audit_tables, privacy_tables, webhook_tables
from storage.columns import EMPTY_LIST, EMPTY_OBJECT, EMPTY_TEXTS, ZERO, count, metadata, now, of_job, tenant, time

__all__ = ["audit_tables", "metadata", "privacy_tables", "webhook_tables"]  # imported so that the metadata is whole

_WAITING = text("state = 'queued' AND rung_at IS NULL")
_OUTSTANDING = text("rung_at IS NOT NULL AND state IN ('queued', 'running')")

tenants = Table(
    "tenants",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("max_running", Integer),  # jobs rung or running at once; null: no cap
    Column("limits", JSONB, nullable=False, server_default=EMPTY_OBJECT),  # settings that differ from those of all
    now("created_at"),
    CheckConstraint("max_running >= 0", "max_running"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Uuid, primary_key=True),
    tenant(),
    Column("name", Text, nullable=False),
    Column("prefix", Text, nullable=False, unique=True),
    Column("key_hash", LargeBinary, nullable=False),
    Column("role", Text, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False, server_default=EMPTY_TEXTS),
    now("created_at"),
    time("expires_at"),
    time("revoked_at"),
    time("last_used_at"),
    CheckConstraint("role IN ('viewer', 'planner', 'manager', 'admin', 'teacher', 'student')", "role"),
    Index("api_keys_tenant", "tenant_id"),
)

batches = Table(
    "batches",
    metadata,
    Column("id", Uuid, nullable=False),
    tenant(),
    Column("name", Text),
    Column("webhook_url", Text),
    Column("size", Integer, nullable=False),
    count("ended"),  # how many of its jobs have ended; the one that makes it `size` closes the batch
    now("created_at"),
    time("finished_at"),
    PrimaryKeyConstraint("tenant_id", "id"),
    Index("batches_newest", "tenant_id", "created_at", "id"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Uuid, nullable=False),
    tenant(),
    Column("kind", Text, nullable=False),
    Column("kind_version", Integer, nullable=False),
    Column("name", Text),
    Column("tags", ARRAY(Text), nullable=False, server_default=EMPTY_TEXTS),
    Column("priority", Text, nullable=False),
    Column("options", JSONB, nullable=False, server_default=EMPTY_OBJECT),
    Column("files", ARRAY(Text), nullable=False, server_default=EMPTY_TEXTS),  # formats asked for at submit
    Column("webhook_url", Text),
    Column("parent_id", Uuid),
    Column("batch_id", Uuid),
    Column("reused_from", Uuid),
    Column("input_hash", LargeBinary, nullable=False),
    # The queue
    Column("state", Text, nullable=False),
    Column("attempt", Integer, nullable=False, server_default=ZERO),
    Column("dispatch_no", Integer, nullable=False, server_default=text("1")),
    count("error_count"),
    count("crash_count"),
    count("last_seq"),
    now("run_at"),
    time("rung_at"),
    time("lease_until"),
    Column("worker_id", Uuid),
    time("stop_requested_at"),
    time("cancel_requested_at"),
    # What came out
    Column("outcome", Text),
    Column("limit_reached", Text),
    Column("objective", Double),
    Column("verified", Boolean),
    Column("warnings", JSONB, nullable=False, server_default=EMPTY_LIST),
    Column("solve_seconds", Double),
    Column("error", JSONB),
    Column("progress", JSONB),
    time("progress_logged_at"),
    now("created_at"),
    time("started_at"),
    time("finished_at"),
    time("pruned_at"),
    PrimaryKeyConstraint("tenant_id", "id"),
    ForeignKeyConstraint(("tenant_id", "batch_id"), ("batches.tenant_id", "batches.id")),
    CheckConstraint("priority IN ('interactive', 'batch')", "priority"),
    CheckConstraint("state IN ('scheduled', 'queued', 'running', 'succeeded', 'failed', 'cancelled')", "state"),
    CheckConstraint("(state IN ('succeeded', 'failed', 'cancelled')) = (finished_at IS NOT NULL)", "finished"),
    CheckConstraint("(state = 'running') = (lease_until IS NOT NULL)", "lease"),
    Index("jobs_newest", "tenant_id", "created_at", "id"),
    Index("jobs_waiting", "priority", "tenant_id", "run_at", "id", postgresql_where=_WAITING),
    Index("jobs_outstanding", "priority", "tenant_id", postgresql_where=_OUTSTANDING),
    Index("jobs_scheduled", "run_at", postgresql_where=text("state = 'scheduled'")),
    Index("jobs_open", "tenant_id", postgresql_where=text("finished_at IS NULL")),
    Index("jobs_batch", "tenant_id", "batch_id", postgresql_where=text("batch_id IS NOT NULL")),
    Index(
        "jobs_reusable",
        "tenant_id",
        "input_hash",
        postgresql_where=text("state = 'succeeded' AND outcome IN ('optimal', 'infeasible') AND pruned_at IS NULL"),
    ),
    Index("jobs_unpruned", "finished_at", postgresql_where=text("finished_at IS NOT NULL AND pruned_at IS NULL")),
    postgresql_with={"fillfactor": 80},  # room for heartbeats to stay on their page
)

payloads = Table(
    "payloads",
    metadata,
    *of_job(),
    Column("name", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),  # compressed and sealed: see seal.py
    PrimaryKeyConstraint("job_id", "name"),
    CheckConstraint("name IN ('input', 'question', 'result', 'report', 'log')", "name"),
)

job_events = Table(
    "job_events",
    metadata,
    *of_job(),
    Column("seq", Integer, nullable=False),
    Column("type", Text, nullable=False),
    Column("data", JSONB, nullable=False, server_default=EMPTY_OBJECT),
    now("at"),
    # The writing transaction: lets a reader of all jobs know which rows can still appear before its cursor.
    Column("written_by", BigInteger, nullable=False, server_default=text("pg_current_xact_id()::text::bigint")),
    PrimaryKeyConstraint("job_id", "seq"),
    Index("job_events_stream", "tenant_id", "written_by", "job_id", "seq"),
    # One closing event per job, whatever the code believes. What must follow from a job's end in the same transaction
    # (webhook deliveries) hangs on the insert of this row: every way to end a job makes exactly one.
    Index(
        "job_events_one_end",
        "job_id",
        unique=True,
        postgresql_where=text("type IN ('succeeded', 'failed', 'cancelled')"),
    ),
)

files = Table(
    "files",
    metadata,
    *of_job(),
    Column("name", Text, nullable=False),
    Column("format", Text, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("object_key", Text, nullable=False),
    now("created_at"),
    PrimaryKeyConstraint("job_id", "name"),
    Index("files_object", "object_key"),
)

file_requests = Table(
    "file_requests",
    metadata,
    *of_job(),
    Column("formats", ARRAY(Text), nullable=False),
    Column("dispatch_no", Integer, nullable=False, server_default=text("1")),
    count("error_count"),
    time("rung_at"),
    time("lease_until"),
    now("requested_at"),
    PrimaryKeyConstraint("job_id"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    tenant(),
    Column("key", Text, nullable=False),
    Column("body_hash", LargeBinary, nullable=False),
    Column("job_id", Uuid),
    Column("batch_id", Uuid),
    Column("schedule_id", Uuid),
    time("expires_at", required=True),
    PrimaryKeyConstraint("tenant_id", "key"),
    # Deferred: the key is taken before the job is made, so that of two with one key the second waits for the first.
    ForeignKeyConstraint(
        ("tenant_id", "job_id"),
        ("jobs.tenant_id", "jobs.id"),
        ondelete="CASCADE",
        deferrable=True,
        initially="DEFERRED",
    ),
    ForeignKeyConstraint(
        ("tenant_id", "batch_id"),
        ("batches.tenant_id", "batches.id"),
        ondelete="CASCADE",
        deferrable=True,
        initially="DEFERRED",
    ),
    ForeignKeyConstraint(
        ("tenant_id", "schedule_id"),
        ("schedules.tenant_id", "schedules.id"),
        ondelete="CASCADE",
        deferrable=True,
        initially="DEFERRED",
    ),
    Index("idempotency_keys_expiry", "expires_at"),
    Index("idempotency_keys_job", "tenant_id", "job_id"),
)

workers = Table(
    "workers",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("interactive_slots", Integer, nullable=False),
    Column("batch_slots", Integer, nullable=False),
    now("started_at"),
    now("seen_at"),
)

queues = Table(
    "queues",
    metadata,
    Column("name", Text, primary_key=True),
    time("paused_at"),
)

schedules = Table(
    "schedules",
    metadata,
    Column("id", Uuid, nullable=False),
    tenant(),
    Column("name", Text, nullable=False),
    Column("cron", Text, nullable=False),
    Column("timezone", Text, nullable=False),
    Column("jobs", LargeBinary, nullable=False),  # what to submit, sealed as payloads are
    Column("size", Integer, nullable=False),  # jobs of one run
    Column("webhook_url", Text),
    Column("overlap", Text, nullable=False),
    Column("catch_up_minutes", Integer, nullable=False),
    Column("enabled", Boolean, nullable=False),
    time("next_due_at"),  # null: never, or not enabled
    now("created_at"),
    now("updated_at"),
    PrimaryKeyConstraint("tenant_id", "id"),
    CheckConstraint("overlap IN ('skip', 'queue')", "overlap"),
    CheckConstraint("catch_up_minutes >= 1", "catch_up"),
    Index("schedules_due", "next_due_at", postgresql_where=text("next_due_at IS NOT NULL")),
)

schedule_runs = Table(
    "schedule_runs",
    metadata,
    Column("id", Uuid, nullable=False),
    Column("tenant_id", Uuid, nullable=False),
    Column("schedule_id", Uuid, nullable=False),
    time("due_at"),  # null: asked for by hand
    Column("state", Text, nullable=False),
    Column("batch_id", Uuid),
    now("created_at"),
    PrimaryKeyConstraint("tenant_id", "id"),
    ForeignKeyConstraint(("tenant_id", "schedule_id"), ("schedules.tenant_id", "schedules.id"), ondelete="CASCADE"),
    ForeignKeyConstraint(("tenant_id", "batch_id"), ("batches.tenant_id", "batches.id")),
    CheckConstraint("state IN ('started', 'skipped', 'missed')", "state"),
    CheckConstraint("(state = 'started') = (batch_id IS NOT NULL)", "batch"),
    # One run per due time, whatever the code believes.
    Index("schedule_runs_one_each", "tenant_id", "schedule_id", "due_at", unique=True),
    Index("schedule_runs_newest", "tenant_id", "schedule_id", "created_at", "id"),
    Index("schedule_runs_old", "created_at"),
)
