"""The secrets of a local stack: made once, kept in a file that only its owner reads."""

import base64
import os
import secrets
from pathlib import Path

import msgspec


class Secrets(msgspec.Struct, frozen=True):
    """What seals payloads and signs links, in the form of the settings of the same names."""

    seal_keys: str
    signing_key: str


def load_or_make(path: Path) -> Secrets:
    """Return the secrets in `path`, made on first use."""
    if not path.exists():
        key = base64.b64encode(secrets.token_bytes(32)).decode()
        made = Secrets(seal_keys=f"local:{key}", signing_key=secrets.token_urlsafe(48))
        write_private(path, msgspec.json.encode(made))
    return msgspec.json.decode(path.read_bytes(), type=Secrets)


def write_private(path: Path, data: bytes) -> None:
    """Write a file of mode 0600, whole or not at all."""
    making = path.with_name(f"{path.name}.making")
    making.unlink(missing_ok=True)
    with os.fdopen(os.open(making, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    making.rename(path)
