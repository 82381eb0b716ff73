"""Limits of a tenant's own, and an index to count its open jobs by."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("tenants", sa.Column("limits", JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False))
    op.create_index("jobs_open", "jobs", ["tenant_id"], postgresql_where=sa.text("finished_at IS NULL"))
