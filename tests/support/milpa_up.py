"""A `milpa up` of its own, as a person starts it: a process, a data directory, a terminal's worth of output."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from deploy.local.folders import DataDir
from deploy.local.processes import orphans
from tests.support.planted import WATCH
from tests.support.stack import temporary_folder
from tests.support.waiting import wait_until

MILPA = str(Path(sys.executable).with_name("milpa"))
START_SECONDS = 120.0


class Up:
    """One data directory and the `milpa up` on it, which may be started, ended and started again."""

    def __init__(self, folder: Path, prefix: Sequence[str] = ()) -> None:
        self.folders = DataDir(folder / "data")
        self.output = folder / "output"
        self._prefix = prefix
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        """Start it and return when it says it is ready."""
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [*self._prefix, MILPA, "up", "--data-dir", str(self.folders.root), "--port", "0", *options],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environ,
            )
        wait_until(self._started, START_SECONDS)

    def end(self, number: int = signal.SIGINT) -> int:
        """Send the signal and return the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(START_SECONDS)

    def kill_everything(self) -> None:
        """Kill -9: the supervisor and every process it started, at once."""
        assert self.process is not None
        for process in [psutil.Process(self.process.pid), *self.family()]:
            if process.is_running():
                process.kill()
        self.process.wait(START_SECONDS)

    def family(self) -> list[psutil.Process]:
        """Return every process that belongs to the data directory, but the supervisor."""
        return orphans(self.folders.root, frozenset({str(self.folders.postgres), str(self.folders.redis)}))

    def part(self, *words: str) -> psutil.Process:
        """Return the oldest process of the stack whose command line has these words."""
        return min(self.parts(*words), key=lambda process: process.create_time())

    def parts(self, *words: str) -> list[psutil.Process]:
        """Return the processes of the stack whose command line has these words."""
        return [process for process in self.family() if all(word in _line(process) for word in words)]

    @property
    def said(self) -> str:
        """What it has printed so far."""
        return self.output.read_text()

    @property
    def environ(self) -> Mapping[str, str]:
        """Environment of a person who works beside it."""
        mine = {name: value for name, value in os.environ.items() if not name.startswith("MILPA_")}
        return {**mine, "MILPA_DATA_DIR": str(self.folders.root), "COLUMNS": "120", "PYTHONUNBUFFERED": "1"}

    @property
    def url(self) -> str:
        return self.folders.address.read_text()

    @property
    def key(self) -> str:
        return self.folders.admin_key.read_text().strip()

    def milpa(self, *words: str, code: int = 0, stderr: bool = True) -> str:
        """Run a command beside it, hold it to its exit code, and return what it printed."""
        return run_milpa(*words, code=code, stderr=stderr, environ=self.environ, folder=self.folders.root)

    def _started(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.said
        return "Ctrl-C stops everything" in self.said


def _line(process: psutil.Process) -> str:
    """Return its command line as it was when the family was looked for: a solver may be gone by now."""
    info: dict[str, list[str] | None] = process.info
    return " ".join(info["cmdline"] or [])


def run_milpa(
    *words: str,
    code: int = 0,
    stderr: bool = True,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> str:
    """Run a command, hold it to its exit code, and return what it printed."""
    done = subprocess.run(
        [MILPA, *words],
        env={**os.environ, "COLUMNS": "120", **(environ or {})},
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + (done.stderr if stderr else "")


@contextmanager
def milpa_up(prefix: Sequence[str] = ()) -> Iterator[Up]:
    """A fresh data directory whose `milpa up` is not started yet, and gone at the end whatever happened."""
    with temporary_folder() as folder:
        folder.chmod(0o777)
        up = Up(folder, prefix)
        try:
            yield up
        finally:
            if up.process is not None and up.process.poll() is None:
                up.kill_everything()
            WATCH.look([up.folders.logs, up.output])
