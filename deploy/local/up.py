"""`milpa up`: the stack in the foreground, until Ctrl-C."""

import shlex
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

from rich.console import Console

from deploy.local.folders import DataDir
from deploy.local.stack import LocalStack, running
from deploy.local.teller import Teller
from deploy.terminal.console import program
from milpa.client.local import data_dir


def up(folders: DataDir, host: str, port: int, *, apis: int, workers: int, console: Console) -> None:
    """Run the stack until SIGINT or SIGTERM; a second one ends the wait for running work."""
    console.print(f"[bold]Milpa {version('milpa')}[/]  [dim]all state in {folders.root}[/]", highlight=False)
    began = time.perf_counter()
    with interruptible(console), running(folders, host, port, workers, Teller(console), apis=apis) as stack:
        _greet(stack, time.perf_counter() - began, console)
        try:
            stack.watch()
        except KeyboardInterrupt:
            console.print("\nStopping: running jobs finish or go back to the queue. [dim]Ctrl-C again: at once.[/]")
            raise


@contextmanager
def interruptible(console: Console) -> Iterator[None]:
    """Let SIGTERM and a closed terminal end what is inside as Ctrl-C does, and say so at the end."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup sets it
        signal.signal(signal.SIGHUP, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        console.print("Stopped. Everything is kept.")


def next_command(folders: DataDir) -> str:
    """Return what to call next, with the data directory where the command would not find it by itself."""
    at_hand = folders.root == data_dir().resolve()
    return f"{'' if at_hand else f'MILPA_DATA_DIR={shlex.quote(str(folders.root))} '}{program()} kinds"


def _greet(stack: LocalStack, seconds: float, console: Console) -> None:
    key = stack.folders.admin_key
    lines = [
        f"\n[bold green]Ready[/] in {seconds:.1f} s",
        f"  [dim]address[/]    {stack.url}   [dim]documentation: {stack.url}/docs[/]",
        f"  [dim]admin key[/]  {key}",
        f"  [dim]logs[/]       {stack.folders.logs}",
        f"  [dim]next[/]       {next_command(stack.folders)}",
        "\nCtrl-C stops everything.",
    ]
    console.print("\n".join(lines), highlight=False, soft_wrap=True)
