"""A job made by a question about another one keeps that question beside its input."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    name = op.f("payloads_name_check")
    op.drop_constraint(name, "payloads")
    op.create_check_constraint(name, "payloads", "name IN ('input', 'question', 'result', 'report', 'log')")
