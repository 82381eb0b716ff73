"""The live line of a running job: its phase, and what is known of the answer so far."""

import io
import re
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from rich.console import Console

from deploy.terminal.follow import ProgressLine, follow
from milpa.client import Client
from milpa.jobs import EventType, Job, JobEvent, JobState


def shown(line: ProgressLine) -> str:
    """Return the line as a terminal shows it, without its seconds."""
    console = Console(file=io.StringIO(), width=120)
    with console.capture() as captured:
        console.print(str(line), highlight=False, end="")
    return re.sub(r"\s+[\d.]+ s$", "", captured.get())


@pytest.fixture
def line() -> ProgressLine:
    return ProgressLine()


def take(line: ProgressLine, type_: EventType, **data: Any) -> str:
    line.take(JobEvent(job_id=uuid4(), seq=1, type=type_, data=data, at=datetime.now(UTC)))
    return shown(line)


def test_a_job_that_waits_is_queued(line: ProgressLine) -> None:
    assert shown(line) == "queued"


def test_the_line_tells_phase_incumbent_bound_and_gap_as_they_come(line: ProgressLine) -> None:
    assert take(line, EventType.STARTED, attempt=1) == "started"
    assert take(line, EventType.PHASE, phase="solve") == "solve"
    assert take(line, EventType.INCUMBENT, objective=9000.0).split() == ["solve", "incumbent", "9,000"]
    said = take(line, EventType.INCUMBENT, objective=9400.0, bound=9500.0, gap=0.0106)
    assert said.split() == ["solve", "incumbent", "9,400", "bound", "9,500", "gap", "1.06", "%"]
    assert take(line, EventType.PHASE, phase="verify").split()[0] == "verify"
    assert "incumbent 9,400" in shown(line)
    assert take(line, EventType.FILE, name="a.pdf").split()[0] == "files"
    assert take(line, EventType.SUCCEEDED) == "succeeded"


@pytest.mark.parametrize("type_", [EventType.RETRYING, EventType.SUCCEEDED, EventType.CANCELLED])
def test_figures_of_an_attempt_that_is_over_are_not_shown_any_more(line: ProgressLine, type_: EventType) -> None:
    take(line, EventType.INCUMBENT, objective=9400.0, bound=9500.0, gap=0.0106)
    assert take(line, type_) == str(type_)


def test_a_figure_that_is_not_known_is_left_out(line: ProgressLine) -> None:
    assert take(line, EventType.INCUMBENT, objective=1.0, bound=None, gap=None).split() == ["queued", "incumbent", "1"]


def test_of_a_job_that_has_ended_there_is_nothing_to_follow() -> None:
    ended = Job(id=uuid4(), kind="k", kind_version=1, state=JobState.SUCCEEDED, created_at=datetime.now(UTC))
    console = Console(file=io.StringIO())
    with Client("http://127.0.0.1:1", "nobody is asked") as client, console.capture() as captured:
        assert follow(client, ended, console) is ended
    assert captured.get() == ""
