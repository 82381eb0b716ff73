"""A submit may ring for its job itself where nobody waits and there is room: no admission comes between then."""

from alembic import op

from migrations.policies import APP, KEEPER

revision = "0012"
down_revision = "0011"

MAY_RING = """
CREATE FUNCTION may_ring(queue text, tenant uuid, alive float8) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public
AS $$
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('milpa admit')) THEN
        RETURN false;
    END IF;
    RETURN EXISTS (
        SELECT FROM queues, tenants
        WHERE queues.name = queue AND paused_at IS NULL AND tenants.id = tenant
            AND (
                SELECT tenant_id FROM jobs WHERE state = 'queued' AND rung_at IS NULL AND priority = queue
                ORDER BY tenant_id LIMIT 1
            ) IS NULL
            AND (
                SELECT count(*) FROM jobs
                WHERE rung_at IS NOT NULL AND state IN ('queued', 'running') AND priority = queue
            ) < 2 * (
                SELECT coalesce(sum(CASE queue WHEN 'batch' THEN batch_slots ELSE interactive_slots END), 0)
                FROM workers WHERE seen_at > now() - make_interval(secs => alive)
            )
            AND (max_running IS NULL OR max_running > (
                SELECT count(*) FROM jobs
                WHERE rung_at IS NOT NULL AND state IN ('queued', 'running')
                    AND priority IN ('interactive', 'batch') AND tenant_id = tenant
            ))
    );
END
$$
"""
"""Whether the admission would ring for a new job at once. It takes the admission's lock, or says no: until the caller's
transaction ends nobody else looks at the same depth. It tells nothing else of what others have."""


def upgrade() -> None:
    op.execute(f"CREATE POLICY keeper ON jobs FOR SELECT TO {KEEPER} USING (true)")
    op.execute(f"GRANT SELECT (tenant_id, priority, state, rung_at) ON jobs TO {KEEPER}")
    op.execute(f"GRANT SELECT ON queues, workers TO {KEEPER}")
    op.execute(MAY_RING)
    op.execute("REVOKE ALL ON FUNCTION may_ring(text, uuid, float8) FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION may_ring(text, uuid, float8) TO {APP}")
    op.execute(f"GRANT {KEEPER} TO CURRENT_USER")
    op.execute(f"GRANT CREATE ON SCHEMA public TO {KEEPER}")
    op.execute(f"ALTER FUNCTION may_ring(text, uuid, float8) OWNER TO {KEEPER}")
    op.execute(f"REVOKE CREATE ON SCHEMA public FROM {KEEPER}")
    op.execute(f"REVOKE {KEEPER} FROM CURRENT_USER")
