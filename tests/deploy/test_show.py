"""What commands print, on narrow terminals and wide ones."""

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from deploy.terminal import show
from milpa.jobs import Job, JobState, LimitReached, Outcome, new_id

JOBS: list[dict[str, Any]] = [
    {"kind": "capex-phasing", "objective": 1_672_289.25, "outcome": Outcome.OPTIMAL},
    {"name": "More money for the board: budget +10 %", "outcome": Outcome.NO_SOLUTION, "limit_reached": "stopped"},
    {"name": "[b]5 %", "state": JobState.RUNNING, "solve_seconds": None},
    {"objective": -123_456_789_012.5, "outcome": Outcome.FEASIBLE, "limit_reached": LimitReached.TIME},
]


def job(**fields: Any) -> Job:
    made = {"kind": "deal-picker", "kind_version": 1, "state": JobState.SUCCEEDED, "solve_seconds": 0.53}
    return Job(**{**made, "id": new_id(), "created_at": datetime.now(UTC) - timedelta(minutes=7), **fields})


def lines(jobs: list[Job], width: int) -> list[str]:
    """Return what is printed for these jobs, below the head of the table."""
    console = Console(file=io.StringIO(), width=width)
    with console.capture() as captured:
        show.jobs(jobs, console)
    return [line.rstrip() for line in captured.get().splitlines() if line.strip()][2:]


@pytest.mark.parametrize("width", [80, 100, 119, 120, 200])
def test_each_job_has_one_line_that_begins_with_its_whole_id(width: int) -> None:
    jobs = [job(**fields) for fields in JOBS]
    shown = lines(jobs, width)
    assert [line.split()[0] for line in shown] == [str(job.id) for job in jobs]
    assert max(map(len, shown)) <= width
    assert "1,672,289" in shown[0]
    assert "capex-ph" in shown[0]
    assert "More m" in shown[1]
    assert "no sol" in shown[1]
    assert "[b]5 %" in shown[2]
    assert "-123,456,789,012" in shown[3]


def test_a_wide_terminal_has_room_for_more() -> None:
    narrow, wide = (lines([job(name="Board")], width)[0] for width in (80, 120))
    assert narrow.split()[1:] == ["Board", "succeeded"]
    assert wide.split()[1:] == ["deal-picker", "Board", "succeeded", "0.53", "7", "min", "ago"]
