"""The parts run alone, as on real servers: migrate, api, worker and check with `MILPA_*` settings."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.local.address import listen
from milpa import Client
from milpa.jobs import JobState
from tests.support.milpa_up import MILPA, START_SECONDS, run_milpa
from tests.support.planted import WATCH
from tests.support.stack import running_servers, settings_of

KIND = "deal-picker"


@pytest.fixture(scope="module")
def environ() -> Iterator[dict[str, str]]:
    """Settings of servers that nothing was done to yet, as an operator writes them."""
    with running_servers() as servers, listen("127.0.0.1", 0) as free:
        settings = settings_of(servers)
        port = free.getsockname()[1]
        free.close()
        yield {
            "MILPA_DATABASE_URL": settings.database_url.reveal(),
            "MILPA_DATABASE_OWNER_URL": settings.database_owner_url.reveal(),
            "MILPA_REDIS_URL": settings.redis_url.reveal(),
            "MILPA_OBJECT_STORE_URL": settings.object_store_url,
            "MILPA_SEAL_KEYS": settings.seal_keys.reveal(),
            "MILPA_SIGNING_KEY": settings.signing_key.reveal(),
            "MILPA_PORT": str(port),
        }


@contextmanager
def part(name: str, environ: dict[str, str]) -> Iterator[None]:
    with (
        tempfile.NamedTemporaryFile() as log,
        subprocess.Popen([MILPA, name], env={**os.environ, **environ}, stderr=log) as process,
    ):
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(START_SECONDS) in {0, -signal.SIGTERM}
        WATCH.look([Path(log.name)])


@pytest.mark.slow
def test_the_parts_do_alone_what_they_do_together(environ: dict[str, str]) -> None:
    assert "up to date now" in run_milpa("migrate", environ=environ)
    assert "was up to date" in run_milpa("migrate", environ=environ)
    key = run_milpa("key", "somebody", environ=environ).strip()
    url = f"http://127.0.0.1:{environ['MILPA_PORT']}"
    with (
        part("api", environ),
        part("worker", environ),
        Client(url, key, retries=20) as client,
    ):
        job = client.wait(client.submit(KIND, client.example(KIND)), timeout=START_SECONDS)
        assert job.state is JobState.SUCCEEDED
    said = run_milpa("check", environ=environ)
    assert said.splitlines()[0].split() == ["1", "jobs"]


def test_a_misspelt_setting_is_refused_by_name() -> None:
    said = run_milpa("migrate", code=2, environ={"MILPA_DATABSE_URL": "postgresql://nowhere"})
    assert "MILPA_DATABSE_URL" in said


def test_a_database_that_is_away_is_worth_another_try(tmp_path: os.PathLike[str]) -> None:
    run_milpa("migrate", code=3, environ={"MILPA_DATABASE_URL": f"postgresql://milpa@/milpa?host={tmp_path}"})
