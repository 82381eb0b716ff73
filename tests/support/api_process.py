"""The API as processes of their own, on sockets of the test's choice."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy.local.readiness import Doorway
from milpa.settings import Settings
from tests.faults.crew import environ_of
from tests.support.planted import WATCH
from tests.support.waiting import wait_until

READY_SECONDS = 60.0


@contextmanager
def listening() -> Iterator[socket.socket]:
    """A socket that listens on a free port of this machine."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listening:
        yield listening


def address_of(listening: socket.socket) -> str:
    return f"http://127.0.0.1:{listening.getsockname()[1]}"


@contextmanager
def api_process(settings: Settings, listening: socket.socket) -> Iterator[subprocess.Popen[bytes]]:
    """One API process that serves on this socket by now; several may share one."""
    with TemporaryDirectory(prefix="milpa-api-") as folder:
        doorway = Doorway(Path(folder) / "ready")
        command = [sys.executable, "-m", "deploy.serve", "--fd", str(listening.fileno())]
        environ, log = environ_of(settings) | doorway.environ, Path(folder) / "api.log"
        with (
            log.open("wb") as stderr,
            subprocess.Popen(command, env=environ, pass_fds=[listening.fileno()], stderr=stderr) as process,
        ):
            try:
                wait_until(doorway.ready, READY_SECONDS)
                yield process
            finally:
                process.kill()
        WATCH.look([log])
