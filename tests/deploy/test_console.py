"""How the command line calls itself in its hints."""

import sys
from pathlib import Path

import pytest

from deploy.local.folders import DataDir
from deploy.local.up import next_command
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


def test_the_next_command_names_a_data_directory_that_it_would_not_find(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(installed.parent))
    monkeypatch.delenv("MILPA_DATA_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    assert next_command(DataDir(Path(".milpa"))) == "milpa kinds"
    elsewhere = DataDir(tmp_path / "my data")
    assert next_command(elsewhere) == f"MILPA_DATA_DIR='{elsewhere.root}' milpa kinds"
    monkeypatch.setenv("MILPA_DATA_DIR", str(elsewhere.root))
    assert next_command(elsewhere) == "milpa kinds"
