"""Logs hold what is listed; all other text is masked, and errors are told without their own words."""

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast
from uuid import uuid4

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from milpa.logging import MASK, SHOWN, configure, mask
from tests.support.planted import EMAIL, JWT, KEY, NAME, URL, marked

SECRETS = [NAME, EMAIL, KEY, JWT, URL]


def fail(text: str) -> None:
    raise ValueError(text)


class Log(io.StringIO):
    """A log in memory, line by line."""

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


@pytest.fixture
def log() -> Iterator[Log]:
    before, handlers, hook = structlog.get_config(), logging.root.handlers[:], sys.excepthook
    log = Log()
    configure("debug", to=cast("TextIO", log))
    yield log
    structlog.configure(**before)
    logging.root.handlers[:] = handlers
    sys.excepthook = hook


@given(st.dictionaries(st.text(), st.one_of(st.text(), st.binary(), st.lists(st.text()), st.integers(), st.none())))
def test_no_text_is_shown_under_a_key_that_is_not_listed(event: dict[str, Any]) -> None:
    shown = mask(None, "info", dict(event))
    for key, value in shown.items():
        assert key in SHOWN or value == MASK or value is None or isinstance(value, int)
        assert key not in SHOWN or value == event[key]
    assert shown.keys() == event.keys()


def test_figures_and_ids_are_shown(log: Log) -> None:
    id_ = uuid4()
    structlog.get_logger().info("did", job=str(id_), other=3, seconds=0.5, deal="Quince", key=id_, tags=["Quince"])
    [line] = log.lines
    assert (line["event"], line["job"], line["other"], line["seconds"]) == ("did", str(id_), 3, 0.5)
    assert line["deal"] == line["tags"] == MASK
    assert line["key"] == repr(id_)


@pytest.mark.parametrize("secret", SECRETS)
def test_an_error_is_told_by_type_and_place(log: Log, secret: str) -> None:
    try:
        try:
            fail(secret)
        except ValueError as error:
            raise KeyError(secret) from error
    except KeyError:
        structlog.get_logger().exception("broke")
        logging.getLogger("library").exception("It broke over %s", secret)
    for line in log.lines:
        assert line["error"] == ["KeyError", "ValueError"]
        assert "test_logging.py" in line["where"][0]
    assert not marked(log.getvalue().encode())


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("form", ["Refused: {}", "{} is bad", "body=<{}>", "first line\n{}"])
def test_a_librarys_line_with_values_in_its_text_is_masked_but_for_its_place(log: Log, form: str, secret: str) -> None:
    logging.getLogger("library").warning(form.format(secret))
    [line] = log.lines
    assert (line["logger"], line["event"], line["level"]) == ("library", MASK, "warning")
    assert "test_logging.py" in line["where"][0]
    assert not marked(log.getvalue().encode())


@pytest.mark.parametrize("secret", SECRETS)
def test_a_librarys_line_with_values_beside_it_is_shown_up_to_the_first(log: Log, secret: str) -> None:
    logging.getLogger("library").warning("No way to %s, %d times", secret, 3)
    [line] = log.lines
    assert line["event"] == "No way to"
    assert not marked(log.getvalue().encode())


def test_a_process_that_dies_of_an_error_says_no_more_than_its_type() -> None:
    code = f"from milpa.logging import configure; configure(); raise ValueError({NAME!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ValueError" in done.stderr
    assert not marked(done.stderr.encode())
