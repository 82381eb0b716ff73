"""One `milpa up` per data directory. The kernel holds the lock, so that it never outlives its process."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from deploy.local.folders import DataDir
from milpa.errors import UsageError


@contextmanager
def only_one(folders: DataDir) -> Iterator[None]:
    """Hold the data directory. UsageError `already_running`: someone else does; the message says who and where."""
    with folders.lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise UsageError("already_running", _who(folders, file.read().strip())) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        folders.address.unlink(missing_ok=True)
        try:
            yield
        finally:
            folders.address.unlink(missing_ok=True)


def _who(folders: DataDir, pid: str) -> str:
    where = folders.address.read_text().strip() if folders.address.exists() else "an address not yet known"
    return f"Milpa already runs on {folders.root}: {where} (process {pid})."
