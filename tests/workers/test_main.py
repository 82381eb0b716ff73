"""Starting a worker: patient with servers that are away, firm with a house that is not in order."""

import subprocess
import sys

import msgspec
import pytest

from deploy.local.servers import Servers
from milpa.errors import TransientError
from milpa.settings import Settings
from storage.transaction import Database
from tests.faults.crew import environ_of
from tests.support.stack import settings_of
from workers import main


def test_a_login_that_could_see_other_tenants_is_refused_with_one_line(stack: Servers) -> None:
    settings = settings_of(stack)
    unsafe = msgspec.structs.replace(settings, database_url=settings.database_owner_url)
    done = subprocess.run(
        [sys.executable, "-m", "workers.main"], env=environ_of(unsafe), capture_output=True, check=False, timeout=120
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert msgspec.json.decode(line)["event"] == "worker_cannot_start"


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
