"""The whole of Milpa on one machine: PostgreSQL, Redis, the API and workers over one data directory."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import resources

from deploy.local import address
from deploy.local.accounts import die_with_parent
from deploy.local.environment import environment
from deploy.local.folders import DataDir
from deploy.local.lock import only_one
from deploy.local.processes import OWNER_MARK, Part
from deploy.local.readiness import Doorway
from deploy.local.servers import Servers
from deploy.local.supervisor import Supervisor
from deploy.local.teller import Teller
from milpa.errors import FatalError

_LOOK_SECONDS = 0.1
_WORKER_DRAIN_SECONDS = 15.0
_API_DRAIN_SECONDS = 8.0


class LocalStack:
    """A stack that runs. url: of its API."""

    def __init__(self, folders: DataDir, listening: socket.socket, workers: int, teller: Teller) -> None:
        self.folders = folders
        self.url = address.url(listening)
        self._servers = Servers(folders)
        self._listening = listening
        self._workers = workers
        self._teller = teller
        self._supervisor = Supervisor(teller.happened)

    def start(self) -> None:
        """Start everything and return when the API answers and workers wait for jobs."""
        with self._step("PostgreSQL, Redis"):
            self._servers.prepare()
            self._supervisor.start(*self._servers.parts)
        if not self._prepared():
            with self._step("database"):
                self._prepare_database()
        with self._step("API, worker" if self._workers == 1 else f"API, {self._workers} workers"):
            self._supervisor.start(self._api(), *(self._worker(number) for number in range(1, self._workers + 1)))
        self.folders.address.write_text(self.url)

    def watch(self) -> None:
        """Start again what dies, until interrupted."""
        while True:
            self._supervisor.look()
            time.sleep(_LOOK_SECONDS)

    def stop(self) -> None:
        """Let running work finish or go back to the queue, and stop everything."""
        self._supervisor.stop()

    def kill(self) -> None:
        """Stop everything now."""
        self._supervisor.kill()

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        self._teller.begin(name)
        yield
        self._teller.done(name, time.perf_counter() - began)

    def _environ(self) -> Mapping[str, str]:
        return {OWNER_MARK: str(self.folders.root), **environment(self._servers)}

    def _prepared(self) -> bool:
        """Tell whether the cluster has been prepared by a Milpa with the same migrations; asking it costs 1 s."""
        stamp = self._servers.postgres.stamp
        return self.folders.admin_key.exists() and stamp.exists() and stamp.read_text() == _migrations()

    def _prepare_database(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "deploy.local.prepare", str(self.folders.admin_key)],
            env={**os.environ, **self._environ()},
            capture_output=True,
            text=True,
            preexec_fn=lambda: die_with_parent(signal.SIGKILL),
            check=False,
        )
        if done.returncode != 0:
            raise FatalError("not_prepared", f"The database could not be prepared:\n{done.stderr.strip()}")
        self._servers.postgres.stamp.write_text(_migrations())

    def _api(self) -> Part:
        descriptor = self._listening.fileno()
        return Part(
            name="API",
            command=[sys.executable, "-m", "deploy.serve", "--fd", str(descriptor)],
            log=self.folders.logs / "api.log",
            ready=lambda: address.answers(self._listening, "/health/ready"),
            environ=self._environ(),
            stop_seconds=_API_DRAIN_SECONDS,
            pass_fds=(descriptor,),
        )

    def _worker(self, number: int) -> Part:
        doorway = Doorway(self.folders.sockets / f"worker-{number}.ready")
        return Part(
            name="worker" if self._workers == 1 else f"worker {number}",
            command=[sys.executable, "-m", "workers.main"],
            log=self.folders.logs / f"worker-{number}.log",
            ready=doorway.ready,
            environ={**self._environ(), **doorway.environ},
            stop_seconds=_WORKER_DRAIN_SECONDS,
        )


def _migrations() -> str:
    folder = resources.files("migrations").joinpath("versions")
    return "\n".join(sorted(file.name for file in folder.iterdir() if file.name.endswith(".py")))


@contextmanager
def running(folders: DataDir, host: str, port: int, workers: int, teller: Teller) -> Iterator[LocalStack]:
    """Start a stack, and stop it at the end, however that comes.

    An interrupt while it stops ends the wait and stops it at once. UsageError: the data directory or the port is taken.
    """
    folders.make()
    with only_one(folders), address.listen(host, port) as listening:
        stack = LocalStack(folders, listening, workers, teller)
        try:
            stack.start()
            yield stack
        finally:
            try:
                stack.stop()
            except KeyboardInterrupt:
                stack.kill()
