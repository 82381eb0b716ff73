"""`milpa queue status | pause | resume | drain`: the operator's hand on the queues."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from deploy.terminal.console import console, print_json
from milpa.jobs import Priority

if TYPE_CHECKING:
    from rich.console import Console

    from storage.rows import QueueRow

ALL = "all"

which_option = click.argument("which", type=click.Choice([*(queue.value for queue in Priority), ALL]), default=ALL)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


@click.group()
def queue() -> None:
    """Look at the queues and hold them still: of the MILPA_* settings, else of the `milpa up` in this folder."""


@queue.command()
@json_option
def status(as_json: bool) -> None:
    """Show how many jobs each queue has in each step."""
    import asyncio

    from deploy import queues
    from deploy.local.environment import settings_at_hand

    _answer(asyncio.run(queues.status(settings_at_hand())), as_json=as_json)


@queue.command()
@which_option
@json_option
def pause(which: str, as_json: bool) -> None:
    """Start no more jobs of a queue, or of all; submits are still accepted."""
    import asyncio

    from deploy import queues
    from deploy.local.environment import settings_at_hand

    _answer(asyncio.run(queues.pause(settings_at_hand(), _named(which))), as_json=as_json)


@queue.command()
@which_option
@json_option
def resume(which: str, as_json: bool) -> None:
    """Start its jobs again."""
    import asyncio

    from deploy import queues
    from deploy.local.environment import settings_at_hand

    _answer(asyncio.run(queues.resume(settings_at_hand(), _named(which))), as_json=as_json)


@queue.command()
@which_option
@click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Give up waiting: exit code 3.")
def drain(which: str, timeout: float | None) -> None:
    """Pause a queue, or all, and wait until none of its jobs runs."""
    import asyncio

    from deploy import queues
    from deploy.local.environment import settings_at_hand

    asyncio.run(queues.drain(settings_at_hand(), _named(which), timeout, _tell))
    console().print("[green]✓[/] Nothing runs. [bold]milpa queue resume[/] starts jobs again.", highlight=False)


def _named(which: str) -> list[Priority]:
    return list(Priority) if which == ALL else [Priority(which)]


def _answer(found: "Sequence[QueueRow]", *, as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        show_queues(found, console())


def _tell(found: "Sequence[QueueRow]") -> None:
    for row in found:
        console().print(f"{row.name}: {row.rung + row.running:,} running, {row.waiting:,} waiting", highlight=False)


def show_queues(found: "Sequence[QueueRow]", terminal: "Console") -> None:
    """Print the queues, one a line, with since when one is paused."""
    from deploy.terminal.show import table

    counts = ("scheduled", "waiting", "rung", "running", "slots")
    listed = table("queue", *counts, "paused since", right=counts)
    for row in found:
        figures = [f"{getattr(row, name):,}" for name in counts]
        listed.add_row(row.name, *figures, _since(row.paused_at))
    terminal.print(listed)
    if not any(row.slots for row in found):
        terminal.print("[yellow]No worker is alive.[/]", highlight=False)


def _since(moment: datetime | None) -> str:
    return "" if moment is None else f"[yellow]{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC[/]"
