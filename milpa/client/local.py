"""Where the API is and who asks: what was given, else the environment, else a stack running in this folder."""

import os
from pathlib import Path

from milpa.errors import UsageError

DEFAULT_URL = "http://127.0.0.1:8080"
DATA_DIR = ".milpa"
KEY_FILE, ADDRESS_FILE = "admin.key", "address"
"""Written by `milpa up` into its data directory: the admin's API key, and the address while it runs."""


def find_url(url: str | None) -> str:
    """Return the given address, else `MILPA_URL`, else that of the local stack. UsageError `bad_url`: it is none."""
    found = url or os.environ.get("MILPA_URL") or _local(ADDRESS_FILE) or DEFAULT_URL
    if not found.startswith(("http://", "https://")):
        raise UsageError("bad_url", f"The address of Milpa begins with http:// or https://, and {found!r} does not.")
    return found.rstrip("/")


def find_key(api_key: str | None) -> str:
    """Return the given key, else `MILPA_API_KEY`, else the local admin's.

    UsageError `no_api_key`: there is none; `bad_api_key`: no header can hold it.
    """
    key = api_key or os.environ.get("MILPA_API_KEY") or _local(KEY_FILE)
    if not key:
        raise UsageError(
            "no_api_key",
            f"No API key: give api_key, set MILPA_API_KEY, or start `milpa up` here ({data_dir()} holds none; "
            "MILPA_DATA_DIR names another folder).",
        )
    if not (key.isascii() and key.isprintable()):
        raise UsageError("bad_api_key", "This is no API key: it has characters that no key has.")
    return key


def data_dir() -> Path:
    """Return the folder of the stack at hand: `MILPA_DATA_DIR`, else the one in this folder."""
    return Path(os.environ.get("MILPA_DATA_DIR") or DATA_DIR)


def _local(name: str) -> str | None:
    try:
        return (data_dir() / name).read_text().strip()
    except OSError:
        return None
