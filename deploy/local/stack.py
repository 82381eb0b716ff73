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
from typing import Any

from deploy.local import address
from deploy.local.accounts import die_with_parent
from deploy.local.environment import environment
from deploy.local.folders import DataDir
from deploy.local.lock import only_one
from deploy.local.processes import Part
from deploy.local.readiness import Doorway
from deploy.local.servers import Servers
from deploy.local.supervisor import Supervisor
from deploy.local.teller import Teller
from milpa.bare_environment import OWNER_MARK
from milpa.errors import FatalError
from milpa.settings import Settings

_LOOK_SECONDS = 0.1
_WORKER_DRAIN_SECONDS = 15.0
_API_DRAIN_SECONDS = 8.0


class LocalStack:
    """A stack that runs. url: of its API."""

    def __init__(self, folders: DataDir, listening: socket.socket, apis: int, workers: int, teller: Teller) -> None:
        self.folders = folders
        self.url = address.url(listening)
        self._servers = Servers(folders)
        self._listening = listening
        self._apis = apis
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
        with self._step(f"{_count('API', self._apis)}, {_count('worker', self._workers)}"):
            self._supervisor.start(
                *(self._api(number) for number in range(1, self._apis + 1)),
                *(self._worker(number) for number in range(1, self._workers + 1)),
            )
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

    def _api(self, number: int) -> Part:
        descriptor = self._listening.fileno()
        return self._part(
            "API" if self._apis == 1 else f"API {number}",
            f"api-{number}",
            ["deploy.serve", "--fd", str(descriptor)],
            stop_seconds=_API_DRAIN_SECONDS,
            pass_fds=(descriptor,),
        )

    def _worker(self, number: int) -> Part:
        name = "worker" if self._workers == 1 else f"worker {number}"
        return self._part(name, f"worker-{number}", ["workers.main"], stop_seconds=_WORKER_DRAIN_SECONDS)

    def _part(self, name: str, file_name: str, module: list[str], **more: Any) -> Part:
        doorway = Doorway(self.folders.sockets / f"{file_name}.ready")
        return Part(
            name=name,
            command=[sys.executable, "-m", *module],
            log=self.folders.logs / f"{file_name}.log",
            ready=doorway.ready,
            environ={**self._environ(), **doorway.environ},
            **more,
        )


def _count(name: str, number: int) -> str:
    return name if number == 1 else f"{number} {name}s"


def _migrations() -> str:
    folder = resources.files("migrations").joinpath("versions")
    return "\n".join(sorted(file.name for file in folder.iterdir() if file.name.endswith(".py")))


@contextmanager
def running(
    folders: DataDir, host: str, port: int, workers: int, teller: Teller, *, apis: int = 1
) -> Iterator[LocalStack]:
    """Start a stack, and stop it at the end, however that comes.

    An interrupt while it stops ends the wait and stops it at once. UsageError: a setting of the environment
    can't be meant, or the data directory or the port is taken.
    """
    Settings.from_env()  # what every part would refuse is said once, before any is started
    folders.make()
    with only_one(folders), address.listen(host, port) as listening:
        stack = LocalStack(folders, listening, apis, workers, teller)
        try:
            stack.start()
            yield stack
        finally:
            try:
                stack.stop()
            except KeyboardInterrupt:
                stack.kill()
