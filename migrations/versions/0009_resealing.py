"""Payloads may be sealed anew: when keys rotate, and when a person in them is erased."""

from alembic import op

from migrations.policies import APP

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.execute(f"GRANT UPDATE (data) ON payloads TO {APP}")
