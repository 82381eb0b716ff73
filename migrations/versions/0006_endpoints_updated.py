"""When an endpoint last changed what it listens to: tells the ledger of which ends it had to be told."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    updated_at = sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False)
    op.add_column("webhook_endpoints", updated_at)
