import subprocess
import sys

import pytest

from milpa.jobs import FileFormat
from tests.renderers import samples
from workers.renderers import chart_specs, render

ANOTHER_PROCESS = """
import hashlib, sys
from milpa.jobs import FileFormat
from tests.renderers import samples
from workers.renderers import render
for file in render(samples.deals(), FileFormat(sys.argv[1]), stem="plan"):
    print(file.name, hashlib.sha256(file.data).hexdigest())
"""

LOADED_BY_IMPORT = """
import sys
import workers.renderers
print(sorted({"altair", "vl_convert", "reportlab", "xlsxwriter", "PIL", "bidi"} & set(sys.modules)))
workers.renderers.warm()
print(sorted({"altair", "vl_convert", "reportlab", "xlsxwriter", "PIL", "bidi"} & set(sys.modules)))
"""


def lines_of(program: str, *arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize("format", list(FileFormat))
def test_the_same_report_is_the_same_bytes_in_every_process(format: FileFormat) -> None:  # noqa: A002 (the house's word)
    assert lines_of(ANOTHER_PROCESS, format) == lines_of(ANOTHER_PROCESS, format)


def test_a_large_workbook_is_the_same_bytes_too() -> None:
    one, two = (render(samples.long_table(15_000), FileFormat.XLSX, stem="plan")[0].data for _ in range(2))
    assert one == two


def test_the_same_report_is_the_same_specifications() -> None:
    assert chart_specs(samples.every_chart()) == chart_specs(samples.every_chart())


def test_libraries_are_loaded_by_the_first_file_or_by_warm() -> None:
    assert lines_of(LOADED_BY_IMPORT) == ["[]", str(["PIL", "altair", "bidi", "reportlab", "vl_convert", "xlsxwriter"])]
