"""The parts run alone, as on real servers: migrate, api, worker and check with `MILPA_*` settings."""

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from deploy.local.address import listen
from milpa import Client
from milpa.jobs import JobState
from tests.support.milpa_up import MILPA, START_SECONDS, run_milpa
from tests.support.planted import WATCH
from tests.support.stack import SEAL_KEYS, SIGNING_KEY, running_servers, settings_of
from tests.support.waiting import wait_until

KIND = "deal-picker"
NEEDED = {
    "MILPA_DATABASE_URL": "postgresql://milpa@127.0.0.1:1/milpa",
    "MILPA_REDIS_URL": "redis://127.0.0.1:1",
    "MILPA_SEAL_KEYS": SEAL_KEYS,
    "MILPA_SIGNING_KEY": SIGNING_KEY,
}


@pytest.fixture(scope="module")
def environ() -> Iterator[dict[str, str]]:
    """Settings of servers that nothing was done to yet, as an operator writes them."""
    with running_servers() as servers:
        settings = settings_of(servers)
        yield {
            "MILPA_DATABASE_URL": settings.database_url.reveal(),
            "MILPA_DATABASE_OWNER_URL": settings.database_owner_url.reveal(),
            "MILPA_REDIS_URL": settings.redis_url.reveal(),
            "MILPA_OBJECT_STORE_URL": settings.object_store_url,
            "MILPA_SEAL_KEYS": settings.seal_keys.reveal(),
            "MILPA_SIGNING_KEY": settings.signing_key.reveal(),
            "MILPA_PORT": free_port(),
        }


def free_port() -> str:
    with listen("127.0.0.1", 0) as free:
        return str(free.getsockname()[1])


@contextmanager
def part(name: str, environ: dict[str, str], number: int = signal.SIGTERM) -> Iterator[Path]:
    """Run the part meanwhile; yields its log. The signal ends it, quietly."""
    with (
        tempfile.NamedTemporaryFile() as log,
        subprocess.Popen([MILPA, name], env={**os.environ, **environ}, stderr=log) as process,
    ):
        try:
            yield Path(log.name)
        finally:
            process.send_signal(number)
        assert process.wait(START_SECONDS) in {0, -signal.SIGTERM}
        for line in Path(log.name).read_text().splitlines():
            assert json.loads(line)["event"]
        WATCH.look([Path(log.name)])


@pytest.mark.slow
def test_the_parts_do_alone_what_they_do_together(environ: dict[str, str]) -> None:
    assert "up to date now" in run_milpa("migrate", environ=environ)
    assert "was up to date" in run_milpa("migrate", environ=environ)
    key = run_milpa("key", "somebody", environ=environ).strip()
    other = {**environ, "MILPA_PORT": free_port()}
    with (
        part("api", environ),
        part("api", other),
        part("worker", environ),
        part("worker", other),
        Client(at(environ), key, retries=20) as client,
        Client(at(other), key, retries=20) as other_client,
    ):
        clients = (client, other_client)
        jobs = [asked.submit(KIND, asked.example(KIND)) for asked in clients]
        for job in jobs:
            for asked in clients:
                assert asked.wait(job, timeout=START_SECONDS).state is JobState.SUCCEEDED
    said = run_milpa("check", environ=environ)
    assert said.splitlines()[0].split() == ["2", "jobs"]


def at(environ: dict[str, str]) -> str:
    return f"http://127.0.0.1:{environ['MILPA_PORT']}"


def test_a_misspelt_setting_is_refused_by_name() -> None:
    said = run_milpa("migrate", code=2, environ={"MILPA_DATABSE_URL": "postgresql://nowhere"})
    assert "MILPA_DATABSE_URL" in said


def test_a_setting_that_cannot_be_meant_is_said_before_anything_is_started(tmp_path: Path) -> None:
    data = tmp_path / "data"
    said = run_milpa("up", "--data-dir", str(data), "--port", "0", code=2, environ={"MILPA_WEBHOOK_PORTS": "[]"})
    assert "✗ MILPA_WEBHOOK_PORTS: " in said
    assert "Traceback" not in said
    assert not data.exists()


def test_a_database_that_is_away_is_worth_another_try(tmp_path: os.PathLike[str]) -> None:
    run_milpa("migrate", code=3, environ={"MILPA_DATABASE_URL": f"postgresql://milpa@/milpa?host={tmp_path}"})


@pytest.mark.parametrize("missing", NEEDED)
@pytest.mark.parametrize("name", ["api", "worker"])
def test_a_part_without_a_setting_it_needs_says_its_name_once_and_ends(name: str, missing: str) -> None:
    line = refusal(name, {**NEEDED, missing: ""})
    assert (line["event"], line["code"]) == (f"{name}_cannot_start", "bad_setting")
    assert line["reason"].startswith(missing)


@pytest.mark.parametrize("name", ["MILPA_DATABASE_URL", "MILPA_REDIS_URL"])
def test_an_address_that_is_none_is_said_and_not_shown(name: str) -> None:
    line = refusal("api", {**NEEDED, name: "secret@nowhere"})
    assert line["reason"].startswith(name)
    assert "secret" not in line["reason"]


def test_a_port_that_is_taken_is_said(environ: dict[str, str]) -> None:
    run_milpa("migrate", environ=environ)
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        line = refusal("api", {**environ, "MILPA_PORT": str(port)})
    assert (line["event"], line["code"]) == ("api_cannot_start", "port_taken")
    assert f"Port {port}" in line["reason"]


def test_a_database_that_nothing_was_done_to_is_said() -> None:
    with running_servers() as servers:
        settings = settings_of(servers)
        environ = {**NEEDED, "MILPA_DATABASE_URL": settings.database_url.reveal()}
        line = refusal("api", environ)
    assert (line["event"], line["code"]) == ("api_cannot_start", "bad_setting")
    assert "MILPA_DATABASE_URL" in line["reason"]
    assert "milpa migrate" in line["reason"]


def test_the_api_waits_for_a_database_that_is_away_and_serves_once_it_is_there(
    environ: dict[str, str], tmp_path: Path
) -> None:
    run_milpa("migrate", environ=environ)
    address, _, folder = environ["MILPA_DATABASE_URL"].partition("?host=")
    later = tmp_path / "later"
    ready = f"{at(environ)}/health/ready"
    with part("api", {**environ, "MILPA_DATABASE_URL": f"{address}?host={later}"}) as log:
        wait_until(lambda: log.read_text().count("database_away") > 1, START_SECONDS)
        with pytest.raises(httpx.ConnectError):
            httpx.get(ready)
        later.symlink_to(folder)
        wait_until(lambda: answers(ready), START_SECONDS)


@pytest.mark.parametrize(
    ("name", "number"), [("api", signal.SIGTERM), ("api", signal.SIGINT), ("worker", signal.SIGINT)]
)
def test_a_part_that_waits_ends_when_it_is_asked_to(name: str, number: int) -> None:
    with part(name, NEEDED, number) as log:
        wait_until(lambda: "database_away" in log.read_text(), START_SECONDS)


def refusal(name: str, environ: dict[str, str]) -> dict[str, str]:
    """Return the one line that the part says before it ends, refused."""
    (line,) = run_milpa(name, code=2, environ=environ).splitlines()
    return dict(json.loads(line))


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == httpx.codes.OK
    except httpx.ConnectError:
        return False
