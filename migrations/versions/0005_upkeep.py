"""Logs of pruned jobs end with their files; a schedule is made once for one idempotency key."""

import sqlalchemy as sa
from alembic import op

from migrations.policies import FLEET

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute(f"GRANT DELETE ON job_events TO {FLEET}")
    # The log is append-only but for this: of jobs that have ended, what comes before the closing event.
    op.execute(f"""
        CREATE POLICY ended ON job_events AS RESTRICTIVE FOR DELETE TO {FLEET} USING (
            type NOT IN ('succeeded', 'failed', 'cancelled') AND EXISTS (
                SELECT FROM jobs WHERE jobs.tenant_id = job_events.tenant_id AND id = job_id AND finished_at IS NOT NULL
            )
        )
    """)
    op.execute("""
        DELETE FROM job_events USING jobs
        WHERE jobs.tenant_id = job_events.tenant_id AND jobs.id = job_id AND pruned_at IS NOT NULL
            AND type NOT IN ('succeeded', 'failed', 'cancelled')
    """)
    op.add_column("idempotency_keys", sa.Column("schedule_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(
        "idempotency_keys_tenant_id_schedule_id_fkey",
        "idempotency_keys",
        "schedules",
        ["tenant_id", "schedule_id"],
        ["tenant_id", "id"],
        ondelete="CASCADE",
        deferrable=True,
        initially="DEFERRED",
    )
