"""Following a job on a terminal: one live line with phase, incumbent, bound and gap."""

import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner

from deploy.terminal.numbers import gap, number
from milpa.jobs import EventType, Job, JobEvent

if TYPE_CHECKING:
    from milpa.client import Client

_FRAMES_A_SECOND = 10
_FIGURES = ("objective", "bound", "gap")


class ProgressLine:
    """What is known of a running job, as one line."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._words = "queued"
        self._data: dict[str, float | None] = {}

    def take(self, event: JobEvent) -> None:
        """Take the next event of the job."""
        if event.type is EventType.FILE:
            self._words = "files"
        elif event.type in {EventType.PHASE, EventType.INCUMBENT}:
            self._words = str(event.data.get("phase") or self._words)
            self._data |= {name: event.data[name] for name in _FIGURES if event.data.get(name) is not None}
        else:
            self._words = str(event.type)
            self._data = {}  # figures of an attempt that is over

    @property
    def words(self) -> str:
        """Its state or phase."""
        return self._words

    def __str__(self) -> str:
        parts = [f"[bold]{self._words:<9}[/]"]
        if "objective" in self._data:
            parts.append(f"incumbent {number(self._data['objective'])}")
        if "bound" in self._data:
            parts.append(f"bound {number(self._data['bound'])}")
        if "gap" in self._data:
            parts.append(f"gap {gap(self._data['gap'])}")
        return "  ".join([*parts, f"[dim]{time.monotonic() - self._began:.1f} s[/]"])


def follow(client: "Client", job: Job, console: Console) -> Job:
    """Show the job's progress until it has ended, and return it as it is then.

    On a terminal one line lives and goes away; elsewhere each change of state or phase is a line of its own. Of a job
    that has ended before there is nothing to follow.
    """
    if job.state.ended:
        return job
    line = ProgressLine()
    if console.is_terminal:
        _follow_live(client, job, console, line)
    else:
        _follow_plainly(client, job, console, line)
    return client.job(job)


def _follow_live(client: "Client", job: Job, console: Console, line: ProgressLine) -> None:
    spinner = Spinner("dots")

    def frame() -> Spinner:
        spinner.update(text=str(line))
        return spinner

    with Live(get_renderable=frame, console=console, transient=True, refresh_per_second=_FRAMES_A_SECOND):
        for event in client.events(job):
            line.take(event)


def _follow_plainly(client: "Client", job: Job, console: Console, line: ProgressLine) -> None:
    told = ""
    for event in client.events(job):
        line.take(event)
        if line.words != told:
            console.print(str(line), highlight=False)
            told = line.words
