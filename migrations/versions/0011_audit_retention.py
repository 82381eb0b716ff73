"""Nobody who only has the application's login says how old the audit becomes, nor when a row of it was written."""

import sqlalchemy as sa
from alembic import op

from migrations.policies import APP, FLEET, KEEPER

revision = "0011"
down_revision = "0010"

PRUNE = """
CREATE FUNCTION prune_audit() RETURNS bigint LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, public
BEGIN ATOMIC
    WITH old AS (
        SELECT tenant_id, id FROM audit_log
        WHERE at < now() - (SELECT make_interval(secs => 86400 * days) FROM audit_retention) LIMIT 5000
    ), gone AS (
        DELETE FROM audit_log USING old
        WHERE audit_log.tenant_id = old.tenant_id AND audit_log.id = old.id RETURNING 1
    )
    SELECT count(*) FROM gone;
END
"""
"""Where no retention is set, nothing is old."""

KEEP = """
CREATE FUNCTION keep_audit(deeds jsonb) RETURNS void LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, public
BEGIN ATOMIC
    INSERT INTO audit_log (tenant_id, at, kind, subject, role, action, targets, address, request_id, status)
    SELECT tenant_id, now() - make_interval(secs => least(greatest(age, 0), 3600)), kind, subject, role, action,
        targets, address, request_id, status
    FROM jsonb_to_recordset(deeds) AS deed (tenant_id uuid, age float, kind text, subject text, role text,
        action text, targets text[], address text, request_id text, status int)
    WHERE EXISTS (SELECT FROM tenants WHERE id = tenant_id);
END
"""
"""What waited for a moment is dated when it was done, an hour ago at most."""

WRITTEN = "tenant_id, kind, subject, role, action, targets, address, request_id, status"


def upgrade() -> None:
    op.create_table(
        "audit_retention",
        sa.Column("one", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("days", sa.Double(), nullable=False),
        sa.CheckConstraint("one", name=op.f("audit_retention_one_check")),
        sa.CheckConstraint("days >= 1", name=op.f("audit_retention_days_check")),
        sa.PrimaryKeyConstraint("one", name="audit_retention_pkey"),
    )
    op.execute(f"GRANT SELECT ON audit_retention TO {KEEPER}")
    op.execute(f"GRANT INSERT ON audit_log TO {KEEPER}")
    op.execute(f"GRANT {KEEPER} TO CURRENT_USER")
    op.execute(f"GRANT CREATE ON SCHEMA public TO {KEEPER}")
    op.execute("DROP FUNCTION prune_audit(interval)")
    for definition, function in ((PRUNE, "prune_audit()"), (KEEP, "keep_audit(jsonb)")):
        op.execute(definition)
        op.execute(f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {function} TO {FLEET}")
        op.execute(f"ALTER FUNCTION {function} OWNER TO {KEEPER}")
    op.execute(f"REVOKE CREATE ON SCHEMA public FROM {KEEPER}")
    # An owner that is no superuser lost this right in 0010, when the function became the keeper's.
    op.execute("GRANT EXECUTE ON FUNCTION erase_tenant(uuid) TO CURRENT_USER")
    op.execute(f"REVOKE {KEEPER} FROM CURRENT_USER")
    for role in (APP, FLEET):
        op.execute(f"REVOKE INSERT ON audit_log FROM {role}")
        op.execute(f"GRANT INSERT ({WRITTEN}) ON audit_log TO {role}")
    # An export that is given up forgets the person it was of.
    op.execute(f"GRANT UPDATE (subject) ON exports TO {FLEET}")
