"""The supervisor over real little processes: it starts again what dies, and stops all in order."""

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deploy.local.processes import Part
from deploy.local.supervisor import Supervisor
from milpa.errors import FatalError
from tests.support.waiting import wait_until

WRITES_ITS_PID = "import os,sys,time; open(sys.argv[1],'a').write(f'{os.getpid()}\\n'); time.sleep(600)"
IGNORES_SIGTERM = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {WRITES_ITS_PID}"
TELLS_ITS_END = (
    "import os,signal,sys,time\n"
    "def end(*_):\n"
    "    time.sleep(float(sys.argv[2])); open(sys.argv[1] + '.order', 'a').write(sys.argv[3]); sys.exit()\n"
    "signal.signal(signal.SIGTERM, end); open(sys.argv[1] + sys.argv[3], 'w').close(); time.sleep(600)"
)


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def supervisor(told: list[str]) -> Iterator[Supervisor]:
    supervisor = Supervisor(told.append)
    yield supervisor
    supervisor.kill()


def part(folder: Path, program: str, *words: str, stop_seconds: float = 10) -> Part:
    pids = folder / "pids"
    return Part(
        name="sleeper",
        command=[sys.executable, "-c", program, str(pids), *words],
        log=folder / "log",
        ready=lambda: pids.exists() and pids.stat().st_size > 0,
        stop_seconds=stop_seconds,
    )


def pids(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "pids").read_text().split()]


def test_a_part_that_was_killed_is_started_again(tmp_path: Path, supervisor: Supervisor, told: list[str]) -> None:
    supervisor.start(part(tmp_path, WRITES_ITS_PID))
    os.kill(pids(tmp_path)[0], signal.SIGKILL)

    def again() -> bool:
        supervisor.look()
        return len(pids(tmp_path)) == 2 and told[-1] == "sleeper serves again"

    wait_until(again)
    assert told[0].startswith("sleeper was ended by signal 9; starting it again")
    assert psutil.pid_exists(pids(tmp_path)[1])


def test_a_part_that_keeps_dying_is_started_ever_more_rarely(
    tmp_path: Path, supervisor: Supervisor, told: list[str]
) -> None:
    ready = [True]
    dying = Part(
        name="dying",
        command=[sys.executable, "-c", "import sys; sys.exit('no luck today')"],
        log=tmp_path / "log",
        ready=lambda: ready.pop() if ready else False,
    )
    supervisor.start(dying)

    def three_deaths() -> bool:
        supervisor.look()
        return len([line for line in told if "starting it again" in line]) == 3

    wait_until(three_deaths)
    delays = [float(line.split()[-2]) for line in told if "starting it again" in line]
    assert delays == [0.25, 0.5, 1.0]
    assert "no luck today" in told


def test_a_part_that_cannot_start_says_why(tmp_path: Path, supervisor: Supervisor) -> None:
    with pytest.raises(FatalError, match="no such luck"):
        supervisor.start(part(tmp_path, "import sys; sys.exit('no such luck')"))


def test_a_part_that_ignores_the_request_to_end_is_killed(tmp_path: Path, supervisor: Supervisor) -> None:
    supervisor.start(part(tmp_path, IGNORES_SIGTERM, stop_seconds=0.2))
    supervisor.stop()
    assert not psutil.pid_exists(pids(tmp_path)[0])


def test_parts_stop_in_the_reverse_order_of_their_start(tmp_path: Path, supervisor: Supervisor) -> None:
    for word in ("first", "second"):
        made = part(tmp_path, TELLS_ITS_END, "0.2", word)
        supervisor.start(Part(name=word, command=made.command, log=made.log, ready=(tmp_path / f"pids{word}").exists))
    supervisor.stop()
    assert (tmp_path / "pids.order").read_text() == "secondfirst"


def test_an_interrupt_of_the_terminal_does_not_reach_the_parts(tmp_path: Path, supervisor: Supervisor) -> None:
    supervisor.start(part(tmp_path, WRITES_ITS_PID))
    assert os.getsid(pids(tmp_path)[0]) != os.getsid(0)


def test_a_log_is_kept_small_while_its_part_writes_on(tmp_path: Path, told: list[str]) -> None:
    chatters = "import sys,time\nfor n in range(10**9): print('line', n, flush=True); time.sleep(0.0002)"
    supervisor = Supervisor(told.append, log_bytes=20_000)
    supervisor.start(
        Part(name="chatterbox", command=[sys.executable, "-c", chatters], log=tmp_path / "log", ready=lambda: True)
    )
    cuts, largest, before = 0, 0, 0

    def cut_twice() -> bool:
        nonlocal cuts, largest, before
        size = (tmp_path / "log").stat().st_size
        cuts, largest, before = cuts + (size < before), max(largest, size), size
        supervisor.look()
        return cuts == 2

    wait_until(cut_twice)
    supervisor.kill()
    assert largest < 2_000_000
    aside, now = (tmp_path / "log.1").read_text().splitlines(), (tmp_path / "log").read_text().splitlines()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1"]
    assert aside[0].startswith("line")
    assert int(now[-1].split()[1]) > int(aside[0].split()[1])


def test_a_part_inherits_no_descriptor_but_those_given(tmp_path: Path, supervisor: Supervisor) -> None:
    with socket.socket() as given, (tmp_path / "other").open("w"):
        made = part(tmp_path, WRITES_ITS_PID)
        supervisor.start(
            Part(name="sleeper", command=made.command, log=made.log, ready=made.ready, pass_fds=(given.fileno(),))
        )
        held = sorted(int(entry.name) for entry in Path(f"/proc/{pids(tmp_path)[0]}/fd").iterdir())
        assert held == [0, 1, 2, given.fileno()]
