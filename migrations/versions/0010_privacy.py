"""Persons in jobs, exports, and the two things that only the keeper does: redact events, erase a tenant."""

import sqlalchemy as sa
from alembic import op

from migrations.policies import APP, KEEPER, TENANT, protect

revision = "0010"
down_revision = "0009"

REDACT = """
CREATE FUNCTION redact_events(job uuid) RETURNS void LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, public
BEGIN ATOMIC
    UPDATE job_events SET data = data - 'error' - 'name' WHERE job_id = job AND data ?| ARRAY['error', 'name'];
END
"""
ERASE = """
CREATE FUNCTION erase_tenant(erased uuid) RETURNS void LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, public
BEGIN ATOMIC
    DELETE FROM audit_log WHERE tenant_id = erased;
    DELETE FROM tenants WHERE id = erased;
END
"""


def upgrade() -> None:
    create_tables()
    protect("job_subjects", app="SELECT, INSERT, DELETE")
    columns = "tenant_id, id, state, attempt, lease_until, object_key, created_at, finished_at, expires_at"
    changed = "state, attempt, lease_until, object_key, reason, finished_at"
    protect("exports", app="SELECT, INSERT, UPDATE", fleet=f"SELECT ({columns}), UPDATE ({changed}), DELETE")
    op.execute(f"GRANT UPDATE (name) ON batches TO {APP}")
    op.execute(f"GRANT DELETE ON payloads TO {APP}")
    op.execute(f"CREATE POLICY keeper ON job_events TO {KEEPER} USING (tenant_id = {TENANT})")
    op.execute(f"GRANT SELECT, UPDATE ON job_events TO {KEEPER}")
    op.execute(f"CREATE POLICY keeper ON tenants TO {KEEPER} USING (true)")
    op.execute(f"GRANT SELECT, DELETE ON tenants TO {KEEPER}")
    make_keepers(REDACT, "redact_events(uuid)", APP)
    # Not for the application: a tenant is erased by whoever owns the database.
    make_keepers(ERASE, "erase_tenant(uuid)", "CURRENT_USER")


def make_keepers(definition: str, function: str, may: str) -> None:
    """Make a function of the keeper's that one role may call. Whoever migrates need not be a superuser for it."""
    op.execute(definition)
    op.execute(f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {function} TO {may}")
    op.execute(f"GRANT {KEEPER} TO CURRENT_USER")
    op.execute(f"GRANT CREATE ON SCHEMA public TO {KEEPER}")
    op.execute(f"ALTER FUNCTION {function} OWNER TO {KEEPER}")
    op.execute(f"REVOKE CREATE ON SCHEMA public FROM {KEEPER}")
    op.execute(f"REVOKE {KEEPER} FROM CURRENT_USER")


def create_tables() -> None:
    op.create_table(
        "job_subjects",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "job_id"],
            ["jobs.tenant_id", "jobs.id"],
            name="job_subjects_tenant_id_job_id_fkey",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("job_id", "kind", "digest", name="job_subjects_pkey"),
    )
    op.create_index("job_subjects_person", "job_subjects", ["tenant_id", "kind", "digest"])
    op.create_table(
        "exports",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'pending'"), nullable=False),
        sa.Column("subject_kind", sa.Text(), nullable=True),
        sa.Column("subject", sa.LargeBinary(), nullable=True),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("object_key", sa.Text(), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('pending', 'running', 'ready', 'failed', 'expired')", name=op.f("exports_state_check")
        ),
        sa.CheckConstraint("(state = 'ready') = (object_key IS NOT NULL)", name=op.f("exports_object_check")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="exports_tenant_id_fkey", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="exports_pkey"),
    )
    op.create_index("exports_newest", "exports", ["tenant_id", "created_at", "id"])
    due, kept = sa.text("state IN ('pending', 'running')"), sa.text("object_key IS NOT NULL")
    op.create_index("exports_due", "exports", ["created_at"], postgresql_where=due)
    op.create_index("exports_object", "exports", ["object_key"], postgresql_where=kept)
