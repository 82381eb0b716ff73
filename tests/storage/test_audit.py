"""The audit: there with the write or not at all, changed by nobody, shortened by its own function alone."""

import asyncio
import contextlib

import asyncpg
import pytest
from msgspec.structs import replace
from sqlalchemy import text
from structlog.testing import capture_logs

from milpa.jobs import new_id
from milpa.settings import Settings
from storage.audit import FleetAudit
from storage.audit_buffer import AuditBuffer
from storage.audit_rows import Actor, ActorKind, AuditFilter, AuditRow, NewAudit, Trail
from storage.migrate import migrate
from storage.schedule_rows import NewSchedule
from storage.transaction import Database
from tests.storage.steps import new_job, succeeded

from uuid import UUID  # isort: skip

AUDIT_ROLES = ["milpa_app", "milpa_fleet", "milpa_owner"]


def actor(tenant: UUID, subject: str = "someone") -> Actor:
    return Actor(tenant_id=tenant, kind=ActorKind.API_KEY, subject=subject, role="admin", address="192.0.2.7")


def trail(tenant: UUID) -> Trail:
    return Trail(actor(tenant), "submit", 202, [])


async def rows(database: Database, tenant: UUID, **where: object) -> list[AuditRow]:
    async with database.transaction(tenant) as tx:
        return list(await tx.audit.list(AuditFilter(**where)))  # type: ignore[arg-type]


async def test_what_writes_is_kept_with_what_it_made(database: Database, tenant: UUID) -> None:
    asked = trail(tenant)
    async with database.transaction(tenant, asked) as tx:
        made = (await tx.jobs.submit(new_job())).job
        asked.targets.append(str(made.id))
    assert asked.kept
    [row] = await rows(database, tenant)
    assert (row.action, row.subject, row.status, row.targets) == ("submit", "someone", 202, [str(made.id)])
    assert (row.kind, row.role, row.address) == (ActorKind.API_KEY, "admin", "192.0.2.7")
    async with database.transaction(tenant) as tx:
        now = (await tx.connection.execute(text("SELECT now()"))).scalar_one()
    assert 0 <= (now - row.at).total_seconds() < 60


async def test_what_is_rolled_back_leaves_no_row(database: Database, tenant: UUID) -> None:
    asked = trail(tenant)
    with contextlib.suppress(InterruptedError):
        async with database.transaction(tenant, asked) as tx:
            await tx.jobs.submit(new_job())
            raise InterruptedError
    assert not asked.kept
    assert await rows(database, tenant) == []


async def test_what_wrote_nothing_leaves_its_row_to_its_answer(database: Database, tenant: UUID) -> None:
    asked = trail(tenant)
    async with database.transaction(tenant, asked) as tx:
        assert await tx.jobs.request_stop(new_id()) is None
        assert await tx.jobs.delete(new_id()) is None
    assert not asked.kept
    assert await rows(database, tenant) == []


async def test_a_request_of_several_transactions_has_one_row(database: Database, tenant: UUID) -> None:
    asked = trail(tenant)
    for _ in range(2):
        async with database.transaction(tenant, asked) as tx:
            await tx.jobs.submit(new_job())
    assert len(await rows(database, tenant)) == 1


async def test_an_audit_that_fails_takes_the_write_with_it(
    database: Database, tenant: UUID, owner: asyncpg.Connection
) -> None:
    await owner.execute("ALTER TABLE audit_log ADD CONSTRAINT nothing CHECK (false) NOT VALID")
    try:
        with pytest.raises(Exception, match="nothing"):
            async with database.transaction(tenant, trail(tenant)) as tx:
                await tx.jobs.submit(new_job())
    finally:
        await owner.execute("ALTER TABLE audit_log DROP CONSTRAINT nothing")
    async with database.transaction(tenant) as tx:
        assert await tx.jobs.list() == []


@pytest.mark.parametrize("role", AUDIT_ROLES)
@pytest.mark.parametrize(
    "statement",
    ["UPDATE audit_log SET subject = 'nobody'", "DELETE FROM audit_log", "TRUNCATE audit_log",
     "DELETE FROM audit_log WHERE at < now() - interval '2 years'"],
)  # fmt: skip
async def test_nobody_changes_a_row_not_even_the_owner(
    database: Database, tenant: UUID, owner: asyncpg.Connection, role: str, statement: str
) -> None:
    async with database.transaction(tenant) as tx:
        await tx.audit.system("tests", "made", [])
    await backdate(owner, tenant, 1000)
    before = await owner.fetch("SELECT * FROM audit_log")
    async with owner.transaction():
        await owner.execute(f"SET LOCAL ROLE {role}")
        await owner.execute("SELECT set_config('milpa.tenant', $1, true)", str(tenant))
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with owner.transaction():
                await owner.execute(statement)
    assert await owner.fetch("SELECT * FROM audit_log") == before


@pytest.mark.parametrize("role", ["milpa_app", "milpa_fleet"])
async def test_the_application_does_not_become_the_keeper(settings: Settings, role: str) -> None:
    connection = await asyncpg.connect(settings.database_url.reveal())
    await connection.execute(f"SET ROLE {role}")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute("SET ROLE milpa_keeper")
    await connection.close()


async def test_a_tenants_own_transaction_prunes_nothing(database: Database, tenant: UUID) -> None:
    with pytest.raises(Exception, match="permission denied"):
        async with database.transaction(tenant) as tx:
            await tx.connection.execute(text("SELECT prune_audit()"))


async def test_rows_end_with_their_retention_and_no_sooner(
    database: Database, tenant: UUID, owner: asyncpg.Connection, settings: Settings
) -> None:
    async with database.transaction(tenant) as tx:
        await tx.audit.system("tests", "young", [])
    await backdate(owner, tenant, 40)
    for days, left in ((41.0, {"old", "young"}), (39.0, {"young"}), (settings.audit_retention_days, {"young"})):
        await migrate(replace(settings, audit_retention_days=days))
        await prune(database)
        assert {row.action for row in await rows(database, tenant)} == left


@pytest.mark.parametrize("role", ["milpa_app", "milpa_fleet"])
async def test_the_application_can_neither_shorten_the_audit_nor_date_its_rows(
    database: Database, settings: Settings, tenant: UUID, owner: asyncpg.Connection, role: str
) -> None:
    await backdate(owner, tenant, 2)
    thief = await asyncpg.connect(settings.database_url.reveal())
    await thief.execute(f"SET ROLE {role}")
    await thief.execute("SELECT set_config('milpa.tenant', $1, false)", str(tenant))
    for statement in (
        "SELECT prune_audit('1 day')",
        "UPDATE audit_retention SET days = 1",
        "INSERT INTO audit_retention (days) VALUES (1)",
        "DELETE FROM audit_retention",
        "INSERT INTO audit_log (tenant_id, kind, subject, action, at) SELECT id, 'system', 'x', 'x', now() FROM tenants",
    ):
        with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.UndefinedFunctionError)):
            await thief.execute(statement)
    await thief.close()
    await prune(database)
    assert [row.action for row in await rows(database, tenant)] == ["old"]


async def test_what_waited_is_dated_an_hour_back_at_most_and_never_ahead(database: Database, tenant: UUID) -> None:
    ages = {"ahead": -9e9, "now": 0.0, "minute": 60.0, "year": 3e7}
    async with database.fleet() as fleet:
        deeds = [NewAudit(actor=actor(tenant), action=name, age_seconds=age) for name, age in ages.items()]
        await fleet.audit.keep(deeds)
    at = {row.action: row.at for row in await rows(database, tenant)}
    assert at["ahead"] == at["now"]
    assert [(at["now"] - at[name]).total_seconds() for name in ("minute", "year")] == [60, 3600]


async def test_where_no_retention_is_set_nothing_is_dropped(
    database: Database, tenant: UUID, owner: asyncpg.Connection, settings: Settings
) -> None:
    await backdate(owner, tenant, 1000)
    await owner.execute("DELETE FROM audit_retention")
    await prune(database)
    assert len(await rows(database, tenant)) == 1
    assert await migrate(settings)


async def test_the_filters_hold_together(database: Database, tenant: UUID) -> None:
    async with database.fleet() as fleet:
        deeds = [
            NewAudit(actor=actor(tenant, subject), action=action, targets=[target], status=200)
            for subject, action, target in [("ann", "erase", "1"), ("ann", "stop", "2"), ("bob", "erase", "2")]
        ]
        await fleet.audit.keep(deeds)
    assert len(await rows(database, tenant)) == 3
    assert {row.action for row in await rows(database, tenant, subject="ann")} == {"erase", "stop"}
    [row] = await rows(database, tenant, subject="ann", target="2")
    assert row.action == "stop"
    assert await rows(database, tenant, until=row.at) == [] == await rows(database, tenant, action="none")
    assert len(await rows(database, tenant, since=row.at)) == 3


async def test_the_buffer_writes_what_waits_before_it_closes(database: Database, tenant: UUID) -> None:
    buffer = AuditBuffer(database)
    for number in range(1200):
        buffer.put(NewAudit(actor=actor(tenant), action="read", targets=[str(number)], status=200))
    await buffer.close()
    async with database.transaction(tenant) as tx:
        found = await tx.audit.list(AuditFilter(), 2000)
    assert {row.targets[0] for row in found} == set(map(str, range(1200)))


async def test_the_buffer_waits_for_a_database_that_is_away(
    database: Database, tenant: UUID, owner: asyncpg.Connection
) -> None:
    buffer = AuditBuffer(database)
    async with owner.transaction():
        await owner.execute("LOCK TABLE audit_log IN ACCESS EXCLUSIVE MODE")
        buffer.put(NewAudit(actor=actor(tenant), action="read", status=200))
        await owner.execute("SELECT pg_sleep(0.3)")
        await owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_class ON relation = pg_class.oid"
            " WHERE relname = 'audit_log' AND NOT granted"
        )
    await buffer.close()
    [row] = await rows(database, tenant)
    assert row.action == "read"


async def test_the_buffer_outlives_a_mistake_and_says_so_once(
    database: Database, tenant: UUID, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.audit_buffer.RETRY_SECONDS", 0.01)
    buffer = AuditBuffer(database)
    await owner.execute("ALTER TABLE audit_log ADD CONSTRAINT nothing CHECK (false) NOT VALID")
    try:
        with capture_logs() as said:
            buffer.put(NewAudit(actor=actor(tenant), action="read", status=200))
            await asyncio.sleep(0.5)
    finally:
        await owner.execute("ALTER TABLE audit_log DROP CONSTRAINT nothing")
    assert [(line["event"], line["count"]) for line in said] == [("audit_put_off", 1)]
    await buffer.close()
    assert [row.action for row in await rows(database, tenant)] == ["read"]


async def test_the_buffer_counts_what_is_lost_at_the_end(
    database: Database, tenant: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.audit_buffer.CLOSING_SECONDS", 0.3)

    async def broken(*_: object) -> None:
        raise ValueError

    monkeypatch.setattr(FleetAudit, "keep", broken)
    buffer = AuditBuffer(database)
    for _ in range(3):
        buffer.put(NewAudit(actor=actor(tenant), action="read", status=200))
    with capture_logs() as said:
        await buffer.close()
    assert [line["count"] for line in said if line["event"] == "audit_lost"] == [3]


async def test_a_scheduled_run_is_the_systems_deed(database: Database, tenant: UUID, owner: asyncpg.Connection) -> None:
    async with database.transaction(tenant) as tx:
        new = NewSchedule(name="n", cron="0 2 * * *", timezone="UTC", jobs=[new_job()], catch_up_minutes=60)
        schedule = (await tx.schedules.create(new)).schedule
    await owner.execute("UPDATE schedules SET next_due_at = now() - interval '1 minute' WHERE id = $1", schedule.id)
    async with database.transaction(tenant) as tx:
        assert await tx.schedules.run_due(schedule.id)
        [run] = await tx.schedules.runs(schedule.id, 10)
    [row] = await rows(database, tenant)
    assert (row.kind, row.subject, row.action, row.status) == (ActorKind.SYSTEM, "scheduler", "run_schedule", None)
    assert row.targets == [str(schedule.id), str(run.batch_id)]


async def test_what_retention_removes_is_the_systems_deed(
    database: Database, tenant: UUID, owner: asyncpg.Connection
) -> None:
    old = await succeeded(database, tenant)
    await owner.execute("UPDATE jobs SET finished_at = now() - interval '60 days' WHERE id = $1", old.id)
    async with database.fleet() as fleet:
        await fleet.jobs.prune(30.0)
    [row] = await rows(database, tenant)
    assert (row.kind, row.action, row.targets) == (ActorKind.SYSTEM, "prune_jobs", [str(old.id)])


async def prune(database: Database) -> None:
    async with database.fleet() as fleet:
        await fleet.audit.prune()


async def backdate(owner: asyncpg.Connection, tenant: UUID, days: int) -> None:
    """Add a row as it would have been so long ago."""
    await owner.execute(
        "INSERT INTO audit_log (tenant_id, at, kind, subject, action)"
        " VALUES ($1, now() - make_interval(days => $2), 'system', 'tests', 'old')",
        tenant,
        days,
    )
