"""Schedules, and one row for each of their runs."""

import sqlalchemy as sa
from alembic import op

from migrations.policies import protect

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    create_schedules()
    create_runs()
    # Sealed bytes don't compress.
    op.execute("ALTER TABLE schedules ALTER COLUMN jobs SET STORAGE EXTERNAL")
    # The fleet sees that something is due, and never what.
    protect("schedules", app="SELECT, INSERT, UPDATE, DELETE", fleet="SELECT (tenant_id, id, next_due_at)")
    protect("schedule_runs", app="SELECT, INSERT", fleet="SELECT, DELETE")


def create_schedules() -> None:
    op.create_table(
        "schedules",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("cron", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("jobs", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("webhook_url", sa.Text(), nullable=True),
        sa.Column("overlap", sa.Text(), nullable=False),
        sa.Column("catch_up_minutes", sa.Integer(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("next_due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("overlap IN ('skip', 'queue')", name=op.f("schedules_overlap_check")),
        sa.CheckConstraint("catch_up_minutes >= 1", name=op.f("schedules_catch_up_check")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="schedules_tenant_id_fkey", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="schedules_pkey"),
    )
    op.create_index(
        "schedules_due",
        "schedules",
        ["next_due_at"],
        unique=False,
        postgresql_where=sa.text("next_due_at IS NOT NULL"),
    )


def create_runs() -> None:
    op.create_table(
        "schedule_runs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("schedule_id", sa.Uuid(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("batch_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("state IN ('started', 'skipped', 'missed')", name=op.f("schedule_runs_state_check")),
        sa.CheckConstraint("(state = 'started') = (batch_id IS NOT NULL)", name=op.f("schedule_runs_batch_check")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "schedule_id"],
            ["schedules.tenant_id", "schedules.id"],
            name="schedule_runs_tenant_id_schedule_id_fkey",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "batch_id"], ["batches.tenant_id", "batches.id"], name="schedule_runs_tenant_id_batch_id_fkey"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="schedule_runs_pkey"),
    )
    columns = ["tenant_id", "schedule_id"]
    op.create_index("schedule_runs_one_each", "schedule_runs", [*columns, "due_at"], unique=True)
    op.create_index("schedule_runs_newest", "schedule_runs", [*columns, "created_at", "id"], unique=False)
    op.create_index("schedule_runs_old", "schedule_runs", ["created_at"], unique=False)
