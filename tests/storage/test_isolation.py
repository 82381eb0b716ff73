"""A tenant never sees or writes another's rows, however connections are shared."""

# ruff: noqa: S608  the names in these statements are those of our own tables

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from uuid import UUID, uuid4

import asyncpg
import pytest
from msgspec.structs import replace
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, ProgrammingError

from milpa.errors import UsageError
from milpa.jobs import new_id
from milpa.settings import Settings
from storage.rows import JobFilter
from storage.session import Session
from storage.tables import metadata
from storage.transaction import Database, FleetTransaction, Transaction
from tests.storage.steps import add_tenant, claim, new_job, submit, succeeded

TENANT_TABLES = sorted(name for name, table in metadata.tables.items() if "tenant_id" in table.c)


@pytest.fixture(params=[1, 2])
async def narrow(settings: Settings, request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    """A database with one connection or two, so that every transaction reuses one."""
    database = await Database.connect(replace(settings, database_pool=request.param))
    yield database
    await database.close()


async def test_transactions_that_share_connections_see_their_own_tenant_only(narrow: Database) -> None:
    """Many tenants and the fleet in turn, with errors of code and of SQL and cancellations in between."""
    tenants = [await add_tenant(narrow) for _ in range(8)]
    mine = {tenant: (await submit(narrow, tenant)).id for tenant in tenants}
    seen: dict = {tenant: set() for tenant in tenants}
    at_once = asyncio.Semaphore(6)

    async def look(tenant: UUID, number: int) -> None:
        luck = random.Random(number)
        async with at_once, narrow.transaction(tenant) as tx:
            seen[tenant] |= {job.id for job in await tx.jobs.list()}
            await asyncio.sleep(luck.random() / 100)
            seen[tenant] |= {job.tenant_id for job in await tx.jobs.list()}
            await break_off(tx, luck.choice(ENDS))

    async def look_at_all(number: int) -> None:
        async with at_once, narrow.fleet() as fleet:
            jobs = await fleet.connection.execute(text("SELECT count(*) FROM jobs"))
            assert jobs.scalar() == len(tenants)
            await break_off(fleet, ENDS[number % len(ENDS)])

    looks = [look(tenant, number) for number, tenant in enumerate(tenants * 15)]
    for number in range(20):
        looks.insert(number * 6, look_at_all(number))
    ended = await asyncio.gather(*looks, return_exceptions=True)
    assert {type(one).__name__ for one in ended} == {"NoneType", "InterruptedError", "DBAPIError", "CancelledError"}
    assert seen == {tenant: {tenant, mine[tenant]} for tenant in tenants}
    await assert_nothing_stays(narrow)


async def assert_nothing_stays(database: Database) -> None:
    """A connection that goes back has neither a tenant nor the fleet's role."""
    async with AsyncExitStack() as stack:
        for _ in range(database.settings.database_pool):
            connection = await stack.enter_async_context(database._engine.connect())
            left = await connection.execute(text("SELECT current_user, current_setting('milpa.tenant', true)"))
            assert tuple(left.one()) in {("milpa_app", ""), ("milpa_app", None)}


ENDS = ("well", "by error", "by SQL", "cancelled")


async def break_off(tx: Transaction | FleetTransaction, end: str) -> None:
    """End a transaction as many do."""
    if end == "by error":
        raise InterruptedError  # as a caller's own code would
    if end == "by SQL":
        await tx.connection.execute(text("SELECT 1 / 0"))
    if end == "cancelled":
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await tx.connection.execute(text("SELECT pg_sleep(5)"))


async def test_transactions_cancelled_in_the_middle_of_a_statement_leave_no_tenant_behind(narrow: Database) -> None:
    tenant, other = await add_tenant(narrow), await add_tenant(narrow)
    await submit(narrow, tenant)

    async def by_sqlalchemy() -> None:
        async with narrow.transaction(tenant) as tx:
            await tx.connection.execute(text("SELECT pg_sleep(5)"))

    async def by_asyncpg() -> None:
        async with narrow.transaction(tenant) as tx:
            await tx.jobs._session.all(text("SELECT pg_sleep(5)"))

    for hold in (by_sqlalchemy, by_asyncpg) * 2:
        held = asyncio.create_task(hold())
        await asyncio.sleep(0.05)
        held.cancel()
        await asyncio.gather(held, return_exceptions=True)
        async with narrow.transaction(other) as tx:
            assert await tx.jobs.list() == []


async def test_transactions_cancelled_twice_leave_no_tenant_and_nothing_written_behind(narrow: Database) -> None:
    """The second time, at many moments, while the first is being undone; what stays open, the next would commit."""
    tenant, other = await add_tenant(narrow), await add_tenant(narrow)

    async def hold(entered: asyncio.Event) -> None:
        async with narrow.transaction(tenant) as tx:
            await tx.jobs.submit(new_job())
            entered.set()
            await asyncio.sleep(5)

    for number in range(50):
        luck, entered = random.Random(number), asyncio.Event()
        held = asyncio.create_task(hold(entered))
        await entered.wait()
        held.cancel()
        for _ in range(2):
            await asyncio.sleep(luck.choice([0, 0, 0.0001, 0.0005, 0.002]))
            held.cancel()
        await asyncio.gather(held, return_exceptions=True)
        async with narrow.transaction(other) as tx:
            assert await tx.jobs.list() == []
    async with narrow.transaction(tenant) as tx:
        assert await tx.jobs.list() == []
    await assert_nothing_stays(narrow)


async def test_a_connection_whose_rolling_back_is_cancelled_is_thrown_away(narrow: Database) -> None:
    async with narrow._engine.connect() as connection:
        session = Session(connection, narrow.settings, narrow._seal, narrow._hash_key)
        await session.driver.execute("BEGIN")
        undoing = asyncio.create_task(session.undo(ValueError()))
        await asyncio.sleep(0)  # it has asked for the end, and nobody has answered yet
        undoing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await undoing
        assert connection.invalidated


async def test_a_connection_that_came_back_inside_a_transaction_is_not_lent_again(narrow: Database) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(narrow.settings.database_pool):
            connection = await stack.enter_async_context(narrow._engine.connect())
            sync = connection.sync_connection
            assert sync is not None
            await sync.connection.driver_connection.execute("BEGIN; SELECT set_config('milpa.tenant', 'x', true)")
    await assert_nothing_stays(narrow)


async def test_no_connection_is_lost_over_two_hundred_cancelled_uses(settings: Settings) -> None:
    """At every moment: waiting for a connection, beginning, in a statement, committing, undoing, giving back."""
    database = await Database.connect(replace(settings, database_pool=2))
    tenant = await add_tenant(database)

    async def write() -> None:
        async with database.transaction(tenant) as tx:
            await tx.jobs.submit(new_job())

    async def look_at_all() -> None:
        async with database.fleet() as fleet:
            await fleet.connection.execute(text("SELECT pg_sleep(0.01)"))

    async def look_up() -> None:
        async with database.lookups() as tenants:
            await tenants.get(tenant)

    async def cancelled(number: int) -> None:
        luck = random.Random(number)
        use = asyncio.create_task(luck.choice([write, write, look_at_all, look_up])())
        for _ in range(luck.choice([1, 1, 2])):
            await asyncio.sleep(luck.random() / 50)
            use.cancel()
        await asyncio.gather(use, return_exceptions=True)

    for start in range(0, 200, 4):
        await asyncio.gather(*map(cancelled, range(start, start + 4)))
    both = asyncio.Barrier(2)

    async def serve() -> None:
        async with database.transaction(tenant) as tx:
            assert (await tx.connection.execute(text("SELECT 1"))).scalar() == 1
            await both.wait()

    async with asyncio.timeout(30):
        await asyncio.gather(serve(), serve())
        await asyncio.gather(look_up(), look_up())
    await database.close()


async def test_looking_up_keys_lends_no_rights_to_transactions(narrow: Database) -> None:
    tenant, other = await add_tenant(narrow), await add_tenant(narrow)
    await submit(narrow, tenant)
    for _ in range(4):
        async with narrow.lookups() as tenants:
            assert await tenants.get(tenant) is not None
        async with narrow.transaction(other) as tx:
            assert (await tx.connection.execute(text("SELECT current_user"))).scalar() == "milpa_app"
            assert await tx.jobs.list() == []


async def test_a_connection_without_a_tenant_sees_nothing(settings: Settings, database: Database, tenant: UUID) -> None:
    await succeeded(database, tenant, files=["xlsx"])
    connection = await asyncpg.connect(settings.database_url.reveal())
    for table in TENANT_TABLES:
        assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0
    await connection.execute("SET milpa.tenant = ''")
    assert await connection.fetchval("SELECT count(*) FROM jobs") == 0
    await connection.close()


async def test_foreign_rows_are_missing_rows_to_every_store(database: Database, tenant: UUID) -> None:
    job = await succeeded(database, tenant, files=["xlsx"])
    waiting = await submit(database, tenant)
    async with database.transaction(await add_tenant(database)) as tx:
        assert await tx.jobs.get(job.id) is None
        assert await tx.jobs.get_many([job.id, waiting.id]) == []
        assert await tx.jobs.list(JobFilter()) == []
        assert await tx.jobs.payload(job.id, "result") is None
        assert await tx.jobs.request_stop(waiting.id) is None
        assert await tx.jobs.request_cancel(waiting.id) is None
        assert await tx.jobs.resubmit(job.id) is None
        assert await tx.jobs.delete(job.id) is None
        assert await tx.jobs.claim(waiting.id, waiting.dispatch_no, uuid4(), 30) is None
        assert await tx.events.after(job.id) == []
        assert await tx.events.stream("0.00000000000000000000000000000000.0") == []
        assert await tx.files.list(job.id) == []
        assert await tx.files.get(job.id, "deals.xlsx") is None
        with pytest.raises(UsageError, match="nothing to make files of"):
            await tx.files.request(job.id, ["pdf"])


async def test_a_foreign_attempt_is_a_stale_one(database: Database, tenant: UUID) -> None:
    held = await claim(database, await submit(database, tenant))
    async with database.transaction(await add_tenant(database)) as tx:
        assert await tx.jobs.heartbeat(held.ref, 30) is None
        assert not await tx.jobs.release(held.ref)


@pytest.mark.parametrize("table", TENANT_TABLES)
async def test_no_statement_reaches_foreign_rows(
    database: Database, tenant: UUID, owner: asyncpg.Connection, table: str
) -> None:
    await fill(database, tenant)
    before = await owner.fetch(f"SELECT * FROM {table}")
    assert before, f"{table} must have a row to defend"
    async with database.transaction(await add_tenant(database)) as tx:
        assert (await tx.connection.execute(text(f"SELECT * FROM {table}"))).all() == []
    for statement in (f"UPDATE {table} SET tenant_id = tenant_id", f"DELETE FROM {table}"):
        with contextlib.suppress(ProgrammingError):  # the role may not do this to the table at all
            async with database.transaction(await add_tenant(database)) as tx:
                assert (await tx.connection.execute(text(statement))).rowcount == 0
    assert await owner.fetch(f"SELECT * FROM {table}") == before


@pytest.mark.parametrize("table", TENANT_TABLES)
async def test_no_row_can_be_written_for_another_tenant(
    database: Database, tenant: UUID, table: str, owner: asyncpg.Connection
) -> None:
    await fill(database, tenant)
    may = "SELECT has_column_privilege('milpa_app', $1, $2, 'INSERT')"
    names = [column.name for column in metadata.tables[table].columns]
    columns = ", ".join([name for name in names if await owner.fetchval(may, table, name)])
    copied = columns.replace("tenant_id", f"'{tenant}'::uuid")
    other = await add_tenant(database)
    await fill(database, other)
    with pytest.raises(DBAPIError) as refused:
        async with database.transaction(other) as tx:
            await tx.connection.execute(text(f"INSERT INTO {table} ({columns}) SELECT {copied} FROM {table}"))
    assert "row-level security" in str(refused.value)


async def test_no_row_can_be_tied_to_another_tenants_job(database: Database, tenant: UUID) -> None:
    job = await submit(database, tenant)
    other = await add_tenant(database)
    with pytest.raises(DBAPIError, match="job_events_tenant_id_job_id_fkey"):
        async with database.transaction(other) as tx:
            await tx.connection.execute(
                text("INSERT INTO job_events (tenant_id, job_id, seq, type) VALUES (:tenant, :job, 2, 'phase')"),
                {"tenant": other, "job": job.id},
            )


async def test_a_job_can_not_be_moved_to_another_tenant(database: Database, tenant: UUID) -> None:
    await submit(database, tenant)
    other = await add_tenant(database)
    with pytest.raises(DBAPIError, match="row-level security"):
        async with database.transaction(tenant) as tx:
            await tx.connection.execute(text("UPDATE jobs SET tenant_id = :other"), {"other": other})


async def test_the_fleets_view_ends_with_its_transaction(narrow: Database) -> None:
    tenant, other = await add_tenant(narrow), await add_tenant(narrow)
    await submit(narrow, tenant)
    for _ in range(4):
        async with narrow.fleet() as fleet:
            assert (await fleet.connection.execute(text("SELECT count(*) FROM jobs"))).scalar() == 1
        async with narrow.transaction(other) as tx:
            assert (await tx.connection.execute(text("SELECT current_user"))).scalar() == "milpa_app"
            assert (await tx.connection.execute(text("SELECT count(*) FROM jobs"))).scalar() == 0


async def test_ids_can_not_be_guessed_across_tenants_by_submitting_one_again(database: Database, tenant: UUID) -> None:
    job = await submit(database, tenant)
    other = await add_tenant(database)
    async with database.transaction(other) as tx:
        child = (await tx.jobs.submit(new_job(parent_id=job.id))).job
    await succeeded(database, tenant)
    assert (await claim(database, child)).warm_start is None


async def fill(database: Database, tenant: UUID) -> None:
    """Put at least one row of the tenant into every table."""
    from storage.rows import Idempotency, Role, Subject
    from storage.schedule_rows import NewSchedule
    from storage.webhook_rows import Attempted, NewEndpoint

    async with database.transaction(tenant) as tx:
        await tx.webhooks.create(NewEndpoint(url="https://example.org/"))
    job = await succeeded(database, tenant, files=["xlsx"])
    async with database.fleet() as fleet:
        refs = await fleet.deliveries.take(1, each=1, share=1, lease_seconds=30)
    for ref in refs:
        async with database.transaction(ref.tenant_id) as tx:
            await tx.deliveries.record(ref, Attempted(delivered=True, seconds=0.1, status=200))
    async with database.transaction(tenant) as tx:
        await tx.files.request(job.id, ["pdf"])
        await tx.jobs.submit_batch("night", [new_job()], idempotency=Idempotency(str(new_id()), b"hash"))
    async with database.transaction(tenant) as tx:
        nightly = NewSchedule(name="night", cron="0 2 * * *", timezone="UTC", jobs=[new_job()])
        await tx.schedules.run_now((await tx.schedules.create(nightly)).schedule.id)
    async with database.fleet() as fleet:
        await fleet.tenants.create_key(tenant, "key", Role.VIEWER)
    async with database.transaction(tenant) as tx:
        await tx.audit.system("tests", "fill", [])
        await tx.exports.request("someone", Subject("student", "S1"))
        await tx.jobs.submit(new_job(subjects=[Subject("student", "S1")]))
