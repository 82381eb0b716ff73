"""Names of files, made from what callers wrote: safe on every file system and in every header."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milpa.jobs import FileFormat
from tests.renderers import samples
from workers.renderers import render
from workers.renderers.text import file_name, unique

TRICKS = [
    "../../etc/passwd",
    "..\\..\\windows\\win.ini",
    "/etc/passwd",
    "C:\\autoexec.bat",
    "a\x00.pdf",
    "\u202efdp.exe",
    "a\r\nX-Evil: 1",
    "con",
    "CON",
    "nul",
    "Com1",
    "LPT9",
    ".",
    "..",
    ".htaccess",
    "~root",
    "-rf",
    "name. ",
    "x" * 10_000,
    "",
    " ",
    "数",
    "a:b|c?d*e<f>g\"h'i`j$k;l",
]
SAFE = re.compile(r"[a-z0-9][a-z0-9-]{0,60}")
DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))}


@pytest.mark.parametrize("name", TRICKS, ids=range(len(TRICKS)))
def test_no_trick_leaves_a_name_that_is_more_than_a_name(name: str) -> None:
    assert SAFE.fullmatch(file_name(name))
    assert file_name(name) not in DEVICES


@pytest.mark.parametrize("name", TRICKS, ids=range(len(TRICKS)))
def test_files_of_a_job_of_any_name_have_safe_names(name: str) -> None:
    (file,) = render(samples.long_table(3), FileFormat.CSV, stem=name)
    stem, dot, ending = file.name.rpartition(".")
    assert SAFE.fullmatch(stem)
    assert (dot, ending) == (".", "csv")


@given(st.text(max_size=200))
def test_no_text_leaves_a_name_that_is_more_than_a_name(name: str) -> None:
    assert SAFE.fullmatch(file_name(name))
    assert file_name(name) not in DEVICES


@given(st.lists(st.sampled_from(["con", "a", "A", "x" * 90, "../a", ""]), max_size=8))
def test_names_beside_each_other_differ_on_every_file_system(names: list[str]) -> None:
    made = unique([file_name(name) for name in names], longest=80)
    assert len({name.casefold() for name in made}) == len(names)
