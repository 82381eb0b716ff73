"""The audit log: added to by everyone, changed by nobody, and shortened by functions of a role that nobody is."""

import sqlalchemy as sa
from alembic import op

from migrations.policies import FLEET, KEEPER, protect

revision = "0007"
down_revision = "0006"

MAKE_KEEPER = f"""
DO $$ BEGIN
    CREATE ROLE {KEEPER} NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$
"""
"""Nobody's login, and nobody becomes it: it owns the functions that may drop rows of the audit, which even the owner of
the table may not by a plain statement."""

GUARDS = (
    f"""
    CREATE FUNCTION refuse_rewriting() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'DELETE' AND current_user = '{KEEPER}' THEN
            RETURN OLD;
        END IF;
        RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'insufficient_privilege';
    END $$
    """,
    """
    CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE ON audit_log FOR EACH ROW
    EXECUTE FUNCTION refuse_rewriting()
    """,
    """
    CREATE TRIGGER audit_log_no_truncate BEFORE TRUNCATE ON audit_log FOR EACH STATEMENT
    EXECUTE FUNCTION refuse_rewriting()
    """,
    # Less than a day is nobody's retention: whoever may call this can't wipe what was just written.
    """
    CREATE FUNCTION prune_audit(age interval) RETURNS bigint LANGUAGE sql SECURITY DEFINER
    SET search_path = pg_catalog, public
    BEGIN ATOMIC
        WITH old AS (
            SELECT tenant_id, id FROM audit_log WHERE at < now() - greatest(age, interval '1 day') LIMIT 5000
        ), gone AS (
            DELETE FROM audit_log USING old
            WHERE audit_log.tenant_id = old.tenant_id AND audit_log.id = old.id RETURNING 1
        )
        SELECT count(*) FROM gone;
    END
    """,
    "REVOKE ALL ON FUNCTION prune_audit(interval) FROM PUBLIC",
    f"GRANT EXECUTE ON FUNCTION prune_audit(interval) TO {FLEET}",
)


def upgrade() -> None:
    op.create_table(
        "audit_log",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("targets", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'::text[]"), nullable=False),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.CheckConstraint("kind IN ('api_key', 'jwt', 'link', 'system')", name=op.f("audit_log_kind_check")),
        sa.PrimaryKeyConstraint("tenant_id", "at", "id", name="audit_log_pkey"),
    )
    op.create_index("audit_log_age", "audit_log", ["at"], postgresql_using="brin")
    protect("audit_log", app="SELECT, INSERT", fleet="INSERT")
    op.execute(MAKE_KEEPER)
    op.execute(f"GRANT USAGE ON SCHEMA public TO {KEEPER}")
    op.execute(f"CREATE POLICY keeper ON audit_log TO {KEEPER} USING (true)")
    op.execute(f"GRANT SELECT, DELETE ON audit_log TO {KEEPER}")
    for statement in GUARDS:
        op.execute(statement)
    hand_over("prune_audit(interval)")


def hand_over(function: str) -> None:
    """Make a function the keeper's own. Whoever migrates need not be a superuser for it."""
    op.execute(f"GRANT {KEEPER} TO CURRENT_USER")
    op.execute(f"GRANT CREATE ON SCHEMA public TO {KEEPER}")
    op.execute(f"ALTER FUNCTION {function} OWNER TO {KEEPER}")
    op.execute(f"REVOKE CREATE ON SCHEMA public FROM {KEEPER}")
    op.execute(f"REVOKE {KEEPER} FROM CURRENT_USER")
