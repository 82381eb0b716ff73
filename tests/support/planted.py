"""Planted in what callers give, and looked for in every log of the run: it may be in none."""

import base64
from collections.abc import Iterable, Iterator
from pathlib import Path

MARK = "zwetschge5e2c"
"""In no code, no path and no random id."""

NAME = f"Maria {MARK}"
EMAIL = f"{MARK}@example.org"
URL = f"https://user:{MARK}@example.org/hook?token={MARK}"
KEY = f"mlp_0123456789ab_{MARK}"
JWT = ".".join(
    base64.urlsafe_b64encode(part.encode()).decode().rstrip("=")
    for part in ('{"alg":"HS256","typ":"JWT"}', f'{{"sub":"{EMAIL}","name":"{NAME}"}}', MARK)
)


def _spellings() -> Iterator[bytes]:
    """Yield the mark, and how it looks inside base64 at each of its three places."""
    yield MARK.encode()
    for before in range(3):
        packed = base64.b64encode(b"\0" * before + MARK.encode() + b"\0" * 3).decode()
        yield packed[4:16].encode()


SPELLINGS = tuple(_spellings())


def leaks(*paths: Path) -> list[str]:
    """Return the lines of these files, and of all files in these folders, that hold the mark."""
    found = [path for path in paths for path in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    return [
        f"{path.name}:{number}: {line[:300]!r}"
        for path in found
        if path.is_file()
        for number, line in enumerate(path.read_bytes().splitlines(), 1)
        if marked(line)
    ]


def marked(line: bytes) -> bool:
    """Tell whether the line holds the mark in one of its spellings."""
    return any(spelling in line for spelling in SPELLINGS)


class Watch:
    """What has been found in logs so far, in this test process."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.looked_at = 0

    def look(self, paths: Iterable[Path]) -> None:
        """Look through the logs of processes that have ended, before they are thrown away."""
        paths = [path for path in paths if path.exists()]
        self.looked_at += len(paths)
        self.found += leaks(*paths)


WATCH = Watch()
