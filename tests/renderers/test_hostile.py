import csv
import io
import re

import openpyxl
import pypdf
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from milpa.jobs import FileFormat
from solvers.report import Report
from tests.renderers import samples
from workers.renderers import chart_specs, render

NASTY = [
    '=HYPERLINK("http://example.com","x")',
    "+1+1",
    "-2+3",
    "@SUM(A1:A9)",
    "{=1+1}",
    "\x00\x01\x1f\x7f\x9b",
    "line\r\nbreak\ttab",
    "a" * 40_000,
    "word " * 8_000,
    "👩‍👩‍👧‍👦🏳️‍🌈🏠",
    "🏠" * 40,
    "\u202eevil\u2066",
    "שלום (עולם) 123 abc",
    "مرحبا بالعالم",
    "हिन्दी ภาษาไทย 中文 日本語 한국어",
    "e\u0301" * 50,
    "\u0301" * 20,
    "\ud800",
    "\uffff\ufffe",
    "<b>&amp;</para>]]>",
    "{{7*7}}${7*7}",
    "../../etc/passwd",
    "",
    " ",
    "'",
    "_x0041_",
]
hostile_text = st.one_of(
    st.sampled_from(NASTY),
    st.text(alphabet=st.characters(), max_size=120),
    st.text(alphabet="=+-@'\"<>&{}[]:*?/\\|;,.\n\t\r\u05d0\u0627\u202e\u200f\U0001f600\ud83d", max_size=60),
)
few = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def only(report: Report, format: FileFormat) -> bytes:  # noqa: A002 (the house's word)
    (file,) = render(report, format, stem=report.title)
    assert re.fullmatch(r"[a-z0-9-]+\.[a-z]+", file.name)
    return file.data


def check_xlsx(text: str) -> None:
    book = openpyxl.load_workbook(io.BytesIO(only(samples.hostile(text), FileFormat.XLSX)))
    page = book[book.sheetnames[1]]
    assert [page["B2"].value, page["B3"].value, page["B5"].value] == [1, 2, "=SUM(B2:B4)"]
    for sheet in book:
        for row in sheet.iter_rows():
            for cell in row:
                assert cell.data_type != "f" or re.fullmatch(r"=SUM\(B2:B4\)|='([^']|'')*'!\$B\$[23]", cell.value)


def check_csv(text: str) -> None:
    rows = list(csv.reader(io.StringIO(only(samples.hostile(text), FileFormat.CSV).decode("utf-8-sig"), newline="")))
    assert [row[1] for row in rows[1:]] == ["1.0", "2.0", ""]
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row)


def check_pdf(text: str) -> None:
    reader = pypdf.PdfReader(io.BytesIO(only(samples.hostile(text), FileFormat.PDF)), strict=True)
    pages = [page.extract_text() for page in reader.pages]
    for number, page in enumerate(pages, start=1):
        assert f"Page {number} of {len(pages)}" in page
    assert re.search(r"Total\s+3\b", " ".join(pages))


def check_png(text: str) -> None:
    picture = Image.open(io.BytesIO(only(samples.hostile(text), FileFormat.PNG)))
    picture.load()
    (made,) = chart_specs(samples.hostile(text))
    assert "http" not in made.spec.get("usermeta", "")


CHECKS = {check.__name__: check for check in (check_xlsx, check_csv, check_pdf, check_png)}


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
@pytest.mark.parametrize("check", CHECKS)
def test_no_known_trick_breaks_a_file(check: str, text: str) -> None:
    CHECKS[check](text)


@pytest.mark.parametrize("check", CHECKS)
@few
@given(text=hostile_text)
def test_no_text_breaks_a_file(check: str, text: str) -> None:
    CHECKS[check](text)
