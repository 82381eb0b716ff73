"""The schema as promised: what the migrations make, and what each role may do with it."""

import asyncio
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from msgspec.structs import replace
from sqlalchemy import CheckConstraint, text
from sqlalchemy.ext.asyncio import create_async_engine

from milpa.errors import FatalError, TransientError, UsageError
from milpa.jobs import TRANSITIONS, JobState
from milpa.settings import Secret, Settings
from storage.migrate import migrate, newest_revision
from storage.rows import Ending
from storage.tables import metadata
from storage.transaction import Database
from tests.storage.conftest import create_database, other_database
from tests.storage.steps import claim, finish, submit, succeeded, types

NOT_A_TENANTS = {"alembic_version", "workers", "queues", "audit_retention"}
"""Tables without a tenant's rows: only the owner and the fleet's role may touch them."""
KEEPERS = {
    "prune_audit()": {"milpa_fleet"},
    "keep_audit(deeds jsonb)": {"milpa_fleet"},
    "redact_events(job uuid)": {"milpa_app"},
    "may_ring(queue text, tenant uuid, alive double precision)": {"milpa_app"},
    "erase_tenant(erased uuid)": {"milpa_owner"},
}
"""The functions that run with their owner's rights, and who may call each."""


async def test_migrations_make_the_tables_that_the_code_declares(settings: Settings) -> None:
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(settings.database_owner_url.reveal())
    )
    async with engine.connect() as connection:
        drift = await connection.run_sync(lambda sync: compare_metadata(MigrationContext.configure(sync), metadata))
    await engine.dispose()
    assert drift == []


async def test_constraints_have_the_names_and_the_rules_that_the_code_declares(owner: asyncpg.Connection) -> None:
    declared = {
        str(constraint.name)
        for table in metadata.tables.values()
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint)
    }
    made = await owner.fetch(
        "SELECT conname FROM pg_constraint WHERE contype = 'c' AND connamespace = 'public'::regnamespace"
    )
    assert {row["conname"] for row in made} == declared


async def test_migrating_again_does_nothing(settings: Settings) -> None:
    assert await migrate(settings) is False


async def test_migrating_says_how_long_the_audit_is_kept(settings: Settings, owner: asyncpg.Connection) -> None:
    assert await owner.fetchval("SELECT days FROM audit_retention") == 365
    assert await migrate(replace(settings, audit_retention_days=30.0)) is True
    assert await owner.fetchval("SELECT days FROM audit_retention") == 30
    with pytest.raises(UsageError, match="MILPA_AUDIT_RETENTION_DAYS"):
        await migrate(replace(settings, audit_retention_days=0.5))
    assert await migrate(settings) is True


async def test_two_that_migrate_at_once_make_one_schema(settings: Settings, owner: asyncpg.Connection) -> None:
    await create_database(settings, "raced")
    raced = other_database(settings, "raced")
    assert True in await asyncio.gather(migrate(raced), migrate(raced), migrate(raced))
    connection = await asyncpg.connect(raced.database_owner_url.reveal())
    assert await connection.fetchval("SELECT version_num FROM alembic_version") == newest_revision()
    await connection.close()
    await owner.execute("DROP DATABASE raced")


async def test_migrating_without_an_owner_uses_the_one_address_there_is(settings: Settings) -> None:
    only = Settings(database_url=settings.database_owner_url)
    assert await migrate(only) is False


async def test_migrating_nothing_says_what_is_missing() -> None:
    with pytest.raises(UsageError, match="MILPA_DATABASE_URL"):
        await migrate(Settings())


async def test_migrating_a_database_that_is_away_can_be_tried_again(tmp_path: Path) -> None:
    with pytest.raises(TransientError):
        await migrate(Settings(database_url=Secret(f"postgresql://milpa_owner@/milpa?host={tmp_path}")))


async def test_every_tenant_table_forces_a_policy_on_everyone(owner: asyncpg.Connection) -> None:
    tables = await owner.fetch(
        """
        SELECT relname AS name, relrowsecurity AND relforcerowsecurity AS forced,
            EXISTS (SELECT FROM pg_attribute WHERE attrelid = pg_class.oid AND attname = 'tenant_id') AS has_tenant,
            (SELECT array_agg(polname::text ORDER BY polname) FROM pg_policy
             WHERE polrelid = pg_class.oid AND polpermissive) AS policies  -- a restrictive one opens nothing
        FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace
        """
    )
    assert {table["name"] for table in tables} == {*metadata.tables, "alembic_version"}
    for table in tables:
        if table["name"] in NOT_A_TENANTS:
            assert not table["has_tenant"], table["name"]
            continue
        assert table["forced"], f"{table['name']} does not force row-level security"
        by_name = [name for name in table["policies"] if name != "keeper"]
        assert by_name in (["fleet", "tenant"], ["tenant"]), table["name"]


async def test_each_policy_of_the_application_compares_the_rows_tenant_with_the_transactions(
    owner: asyncpg.Connection,
) -> None:
    """Policies add up: one that lets everything through would open its table, whatever the others say."""
    policies = await owner.fetch(
        "SELECT * FROM pg_policies WHERE schemaname = 'public' AND roles && ARRAY['milpa_app', 'public']::name[]"
    )
    assert {policy["tablename"] for policy in policies} == {*metadata.tables} - NOT_A_TENANTS
    for policy in policies:
        column = "id" if policy["tablename"] == "tenants" else "tenant_id"
        own = f"({column} = (NULLIF(current_setting('milpa.tenant'::text, true), ''::text))::uuid)"
        assert (policy["cmd"], policy["qual"], policy["with_check"]) == ("ALL", own, own), policy


async def test_nothing_runs_with_other_rights_than_its_callers_but_the_keepers_functions(
    owner: asyncpg.Connection,
) -> None:
    """Views and such functions would reach around the policies."""
    views = await owner.fetch(
        "SELECT relname FROM pg_class WHERE relkind IN ('v', 'm') AND relnamespace = 'public'::regnamespace"
    )
    functions = await owner.fetch(
        """
        SELECT proname || '(' || pg_get_function_arguments(oid) || ')' AS name, proowner::regrole::text AS owner,
            proconfig AS settings,
            ARRAY(SELECT grantee::regrole::text FROM aclexplode(proacl) WHERE grantee <> proowner) AS may
        FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace
        """
    )
    assert views == []
    assert {row["name"]: set(row["may"]) for row in functions} == KEEPERS
    for function in functions:
        assert function["owner"] == "milpa_keeper", function
        assert function["settings"] == ["search_path=pg_catalog, public"], function


async def test_the_application_may_not_touch_what_is_no_tenants(owner: asyncpg.Connection) -> None:
    for table in NOT_A_TENANTS:
        for privilege in ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE"):
            assert not await owner.fetchval("SELECT has_table_privilege('milpa_app', $1, $2)", table, privilege)


async def test_the_log_is_append_only_for_every_role(owner: asyncpg.Connection) -> None:
    for role, privileges in (("milpa_app", ("UPDATE", "DELETE", "TRUNCATE")), ("milpa_fleet", ("UPDATE", "TRUNCATE"))):
        for privilege in privileges:
            assert not await owner.fetchval("SELECT has_table_privilege($1, 'job_events', $2)", role, privilege)


async def test_of_an_ended_jobs_log_all_but_the_closing_event_can_be_dropped_and_of_another_nothing(
    database: Database, tenant: UUID
) -> None:
    ended, running = await succeeded(database, tenant), await submit(database, tenant)
    await claim(database, running)
    async with database.fleet() as fleet:
        await fleet.connection.execute(text("DELETE FROM job_events"))
    assert await types(database, ended) == ["succeeded"]
    assert await types(database, running) == ["queued", "started"]


async def test_the_fleet_reads_no_payload(owner: asyncpg.Connection) -> None:
    assert not await owner.fetchval("SELECT has_column_privilege('milpa_fleet', 'payloads', 'data', 'SELECT')")


async def test_no_role_of_ours_can_bypass_row_level_security(owner: asyncpg.Connection) -> None:
    roles = await owner.fetch(
        "SELECT rolname, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb FROM pg_roles"
        " WHERE rolname ~ '^milpa_(app|fleet|keeper)'"
    )
    assert len(roles) == 3
    assert not any(value for role in roles for value in list(role.values())[1:])


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (id int)",
        "CREATE TEMPORARY TABLE mine (id int)",
        "CREATE SCHEMA mine",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ALTER TABLE jobs ADD COLUMN mine int",
        "ALTER TABLE jobs DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE jobs NO FORCE ROW LEVEL SECURITY",
        "ALTER TABLE jobs DISABLE TRIGGER jobs_ended_for_good",
        "DROP POLICY tenant ON jobs",
        "DROP TABLE jobs",
        "TRUNCATE jobs",
        "CREATE ROLE mine",
        "ALTER ROLE milpa_app BYPASSRLS",
        "GRANT milpa_fleet TO milpa_app WITH INHERIT TRUE",
        "SET session_replication_role = replica",
        "SET ROLE milpa_owner",
    ],
)
@pytest.mark.parametrize("role", ["milpa_app", "milpa_fleet"])
async def test_the_application_changes_no_schema_and_no_rights(settings: Settings, statement: str, role: str) -> None:
    connection = await asyncpg.connect(settings.database_url.reveal())
    await connection.execute(f"SET ROLE {role}")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute(statement)
    await connection.close()


async def test_a_login_that_owns_the_tables_is_refused(settings: Settings) -> None:
    with pytest.raises(FatalError, match="milpa_app") as refused:
        await Database.connect(replace(settings, database_url=settings.database_owner_url))
    assert refused.value.code == "login_bypasses_security"


async def test_a_login_that_bypasses_row_level_security_is_refused(
    settings: Settings, owner: asyncpg.Connection
) -> None:
    await owner.execute("CREATE ROLE sees_all LOGIN BYPASSRLS IN ROLE milpa_app")
    url = settings.database_url.reveal().replace("milpa_app@", "sees_all@")
    with pytest.raises(FatalError) as refused:
        await Database.connect(replace(settings, database_url=Secret(url)))
    assert refused.value.code == "login_bypasses_security"
    await owner.execute("DROP ROLE sees_all")


@pytest.mark.parametrize("key", ["", "x" * 31])
async def test_a_signing_key_that_can_be_guessed_is_refused(settings: Settings, key: str) -> None:
    with pytest.raises(UsageError, match="openssl rand") as refused:
        await Database.connect(replace(settings, signing_key=Secret(key)))
    assert "x" * 31 not in str(refused.value)


async def test_a_login_of_the_operators_own_serves_as_well(settings: Settings, owner: asyncpg.Connection) -> None:
    await owner.execute("CREATE ROLE operators LOGIN IN ROLE milpa_app")
    url = settings.database_url.reveal().replace("milpa_app@", "operators@")
    database = await Database.connect(replace(settings, database_url=Secret(url)))
    async with database.fleet() as fleet:
        assert await fleet.jobs.admit() == []
    await database.close()
    await owner.execute("DROP ROLE operators")


async def test_a_database_that_was_not_migrated_says_so(settings: Settings, owner: asyncpg.Connection) -> None:
    await create_database(settings, "bare")
    with pytest.raises(FatalError, match="milpa migrate"):
        await Database.connect(other_database(settings, "bare"))
    await owner.execute("DROP DATABASE bare")


@pytest.mark.parametrize("target", list(JobState))
@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED])
async def test_nothing_leads_out_of_a_terminal_state_not_even_the_owner(
    database: Database, tenant: UUID, owner: asyncpg.Connection, state: JobState, target: JobState
) -> None:
    job = await submit(database, tenant)
    ref = (await claim(database, job)).ref
    await finish(database, ref, Ending(state=state))
    change = owner.execute(
        "UPDATE jobs SET state = $2, finished_at = NULL, lease_until = NULL WHERE id = $1", job.id, target.value
    )
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await change
    assert target not in TRANSITIONS[state]


async def test_a_second_closing_event_is_refused(database: Database, tenant: UUID, owner: asyncpg.Connection) -> None:
    job = await succeeded(database, tenant)
    for type_ in ("succeeded", "failed", "cancelled"):
        with pytest.raises(asyncpg.UniqueViolationError, match="job_events_one_end"):
            await owner.execute(
                "INSERT INTO job_events (tenant_id, job_id, seq, type) VALUES ($1, $2, 99, $3)", tenant, job.id, type_
            )
