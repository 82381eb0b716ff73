"""Where the embedded stack keeps things: one folder holds all of its state."""

import hashlib
import os
import stat
import tempfile
from pathlib import Path

from milpa.errors import UsageError

_SOCKET_PATH_BYTES = 90
"""A unix socket's path is cut at 108 bytes (104 on macOS); `/.s.PGSQL.5432` must still fit behind it."""


class DataDir:
    """The paths below one data directory. Its name is absolute, so that it can serve as the stack's identity."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.postgres = self.root / "postgres"
        self.redis = self.root / "redis"
        self.objects = self.root / "objects"
        self.logs = self.root / "logs"
        self.secrets = self.root / "secrets.json"
        self.seal_keys = self.root / "seal.keys"
        self.admin_key = self.root / "admin.key"
        self.address = self.root / "address"
        self.lock = self.root / "up.lock"

    @property
    def sockets(self) -> Path:
        """The folder of the sockets: below the root, or a short one beside it in /tmp where that is too long."""
        inside = self.root / "run"
        if len(os.fsencode(inside)) <= _SOCKET_PATH_BYTES:
            return inside
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"milpa-{os.geteuid()}-{digest}"

    def make(self) -> None:
        """Make the folders. Others may pass through the root, for PostgreSQL has its own account, but read nothing.

        UsageError: the folder can't be made, or the sockets' folder in /tmp is someone else's trap.
        """
        try:
            self.root.mkdir(mode=0o711, parents=True, exist_ok=True)
            for folder in (self.redis, self.objects, self.logs, self.sockets):
                folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise UsageError("data_dir", f"Can't use {self.root} as data directory: {error.strerror}.") from error
        found = self.sockets.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o077:
            raise UsageError("socket_dir", f"{self.sockets} must be a folder that only its owner may enter; remove it.")
