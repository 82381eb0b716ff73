"""Readiness as whoever started the process hears it."""

import socket
from pathlib import Path

import pytest

from milpa.readiness import say_ready


@pytest.mark.parametrize("abstract", [False, True])
def test_readiness_is_told_as_systemd_expects_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool
) -> None:
    name = f"@milpa-{tmp_path.name}" if abstract else str(tmp_path / "ready")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as doorway:
        doorway.bind("\0" + name[1:] if abstract else name)
        doorway.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        say_ready()
        assert doorway.recv(100) == b"READY=1"


def test_nobody_to_tell_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    say_ready()
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    say_ready()
