"""Where words go: answers to stdout, complaints to stderr, JSON where a program asked for it."""

import shutil
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from milpa.errors import MilpaError

if TYPE_CHECKING:
    from rich.console import Console

_HINTS = {
    "unauthorized": "The key is that of MILPA_API_KEY, else the one in admin.key of the folder of `milpa up`.",
    "unreachable": "Does it run there? `milpa up` starts one here; MILPA_URL says where another one is.",
}
"""What a person at a terminal can do about an error, by its code."""


@cache
def console(*, stderr: bool = False) -> "Console":
    """Return the terminal: colours and a live line on a screen, plain lines in a pipe or a file."""
    from rich.console import Console

    return Console(stderr=stderr)


def program() -> str:
    """Return how this command line is called here: by its name where that finds it, else as it was called."""
    called, found = Path(sys.argv[0]), shutil.which("milpa")
    return "milpa" if found is not None and called.exists() and called.samefile(found) else str(called)


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def complain(error: MilpaError) -> None:
    """Say on stderr what is wrong; with `--json` on the command line as JSON."""
    issues = getattr(error, "issues", [])
    if "--json" in sys.argv:
        said = {"code": error.code, "message": error.message, "issues": issues}
        click.echo(msgspec.json.encode({"error": said}), err=True)
        return
    from rich.markup import escape

    from deploy.terminal import show

    terminal = console(stderr=True)
    terminal.print(f"[red]✗[/] {escape(error.message)} [dim]{error.code}[/]", highlight=False, soft_wrap=True)
    if error.code in _HINTS:
        terminal.print(f"[dim]{_HINTS[error.code]}[/]", highlight=False, soft_wrap=True)
    if issues:
        show.issues(issues, getattr(error, "issues_total", len(issues)), terminal)
