"""What the README shows works as it stands."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from milpa import Client
from tests.support.milpa_up import MILPA, Up

README = (Path(__file__).parents[2] / "README.md").read_text()
ACTIVATE = ". .venv/bin/activate\n"


def test_the_commands_run_one_after_the_other_beside_a_milpa_up(up: Up, tmp_path: Path) -> None:
    commands = README.partition(ACTIVATE)[2].partition("```")[0].splitlines()
    assert len(commands) == 5
    for command in commands:
        program, *words = shlex.split(command, comments=True)
        assert program == "milpa"
        done = subprocess.run(
            [MILPA, *words], env=dict(up.environ), cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    assert {path.suffix for path in tmp_path.rglob("*.*")} >= {".csv", ".xlsx", ".pdf"}
    with Client(up.url, up.key) as client:
        (newest,) = client.jobs(1)
    second, first = 2_600_000 * (0.072 - 0.1 * 0.11), 2_400_000 * (0.061 - 0.1 * 0.05)
    assert newest.objective == pytest.approx(second + first), "all of the second deal, and of the first what is left"


def test_milpa_is_called_by_its_name_once_the_readme_said_how_it_is_found() -> None:
    before, _, after = README.partition(ACTIVATE)
    assert not re.findall(r"^milpa \w+", before, re.MULTILINE)
    assert ".venv/bin/milpa" not in after


def test_the_python_example_runs_beside_a_milpa_up(up: Up, tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", example], env=dict(up.environ), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "succeeded" in done.stdout
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".xlsx", ".pdf"}


def test_the_body_posted_with_curl_gives_the_answer_told_below_it(client: Client) -> None:
    body = json.loads(re.findall(r"-d '(\{.*?\})'\n", README, re.DOTALL)[0])
    job = client.submit("deal-picker", body["problem"], files=body["files"], wait=20)
    assert job.objective == pytest.approx(9400)
    whole = client.submit("deal-picker", {**body["problem"], "mode": "whole"}, wait=20)
    assert whole.objective == pytest.approx(7600)
