"""The secrets of a local stack: made once, kept in files that only their owner reads."""

import os
import secrets
from pathlib import Path

import msgspec

from deploy.local.folders import DataDir
from storage.seal import new_key


class Secrets(msgspec.Struct, frozen=True, omit_defaults=True):
    """What signs links, in the form of the setting. seal_keys: where a data directory had its key ring once."""

    signing_key: str
    seal_keys: str = ""


def load_or_make(folders: DataDir) -> Secrets:
    """Return the secrets of a data directory, made on first use, its key ring in a file of its own beside them."""
    if not folders.secrets.exists():
        write_private(folders.secrets, msgspec.json.encode(Secrets(signing_key=secrets.token_urlsafe(48))))
    found = msgspec.json.decode(folders.secrets.read_bytes(), type=Secrets)
    if not folders.seal_keys.exists():
        write_private(folders.seal_keys, f"{found.seal_keys or new_key('local')}\n".encode())
    return found


def write_private(path: Path, data: bytes) -> None:
    """Write a file of mode 0600, whole or not at all."""
    making = path.with_name(f"{path.name}.making")
    making.unlink(missing_ok=True)
    with os.fdopen(os.open(making, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    making.rename(path)
