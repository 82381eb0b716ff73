"""`milpa up`, as the person at the terminal and the operator with `kill -9` see it."""

import os
import re
import shutil
import signal
import stat
from collections.abc import Iterator

import httpx
import psutil
import pytest

from deploy.local.address import listen
from milpa import Client
from milpa.jobs import EventType, Job, JobState
from tests.support.milpa_up import Up, milpa_up, run_milpa
from tests.support.waiting import wait_until

KIND = "deal-picker"
PARTS = {
    "API": ("deploy.serve",),
    "worker": ("workers.main",),
    "Redis": ("redis-server",),
    "PostgreSQL": ("bin/postgres",),
}

# The interpreter may lie below root's home: reading past it is all that this user may do beyond its own.
ORDINARY = (
    *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
    *("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"),
)


@pytest.fixture
def fresh() -> Iterator[Up]:
    with milpa_up() as up:
        yield up


def solve(up: Up) -> Job:
    with Client(up.url, up.key, retries=20) as client:
        return client.wait(client.submit(KIND, client.example(KIND)), timeout=60)


def test_it_says_where_it_is_and_where_the_key_is(up: Up) -> None:
    assert f"address    {up.url}" in up.said
    assert f"admin key  {up.folders.admin_key}" in up.said
    assert re.search(r"Ready in \d+\.\d s", up.said)
    done = re.findall(r"✓ (.*?)  +\d+\.\d\d s", up.said)
    assert done == ["PostgreSQL, Redis", "database", "2 APIs, 2 workers"]
    (hint,) = re.findall(r"next +\S*milpa (.*)", up.said)
    assert KIND in up.milpa(*hint.split())


def test_both_apis_and_both_workers_take_their_share(up: Up) -> None:
    answered: set[int] = set()
    workers = [up.folders.logs / f"worker-{number}.log" for number in (1, 2)]

    def both_have() -> bool:
        answered.add(who_answers(up))
        solve(up)
        return len(answered) == 2 and all("attempt_ended" in worker.read_text() for worker in workers)

    wait_until(both_have, 120)


def who_answers(up: Up) -> int:
    """Open a connection, and return the process id of the API that has taken it."""
    with httpx.Client() as http:
        answer = http.get(f"{up.url}/health/live")
        mine = answer.extensions["network_stream"].get_extra_info("client_addr")
        (api,) = [api for api in up.parts(*PARTS["API"]) if mine in {line.raddr for line in api.net_connections("tcp")}]
        return api.pid


def test_secrets_are_the_owners_alone_and_in_no_log(up: Up) -> None:
    for path in (up.folders.admin_key, up.folders.secrets):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    written = up.said + "".join(path.read_text(errors="replace") for path in up.folders.logs.iterdir())
    assert up.key not in written


def test_a_second_up_is_refused_and_told_the_address(up: Up) -> None:
    said = run_milpa("up", "--data-dir", str(up.folders.root), code=2)
    assert "already runs" in said
    assert up.url in said
    assert solve(up).state is JobState.SUCCEEDED


def test_a_port_that_is_taken_is_said_and_no_other_picked_in_silence(fresh: Up) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        said = run_milpa("up", "--data-dir", str(fresh.folders.root), "--port", port, code=2)
    assert f"Port {port}" in said
    assert "--port 0" in said
    assert fresh.family() == []


@pytest.mark.parametrize("name", PARTS)
def test_a_part_that_was_killed_comes_back_and_jobs_go_on(up: Up, name: str) -> None:
    before = up.part(*PARTS[name])
    before.kill()
    wait_until(lambda: re.search(rf"{name}( \d)? was ended by signal 9", up.said) is not None)
    wait_until(lambda: re.search(rf"{name}( \d)? serves again", up.said) is not None)
    assert up.part(*PARTS[name]) != before
    assert solve(up).state is JobState.SUCCEEDED


def test_a_client_goes_on_following_a_job_while_every_api_is_killed(up: Up) -> None:
    with Client(up.url, up.key, retries=20) as client:
        job = client.submit(KIND, client.example(KIND), files=["png", "pdf"])
        events = client.events(job)
        seen = [next(events)]
        for api in up.parts(*PARTS["API"]):
            api.kill()
        seen += events
        assert [event.seq for event in seen] == list(range(1, len(seen) + 1))
        assert seen[-1].type is EventType.SUCCEEDED
        assert client.job(job).state is JobState.SUCCEEDED


@pytest.mark.slow
def test_jobs_outlive_a_kill_of_everything_and_nothing_is_left_after_an_interrupt(fresh: Up) -> None:
    fresh.start("--workers", "2")
    key = fresh.key
    job = solve(fresh)
    assert fresh.parts("workers.compute"), "solver processes are of the family too: what is left of them is seen"
    fresh.kill_everything()
    fresh.start()
    assert fresh.key == key
    with Client(fresh.url, fresh.key) as client:
        assert client.job(job).state is JobState.SUCCEEDED
        assert client.result(job).outcome == "optimal"
    assert solve(fresh).state is JobState.SUCCEEDED
    assert fresh.end(signal.SIGINT) == 0
    assert fresh.family() == []
    assert not fresh.folders.address.exists()


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root can't become someone else")
def test_it_runs_as_an_ordinary_user_and_no_part_outlives_a_supervisor_that_was_killed() -> None:
    with milpa_up(ORDINARY if os.geteuid() == 0 else ()) as up:
        up.start()
        assert up.process is not None
        assert {process.uids().effective for process in up.family()} == {
            psutil.Process(up.process.pid).uids().effective
        }
        assert solve(up).state is JobState.SUCCEEDED
        up.process.kill()
        up.process.wait()
        wait_until(lambda: up.family() == [])
