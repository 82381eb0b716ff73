"""How the command line calls itself in its hints."""

import sys
from pathlib import Path

import pytest

from deploy.terminal.console import program


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in a folder of its own, called by its path."""
    path = tmp_path / "bin" / "milpa"
    path.parent.mkdir()
    path.touch(mode=0o755)
    monkeypatch.setattr(sys, "argv", [str(path), "up"])
    return path


def test_what_is_not_on_the_path_is_called_as_it_was_called(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert program() == str(installed)


def test_what_is_on_the_path_is_called_by_its_name(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(installed.parent))
    assert program() == "milpa"


def test_another_of_the_same_name_on_the_path_is_not_taken_for_this_one(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "milpa"
    other.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program() == str(installed)
