"""The tables of the job core: what Alembic compares the database with. PostgreSQL is the truth about every job."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "uq": "%(table_name)s_%(column_0_name)s_key",
    }
)

_NOW = text("now()")
_EMPTY_TEXTS = text("'{}'::text[]")
_EMPTY_LIST = text("'[]'::jsonb")
_EMPTY_OBJECT = text("'{}'::jsonb")
_ZERO = text("0")
_WAITING = text("state = 'queued' AND rung_at IS NULL")
_OUTSTANDING = text("rung_at IS NOT NULL AND state IN ('queued', 'running')")


def _time(name: str, *, required: bool = False) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=not required)


def _now(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=_NOW)


def _count(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default=_ZERO)


def _tenant() -> Column[object]:
    return Column("tenant_id", Uuid, ForeignKey("tenants.id", ondelete="CASCADE"), nullable=False)


def _of_job() -> tuple[Column[object], Column[object], ForeignKeyConstraint]:
    """Tie a row to a job of the same tenant: a foreign key alone would look past row-level security."""
    return (
        Column("tenant_id", Uuid, nullable=False),
        Column("job_id", Uuid, nullable=False),
        ForeignKeyConstraint(("tenant_id", "job_id"), ("jobs.tenant_id", "jobs.id"), ondelete="CASCADE"),
    )


tenants = Table(
    "tenants",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("max_running", Integer),  # jobs rung or running at once; null: no cap
    _now("created_at"),
    CheckConstraint("max_running >= 0", "max_running"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Uuid, primary_key=True),
    _tenant(),
    Column("name", Text, nullable=False),
    Column("prefix", Text, nullable=False, unique=True),
    Column("key_hash", LargeBinary, nullable=False),
    Column("role", Text, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False, server_default=_EMPTY_TEXTS),
    _now("created_at"),
    _time("expires_at"),
    _time("revoked_at"),
    _time("last_used_at"),
    CheckConstraint("role IN ('viewer', 'planner', 'manager', 'admin', 'teacher', 'student')", "role"),
    Index("api_keys_tenant", "tenant_id"),
)

batches = Table(
    "batches",
    metadata,
    Column("id", Uuid, nullable=False),
    _tenant(),
    Column("name", Text),
    Column("webhook_url", Text),
    Column("size", Integer, nullable=False),
    _count("ended"),  # how many of its jobs have ended; the one that makes it `size` closes the batch
    _now("created_at"),
    _time("finished_at"),
    PrimaryKeyConstraint("tenant_id", "id"),
    Index("batches_newest", "tenant_id", "created_at", "id"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Uuid, nullable=False),
    _tenant(),
    Column("kind", Text, nullable=False),
    Column("kind_version", Integer, nullable=False),
    Column("name", Text),
    Column("tags", ARRAY(Text), nullable=False, server_default=_EMPTY_TEXTS),
    Column("priority", Text, nullable=False),
    Column("options", JSONB, nullable=False, server_default=_EMPTY_OBJECT),
    Column("files", ARRAY(Text), nullable=False, server_default=_EMPTY_TEXTS),  # formats asked for at submit
    Column("webhook_url", Text),
    Column("parent_id", Uuid),
    Column("batch_id", Uuid),
    Column("reused_from", Uuid),
    Column("input_hash", LargeBinary, nullable=False),
    # The queue
    Column("state", Text, nullable=False),
    Column("attempt", Integer, nullable=False, server_default=_ZERO),
    Column("dispatch_no", Integer, nullable=False, server_default=text("1")),
    _count("error_count"),
    _count("crash_count"),
    _count("last_seq"),
    _now("run_at"),
    _time("rung_at"),
    _time("lease_until"),
    Column("worker_id", Uuid),
    _time("stop_requested_at"),
    _time("cancel_requested_at"),
    # What came out
    Column("outcome", Text),
    Column("limit_reached", Text),
    Column("objective", Double),
    Column("verified", Boolean),
    Column("warnings", JSONB, nullable=False, server_default=_EMPTY_LIST),
    Column("solve_seconds", Double),
    Column("error", JSONB),
    Column("progress", JSONB),
    _time("progress_logged_at"),
    _now("created_at"),
    _time("started_at"),
    _time("finished_at"),
    _time("pruned_at"),
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
    *_of_job(),
    Column("name", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),  # compressed and sealed: see seal.py
    PrimaryKeyConstraint("job_id", "name"),
    CheckConstraint("name IN ('input', 'question', 'result', 'report', 'log')", "name"),
)

job_events = Table(
    "job_events",
    metadata,
    *_of_job(),
    Column("seq", Integer, nullable=False),
    Column("type", Text, nullable=False),
    Column("data", JSONB, nullable=False, server_default=_EMPTY_OBJECT),
    _now("at"),
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
    *_of_job(),
    Column("name", Text, nullable=False),
    Column("format", Text, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("object_key", Text, nullable=False),
    _now("created_at"),
    PrimaryKeyConstraint("job_id", "name"),
    Index("files_object", "object_key"),
)

file_requests = Table(
    "file_requests",
    metadata,
    *_of_job(),
    Column("formats", ARRAY(Text), nullable=False),
    Column("dispatch_no", Integer, nullable=False, server_default=text("1")),
    _count("error_count"),
    _time("rung_at"),
    _time("lease_until"),
    _now("requested_at"),
    PrimaryKeyConstraint("job_id"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    _tenant(),
    Column("key", Text, nullable=False),
    Column("body_hash", LargeBinary, nullable=False),
    Column("job_id", Uuid),
    Column("batch_id", Uuid),
    _time("expires_at", required=True),
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
    Index("idempotency_keys_expiry", "expires_at"),
    Index("idempotency_keys_job", "tenant_id", "job_id"),
)

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("id", Uuid, nullable=False),
    _tenant(),
    Column("url", Text, nullable=False),
    Column("events", ARRAY(Text), nullable=False, server_default=_EMPTY_TEXTS),  # empty filters nothing, here and below
    Column("kinds", ARRAY(Text), nullable=False, server_default=_EMPTY_TEXTS),
    Column("tags", ARRAY(Text), nullable=False, server_default=_EMPTY_TEXTS),
    _now("created_at"),
    _time("failing_since"),
    _time("disabled_at"),
    Column("disabled_reason", Text),
    PrimaryKeyConstraint("tenant_id", "id"),
    CheckConstraint("disabled_reason IN ('asked', 'gone', 'failing')", "reason"),
    CheckConstraint("(disabled_at IS NULL) = (disabled_reason IS NULL)", "disabled"),
)

webhook_secrets = Table(
    "webhook_secrets",
    metadata,
    Column("id", Uuid, nullable=False),
    _tenant(),
    Column("endpoint_id", Uuid),  # null: signs for the addresses that jobs and batches name
    Column("secret", LargeBinary, nullable=False),  # sealed: see seal.py
    _now("created_at"),
    _time("expires_at"),
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
    _tenant(),
    Column("endpoint_id", Uuid),  # null: to the address that the job or the batch named
    Column("url", Text, nullable=False),
    Column("target", Text, nullable=False),  # what may be slow together: the endpoint's id, or an address's origin
    Column("type", Text, nullable=False),
    Column("event_at", DateTime(timezone=True), nullable=False),
    Column("job_id", Uuid),
    Column("batch_id", Uuid),
    Column("data", JSONB),  # of an event that tells of neither job nor batch
    Column("state", Text, nullable=False, server_default=text("'pending'")),
    _count("tries"),  # numbers the attempts; whoever holds an older number has lost the delivery
    _count("failures"),  # since it was last asked for: the place in the retry schedule
    _now("next_at"),
    _time("lease_until"),
    _now("created_at"),
    _time("ended_at"),
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
    _now("at"),
    Column("seconds", Double, nullable=False),
    Column("status", Integer),  # null: no answer
    Column("error", Text),
    Column("response", Text),  # cut
    PrimaryKeyConstraint("tenant_id", "delivery_id", "number"),
    ForeignKeyConstraint(
        ("tenant_id", "delivery_id"), ("webhook_deliveries.tenant_id", "webhook_deliveries.id"), ondelete="CASCADE"
    ),
)

workers = Table(
    "workers",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("interactive_slots", Integer, nullable=False),
    Column("batch_slots", Integer, nullable=False),
    _now("started_at"),
    _now("seen_at"),
)

queues = Table(
    "queues",
    metadata,
    Column("name", Text, primary_key=True),
    _time("paused_at"),
)

schedules = Table(
    "schedules",
    metadata,
    Column("id", Uuid, nullable=False),
    _tenant(),
    Column("name", Text, nullable=False),
    Column("cron", Text, nullable=False),
    Column("timezone", Text, nullable=False),
    Column("jobs", LargeBinary, nullable=False),  # what to submit, sealed as payloads are
    Column("size", Integer, nullable=False),  # jobs of one run
    Column("webhook_url", Text),
    Column("overlap", Text, nullable=False),
    Column("catch_up_minutes", Integer, nullable=False),
    Column("enabled", Boolean, nullable=False),
    _time("next_due_at"),  # null: never, or not enabled
    _now("created_at"),
    _now("updated_at"),
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
    _time("due_at"),  # null: asked for by hand
    Column("state", Text, nullable=False),
    Column("batch_id", Uuid),
    _now("created_at"),
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
