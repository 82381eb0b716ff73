"""PostgreSQL and Redis of one data directory: made, started and stopped together."""

import signal
import subprocess

from deploy.local.accounts import give
from deploy.local.folders import DataDir
from deploy.local.postgres import Postgres
from deploy.local.processes import Part, end, orphans, start, stop, wait_ready
from deploy.local.redis import Redis


class Servers:
    """The two servers behind a stack.

    `start` is for those who need nothing but them; `milpa up` supervises the parts itself.
    """

    def __init__(self, folders: DataDir, *, durable: bool = True) -> None:
        self.folders = folders
        folders.make()
        self.postgres = Postgres(folders.postgres, folders.sockets, folders.logs / "postgres.log", durable=durable)
        self.redis = Redis(folders.redis, folders.sockets, folders.logs / "redis.log")
        self._running: list[tuple[Part, subprocess.Popen[bytes]]] = []

    @property
    def parts(self) -> list[Part]:
        """PostgreSQL and Redis, in this order."""
        return [self.postgres.part, self.redis.part]

    @property
    def folder_names(self) -> frozenset[str]:
        """What tells these servers from those of another stack in a list of processes."""
        return frozenset({str(self.folders.postgres), str(self.folders.redis)})

    def prepare(self) -> None:
        """End what a killed supervisor left running, and make the database cluster when there is none."""
        left = orphans(self.folders.root, self.folder_names)
        end(left, signal.SIGINT, seconds=10)
        give(self.folders.sockets, self.postgres.account)
        give(self.folders.redis, self.redis.account)
        self.postgres.prepare()

    def start(self) -> None:
        """Prepare, start both, and return once both serve."""
        self.prepare()
        self._running = [(part, start(part)) for part in self.parts]
        for part, process in self._running:
            wait_ready(part, process)

    def stop(self) -> None:
        """Stop both."""
        for part, process in self._running:
            stop(part, process)
        self._running = []
