"""Starting a worker: patient with servers that are away, firm with a house that is not in order."""

import socket
import subprocess
import sys
from pathlib import Path

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


@pytest.mark.parametrize("abstract", [False, True])
def test_readiness_is_told_as_systemd_expects_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool
) -> None:
    name = f"@milpa-{tmp_path.name}" if abstract else str(tmp_path / "ready")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as doorway:
        doorway.bind("\0" + name[1:] if abstract else name)
        doorway.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        main._say_ready()
        assert doorway.recv(100) == b"READY=1"


def test_nobody_to_tell_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    main._say_ready()
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    main._say_ready()
