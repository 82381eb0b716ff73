"""What `make audit` makes of pip-audit's answers: never clean when nothing was looked at."""

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
AUDIT = runpy.run_path(str(ROOT / ".ci/audit.py"))
CLEAN = {"name": "litestar", "version": "2.25.0", "vulns": []}
HOLE = {"name": "arq", "version": "0.28", "vulns": [{"id": "GHSA-1", "fix_versions": ["0.29"], "aliases": []}]}
SKIPPED = {"name": "idna", "skip_reason": "Dependency not found"}


@pytest.mark.parametrize(
    ("packages", "code", "words"),
    [
        ([CLEAN], 0, "1 packages, no known vulnerability"),
        ([CLEAN, HOLE], 1, "GHSA-1"),
        ([CLEAN, HOLE, SKIPPED], 1, "arq 0.28"),
        ([CLEAN, SKIPPED], 2, "INCOMPLETE, not audited: idna"),
    ],
)
def test_an_answer_is_read(packages: list[Any], code: int, words: str) -> None:
    told, found = AUDIT["verdict"]("x.lock", json.dumps({"dependencies": packages, "fixes": []}), "")
    assert found == code
    assert words in told


def test_no_answer_is_not_a_clean_one() -> None:
    told, code = AUDIT["verdict"]("x.lock", "", "Traceback …\nConnectionError: away")
    assert code == 2
    assert told == "x.lock: ADVISORY SERVICE UNREACHABLE, nothing was audited.\n  ConnectionError: away"


def test_what_is_installed_is_what_the_lock_says(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert AUDIT["compare"]("requirements-dev.lock") == 0
    other = tmp_path / "other.lock"
    lock = (ROOT / "requirements-dev.lock").read_text()
    other.write_text(re.sub(r"^msgspec==\S+", "msgspec==0.0.1", lock, flags=re.MULTILINE))
    assert AUDIT["compare"](str(other)) == 1
    assert "something else" in capsys.readouterr().out


def test_weaknesses_that_bandit_knows_are_found_and_there_is_none(tmp_path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert "bandit --quiet --configfile pyproject.toml" in makefile[makefile.index("lint:") : makefile.index("audit:")]
    planted = tmp_path / "planted.py"
    planted.write_text("import hashlib\nname = hashlib.md5(b'x').hexdigest()\n")
    bandit = [Path(sys.executable).parent / "bandit", "--quiet", "--configfile", "pyproject.toml"]
    found = subprocess.run([*bandit, planted], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (found.returncode, "B324" in found.stdout) == (1, True)
