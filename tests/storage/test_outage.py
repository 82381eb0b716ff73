"""PostgreSQL away: said so in one word, never mistaken for a caller's own error, and over once it is back."""

import asyncio
import contextlib
import os
import signal
import time
from threading import Thread
from typing import Any, Never
from uuid import UUID

import asyncpg
import pytest
from msgspec.structs import replace
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError

from deploy.local.folders import DataDir
from deploy.local.servers import Servers
from milpa.errors import FatalError, TransientError
from milpa.settings import Settings
from storage.admission import ONE_AT_A_TIME
from storage.ledger import check_ledger
from storage.migrate import migrate
from storage.transaction import Database
from tests.storage.steps import add_tenant, break_off, look, new_job, submit
from tests.support.stack import settings_of, temporary_folder

PATIENCE = 20.0
"""A third of what a statement may take, and many times what giving up does."""


async def test_a_database_that_was_restarted_serves_at_the_first_try() -> None:
    with temporary_folder() as folder:
        servers = Servers(DataDir(folder), durable=False)
        servers.start()
        try:
            settings = settings_of(servers)
            await migrate(settings)
            database = await Database.connect(settings)
            tenant = await add_tenant(database)
            job = await submit(database, tenant)
            servers.stop()
            with pytest.raises(TransientError) as away:
                await submit(database, tenant)
            assert away.value.code == "database_unavailable"
            with pytest.raises(TransientError):
                await database.ping()
            with pytest.raises(TransientError):
                await Database.connect(settings)
            servers.start()
            assert (await look(database, job)).id == job.id
            await database.ping()
            await database.close()
        finally:
            servers.stop()


async def test_connections_cut_while_idle_are_replaced_unseen(
    database: Database, tenant: UUID, owner: asyncpg.Connection
) -> None:
    await asyncio.gather(*(submit(database, tenant) for _ in range(5)))
    await owner.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'milpa_app'")
    await asyncio.sleep(0.2)
    await asyncio.gather(*(submit(database, tenant) for _ in range(10)))


async def test_a_connection_that_has_grown_old_is_replaced(
    settings: Settings, tenant: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = {}
    for seconds in (3600.0, 0.0):
        monkeypatch.setattr("storage.transaction._RENEWED_SECONDS", seconds)
        database = await Database.connect(settings)
        pids[seconds] = {await _server_process(database, tenant) for _ in range(3)}
        await database.close()
    assert len(pids[3600.0]) == 1
    assert len(pids[0.0]) == 3


async def _server_process(database: Database, tenant: UUID) -> int:
    async with database.transaction(tenant) as transaction:
        return int((await transaction.connection.execute(text("SELECT pg_backend_pid()"))).scalar_one())


@pytest.mark.parametrize("when", ["statement", "commit"])
async def test_a_connection_cut_in_a_transaction_is_an_outage_and_keeps_nothing(
    database: Database, tenant: UUID, owner: asyncpg.Connection, when: str
) -> None:
    async def be_cut_off() -> None:
        async with database.transaction(tenant) as tx:
            await tx.jobs.submit(new_job())
            pid = (await tx.connection.execute(text("SELECT pg_backend_pid()"))).scalar()
            await owner.execute("SELECT pg_terminate_backend($1)", pid)
            await asyncio.sleep(0.1)
            if when == "statement":
                await tx.jobs.list()

    with pytest.raises(TransientError):
        await be_cut_off()
    async with database.transaction(tenant) as tx:
        assert await tx.jobs.list() == []


async def test_a_connection_cut_just_before_a_transaction_begins_is_an_outage_and_the_next_serves(
    settings: Settings, tenant: UUID
) -> None:
    """Lent as whole, and cut before the first word: nothing of it is known here until something is said."""
    database = await Database.connect(replace(settings, database_pool=1))

    def cut(connection: Any, _record: Any, _proxy: Any) -> None:
        pid = connection.driver_connection.get_server_pid()
        cutting = Thread(target=asyncio.run, args=[cut_off(settings, pid)])
        cutting.start()
        cutting.join()  # the loop stands still meanwhile, and sees no end of the connection

    event.listen(database._engine.sync_engine, "checkout", cut)
    with pytest.raises(TransientError):
        async with database.transaction(tenant):
            pytest.fail("it has begun")
    event.remove(database._engine.sync_engine, "checkout", cut)
    await submit(database, tenant)
    await database.close()


async def cut_off(settings: Settings, pid: int) -> None:
    """End a connection from outside, and come back once it has gone."""
    owner = await asyncpg.connect(settings.database_owner_url.reveal())
    await owner.execute("SELECT pg_terminate_backend($1, 10000)", pid)
    await owner.close()


async def test_a_pool_that_is_used_up_is_an_outage(
    settings: Settings, tenant: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.transaction._POOL_WAIT_SECONDS", 0.1)
    database = await Database.connect(replace(settings, database_pool=1))
    async with database.transaction(tenant):
        with pytest.raises(TransientError):
            await database.ping()
    await database.ping()
    await database.close()


async def test_a_deadlock_is_an_outage_for_one_of_the_two(database: Database, tenant: UUID) -> None:
    first, second = await submit(database, tenant), await submit(database, tenant)
    locked = asyncio.Barrier(2)

    async def stop_both(*jobs: Any) -> None:
        async with database.transaction(tenant) as tx:
            await tx.jobs.request_stop(jobs[0].id)
            await locked.wait()
            await tx.jobs.request_stop(jobs[1].id)

    outcomes = await asyncio.gather(stop_both(first, second), stop_both(second, first), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) in (
        ["NoneType", "TransientError"],
        ["TransientError", "UsageError"],
    )


@pytest.mark.parametrize("error", [OSError, TimeoutError, ConnectionError, KeyError])
async def test_a_callers_own_error_goes_through_as_it_is(
    database: Database, tenant: UUID, error: type[Exception]
) -> Never:
    with pytest.raises(error):
        await break_off(database, tenant, error)
    async with database.transaction(tenant) as tx:
        assert await tx.jobs.list() == []


async def test_a_wrong_statement_is_not_an_outage(database: Database, tenant: UUID) -> None:
    with pytest.raises(DBAPIError):
        async with database.transaction(tenant) as tx:
            await tx.connection.execute(text("SELECT nonsense"))


async def test_a_mistake_of_ours_is_not_an_outage(database: Database, tenant: UUID) -> None:
    async def be_mistaken() -> None:
        async with database.transaction(tenant) as tx:
            driver = (await tx.connection.get_raw_connection()).driver_connection
            assert driver is not None
            await driver.fetch("SELECT 1", "one argument too many")

    with pytest.raises(asyncpg.InterfaceError):
        await be_mistaken()


async def test_a_database_that_takes_no_writes_for_now_is_an_outage(database: Database, tenant: UUID) -> None:
    async def write() -> None:
        async with database.transaction(tenant) as tx:
            await tx.connection.execute(text("SET TRANSACTION READ ONLY"))  # as one that was failed over from
            await tx.jobs.submit(new_job())

    with pytest.raises(TransientError):
        await write()


async def test_a_transaction_whose_error_was_swallowed_is_not_taken_for_kept(database: Database, tenant: UUID) -> None:
    async def swallow() -> None:
        async with database.transaction(tenant) as tx:
            await tx.jobs.submit(new_job())
            with contextlib.suppress(DBAPIError):
                await tx.connection.execute(text("SELECT nonsense"))

    with pytest.raises(FatalError) as aborted:
        await swallow()
    assert aborted.value.code == "transaction_aborted"
    async with database.transaction(tenant) as tx:
        assert await tx.jobs.list() == []


async def test_a_process_that_stalls_between_preparing_a_statement_and_running_it_loses_its_locks_after_a_lease(
    settings: Settings,
) -> None:
    stalled = await Database.connect(replace(settings, lease_seconds=1.0))
    other = await Database.connect(settings)
    async with stalled._engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        await driver.execute("BEGIN")  # a lock of a transaction that nobody began would be free at once
        await connection.execute(ONE_AT_A_TIME)
        await driver.prepare("SELECT 1 + 1")
        async with asyncio.timeout(30), other.fleet() as fleet:
            await fleet.jobs.admit()
        await connection.invalidate()
    await stalled.close()
    await other.close()


async def test_the_ledger_may_take_longer_than_a_lease_and_than_any_other_statement(
    settings: Settings, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.transaction._COMMAND_SECONDS", 0.5)
    database = await Database.connect(replace(settings, lease_seconds=0.5))
    async with owner.transaction():
        await owner.execute("LOCK TABLE schedule_runs")
        checking = asyncio.create_task(check_ledger(database))
        await asyncio.sleep(1.5)
    assert (await checking).ok
    await database.close()


@pytest.mark.parametrize("when", ["begin", "statement", "commit"])
async def test_whoever_gives_up_on_a_server_that_hangs_is_free_at_once(settings: Settings, when: str) -> None:
    database = await Database.connect(replace(settings, database_pool=1))
    tenant = await add_tenant(database)
    async with database.transaction(tenant) as tx:
        process = (await tx.connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()

    async def work() -> None:
        _hang(process, now=when == "begin")
        async with database.transaction(tenant) as tx:
            _hang(process, now=when == "statement")
            await tx.jobs.list()
            _hang(process, now=when == "commit")

    began = time.monotonic()
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await work()
        assert time.monotonic() - began < PATIENCE, "it waited for the server after all"
        assert await _jobs_of(database, tenant) == 0, "with another connection"
    finally:
        os.kill(process, signal.SIGCONT)
    await database.close()


def _hang(process: int, *, now: bool) -> None:
    if now:
        os.kill(process, signal.SIGSTOP)


async def _jobs_of(database: Database, tenant: UUID) -> int:
    async with database.transaction(tenant) as tx:
        return len(await tx.jobs.list())
