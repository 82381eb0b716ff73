"""Starting a worker: patient with servers that are away, firm with a house that is not in order."""

import asyncio
import signal
import subprocess
import sys
from typing import Any

import msgspec
import pytest

from deploy.local.servers import Servers
from milpa.errors import TransientError, UsageError
from milpa.settings import Settings
from storage.transaction import Database
from storage.workers import WorkerStore
from tests.faults.crew import environ_of
from tests.support.stack import settings_of
from workers import main
from workers.context import WorkerContext
from workers.nightly import Nightly


def test_a_login_that_could_see_other_tenants_is_refused_with_one_line(stack: Servers) -> None:
    settings = settings_of(stack)
    unsafe = msgspec.structs.replace(settings, database_url=settings.database_owner_url)
    done = subprocess.run(
        [sys.executable, "-m", "workers.main"], env=environ_of(unsafe), capture_output=True, check=False, timeout=120
    )
    assert done.returncode == 4
    (line,) = done.stderr.splitlines()
    assert msgspec.json.decode(line)["event"] == "worker_cannot_start"


async def test_a_worker_without_a_slot_says_so(quick: Settings) -> None:
    idle = msgspec.structs.replace(quick, interactive_slots=0, batch_slots=0)
    with pytest.raises(UsageError, match="MILPA_INTERACTIVE_SLOTS and MILPA_BATCH_SLOTS"):
        await main.serve(idle)


async def test_a_database_that_is_away_is_waited_for(
    quick: Settings, redis: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0
    connect = Database.connect

    async def late(settings: Settings, redis: object) -> Database:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise TransientError("database_unavailable", "")
        return await connect(settings, redis)  # type: ignore[arg-type]

    monkeypatch.setattr(Database, "connect", late)
    monkeypatch.setattr(main, "RETRY_SECONDS", 0.01)
    database = await main._connect(quick, redis)  # type: ignore[arg-type]
    assert tries == 3
    await database.ping()
    await database.close()


async def test_a_worker_stays_registered_after_any_error(
    context: WorkerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, errors = WorkerStore.seen, iter([TransientError("database_unavailable", ""), RuntimeError()])

    async def late(store: WorkerStore, *arguments: Any) -> None:
        if (error := next(errors, None)) is not None:
            raise error
        await seen(store, *arguments)

    monkeypatch.setattr(WorkerStore, "seen", late)
    registering = asyncio.create_task(main._stay_registered(context))
    async with asyncio.timeout(60):
        while not await _registered(context):  # noqa: ASYNC110  another task changes it
            await asyncio.sleep(0.05)
    registering.cancel()


async def _registered(context: WorkerContext) -> bool:
    async with context.database.fleet() as fleet:
        rows = await fleet.connection.exec_driver_sql("SELECT id FROM workers WHERE id = $1", (context.id,))
        return rows.first() is not None


@pytest.mark.usefixtures("rings")
async def test_a_worker_whose_background_task_ends_gives_back_its_jobs_and_ends_aloud(
    quick: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_nightly: Nightly) -> None:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(Nightly, "run", broken)
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        async with asyncio.timeout(60):
            await main.serve(quick, kinds="tests.workers.kinds")
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().remove_signal_handler(number)
