"""`milpa check`: what it prints, its exit codes, and solver processes that have outlived their worker."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
import psutil
import pytest

from deploy.ledger import orphan_solvers
from deploy.local.servers import Servers
from milpa.settings import Settings
from storage.migrate import migrate
from tests.storage.conftest import create_database, other_database
from tests.support.milpa_up import run_milpa
from tests.support.stack import settings_of
from tests.support.waiting import wait_until


@contextmanager
def process(*words: str) -> Iterator[int]:
    """A process that has these words in its command line and sleeps."""
    sleep = "import sys, time; sys.stdout.write('here'); sys.stdout.flush(); time.sleep(600)"
    started = subprocess.Popen([sys.executable, "-c", sleep, *words], stdout=subprocess.PIPE)
    assert started.stdout is not None
    started.stdout.read(4)
    try:
        yield started.pid
    finally:
        started.kill()
        started.wait()


def test_a_solver_is_an_orphan_once_its_worker_is_gone() -> None:
    with process() as worker, process("-m", "workers.compute", "--parent", str(worker)) as solver:
        assert solver not in {found.pid for found in orphan_solvers()}
        psutil.Process(worker).kill()
        wait_until(lambda: solver in {found.pid for found in orphan_solvers()})
    assert solver not in {found.pid for found in orphan_solvers()}


@pytest.fixture(scope="module")
def settings(servers: Servers) -> Settings:
    """Settings of a database of its own, for the ledger looks at every job there is."""
    settings = settings_of(servers)
    asyncio.run(create_database(settings, "milpa_check"))
    settings = other_database(settings, "milpa_check")
    asyncio.run(migrate(settings))
    return settings


@pytest.fixture
def environ(settings: Settings) -> dict[str, str]:
    """What an operator has set."""
    named = ("database_url", "redis_url", "seal_keys", "signing_key")
    secrets = {f"MILPA_{name.upper()}": getattr(settings, name).reveal() for name in named}
    return {**secrets, "MILPA_OBJECT_STORE_URL": settings.object_store_url}


async def test_a_broken_promise_is_marked_and_exits_with_1(settings: Settings, environ: dict[str, str]) -> None:
    said = run_milpa("check", environ=environ)
    assert "✗" not in said
    assert "0  accepted jobs are lost" in said
    assert "Every promise was kept." in said
    owner = await asyncpg.connect(settings.database_owner_url.reveal())
    await owner.execute("INSERT INTO tenants (id, name) VALUES (uuidv7(), 'ledger')")
    await owner.execute("INSERT INTO batches (tenant_id, id, size, ended) SELECT id, uuidv7(), 2, 1 FROM tenants")
    await owner.close()
    said = run_milpa("check", environ=environ, code=1)
    assert "Not every promise was kept." in said
    broken = [line.strip() for line in said.splitlines() if "✗" in line]
    assert broken == ["1  batches are closed or counted wrongly  ✗"]
    report = json.loads(run_milpa("check", "--json", environ=environ, code=1))
    assert (report["batches_miscounted"], report["orphan_objects"], report["orphan_solvers"]) == (1, 0, 0)
