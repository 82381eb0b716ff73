"""PostgreSQL and Redis as our own children: made, started, found again, and gone when we are."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import asyncpg
import psutil
import pytest
from redis.asyncio import Redis

from deploy.local.folders import DataDir
from deploy.local.processes import orphans
from deploy.local.servers import Servers
from milpa.errors import UsageError
from tests.support.stack import temporary_folder
from tests.support.waiting import wait_until

AS_ROOT = os.geteuid() == 0


def family(servers: Servers) -> list[psutil.Process]:
    return orphans(servers.folders.root, servers.folder_names)


def kill(servers: Servers) -> None:
    for process in family(servers):
        process.kill()


def servers_in_another_process(folder: Path) -> subprocess.Popen[bytes]:
    program = (
        "import sys, time; from pathlib import Path; from deploy.local.folders import DataDir;"
        "from deploy.local.servers import Servers;"
        "Servers(DataDir(Path(sys.argv[1]))).start(); print('up', flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"up\n"
    return parent


async def fetch(servers: Servers, query: str) -> object:
    connection = await asyncpg.connect(servers.postgres.owner_url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_postgresql_18_and_redis_answer_on_their_sockets(servers: Servers, redis: Redis) -> None:
    assert str(await fetch(servers, "SHOW server_version")).startswith("18")
    assert (await redis.info("server"))["redis_version"].startswith("6.2")


async def test_nothing_listens_on_the_network(servers: Servers) -> None:
    listening = [connection for process in family(servers) for connection in process.net_connections(kind="inet")]
    assert len(family(servers)) >= 2
    assert listening == []


async def test_commits_reach_the_disk_unless_a_test_says_otherwise(servers: Servers) -> None:
    assert await fetch(servers, "SHOW fsync") == "off"
    with temporary_folder() as folder:
        durable = Servers(DataDir(folder))
        durable.start()
        try:
            assert await fetch(durable, "SHOW fsync") == "on"
            assert await fetch(durable, "SHOW synchronous_commit") == "on"
        finally:
            durable.stop()


@pytest.mark.skipif(not AS_ROOT, reason="only root has to give the servers another account")
async def test_root_hands_the_servers_to_an_account_without_rights(servers: Servers) -> None:
    for process in family(servers):
        assert process.uids().real != 0
        assert process.uids().effective != 0


async def test_only_the_owner_enters_the_folders_of_data_and_sockets(servers: Servers) -> None:
    for folder in (servers.folders.postgres, servers.folders.sockets, servers.folders.objects, servers.folders.logs):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_a_long_data_path_still_gets_short_sockets() -> None:
    with temporary_folder() as folder:
        servers = Servers(DataDir(folder / ("long" * 30)), durable=False)
        servers.start()
        try:
            assert await fetch(servers, "SELECT 1") == 1
            assert servers.folders.sockets.parent != servers.folders.root
        finally:
            servers.stop()
            servers.folders.sockets.rmdir()


@pytest.mark.skipif(not AS_ROOT, reason="only root can own a folder that the servers' account can't enter")
async def test_servers_start_below_a_folder_that_only_root_may_enter() -> None:
    with temporary_folder() as folder:
        folder.chmod(0o700)
        before = folder.stat()
        servers = Servers(DataDir(folder / "data"), durable=False)
        servers.start()
        try:
            assert await fetch(servers, "SELECT 1") == 1
        finally:
            servers.stop()
        assert folder.stat().st_mode == before.st_mode
        assert folder.stat().st_uid == before.st_uid


async def test_data_outlives_a_stop_and_two_kills() -> None:
    with temporary_folder() as folder:
        servers = Servers(DataDir(folder), durable=False)
        for turn in range(3):
            servers.start()
            await fetch(servers, "CREATE TABLE IF NOT EXISTS kept (turn int)")
            assert await fetch(servers, "SELECT count(*) FROM kept") == turn
            await fetch(servers, "INSERT INTO kept VALUES (1)")
            if turn > 0:
                kill(servers)
            servers.stop()
        servers.start()
        assert await fetch(servers, "SELECT count(*) FROM kept") == 3
        servers.stop()


async def test_a_half_made_cluster_is_made_again() -> None:
    with temporary_folder() as folder:
        making = folder / "postgres.making"
        making.mkdir()
        (making / "PG_VERSION").write_text("18\n")
        servers = Servers(DataDir(folder), durable=False)
        servers.start()
        try:
            assert await fetch(servers, "SELECT current_database()") == "milpa"
        finally:
            servers.stop()


def test_the_servers_end_with_a_parent_that_was_killed() -> None:
    with temporary_folder() as folder, servers_in_another_process(folder) as parent:
        servers = Servers(DataDir(folder))
        assert len(family(servers)) >= 2
        parent.kill()
        wait_until(lambda: family(servers) == [])


async def test_orphans_of_another_data_directory_are_left_alone(servers: Servers) -> None:
    with temporary_folder() as folder:
        other = Servers(DataDir(folder), durable=False)
        other.prepare()
    assert await fetch(servers, "SELECT 1") == 1


def test_a_data_directory_that_cannot_be_made_is_the_callers_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="data directory"):
        Servers(DataDir(tmp_path / "file" / "data"))


async def test_a_lock_file_of_a_killed_server_whose_number_is_taken_again_is_no_obstacle() -> None:
    with temporary_folder() as folder:
        servers = Servers(DataDir(folder), durable=False)
        servers.start()
        pid_file = servers.folders.postgres / "postmaster.pid"
        kill(servers)
        servers.stop()
        own, _, rest = pid_file.read_text().partition("\n")
        pid_file.write_text(f"1\n{rest}")
        assert own != "1"
        servers.start()
        try:
            assert await fetch(servers, "SELECT 1") == 1
        finally:
            servers.stop()
