"""Row-level security as every tenant table has it. A revision that adds a table calls this once for it."""

from alembic import op

APP = "milpa_app"
FLEET = "milpa_fleet"
KEEPER = "milpa_keeper"
"""Owns the functions that may do what is granted to no login: see 0007."""
TENANT = "NULLIF(current_setting('milpa.tenant', true), '')::uuid"
"""The tenant of the transaction; null, which equals nothing, where none is set."""


def protect(table: str, *, column: str = "tenant_id", app: str, fleet: str | None = None) -> None:
    """Show each tenant its own rows of `table` only, the table's owner included, and grant what the roles need.

    app: privileges of API and workers, such as "SELECT, INSERT". fleet: privileges of the fleet's role over the rows of
    all tenants; None: it has no business there.
    """
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY tenant ON {table} TO {APP} USING ({column} = {TENANT}) WITH CHECK ({column} = {TENANT})")
    op.execute(f"GRANT {app} ON {table} TO {APP}")
    if fleet is not None:
        op.execute(f"CREATE POLICY fleet ON {table} TO {FLEET} USING (true) WITH CHECK (true)")
        op.execute(f"GRANT {fleet} ON {table} TO {FLEET}")
