"""`milpa demo`: one command, and a person holds an Excel file, a PDF and a chart."""

import re
import zipfile

import pytest

from deploy.local.folders import DataDir
from deploy.local.processes import orphans
from tests.support.milpa_up import run_milpa
from tests.support.stack import temporary_folder


@pytest.mark.slow
def test_the_demo_ends_with_figures_words_and_files_and_leaves_nothing_running() -> None:
    with temporary_folder() as folder:
        out = folder / "files"
        narrow = {"COLUMNS": "80"}
        said = run_milpa("demo", "--data-dir", str(folder / "data"), "--out", str(out), environ=narrow)
        files = {path.suffix: path for path in sorted(out.iterdir())}
        assert set(files) >= {".xlsx", ".pdf", ".png"}
        assert zipfile.is_zipfile(files[".xlsx"])
        assert files[".pdf"].read_bytes().startswith(b"%PDF")
        assert files[".png"].read_bytes().startswith(b"\x89PNG")
        assert all(str(path) in said for path in out.iterdir())
        assert "optimal" in said
        (hint,) = re.findall(r"^Next: .*", said, re.MULTILINE)
        assert hint.endswith("submit deal-picker --example --wait"), "in one line, to be copied"
        words = " ".join(said.split())  # whatever the width, and so the breaks of lines
        assert "932 real sales in Sacramento" in words
        assert "Yield a year 1,672,289 USD" in words
        assert "• One more USD of budget earns 0.04641, exact between 24,996,226 and 25,003,762." in words
        assert "• One more per cent of the budget for sector Residential earns 622 USD" in words
        assert re.search(r"• S384 would enter the plan at a yield above 6\.762 %", words)
        folders = DataDir(folder / "data")
        assert orphans(folders.root, frozenset({str(folders.postgres), str(folders.redis)})) == []
