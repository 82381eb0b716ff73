"""`milpa demo`: from nothing to an optimized portfolio, its figures in words and its files."""

from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from deploy.local.folders import DataDir
from deploy.local.stack import running
from deploy.local.teller import Teller
from deploy.local.up import interruptible
from deploy.terminal.commands import show_ended
from deploy.terminal.console import program
from deploy.terminal.follow import follow
from milpa.client import Client
from milpa.errors import FatalError
from milpa.jobs import FileFormat, JobState

KIND = "deal-picker"
CASE = "sacramento.json"


def demo(folders: DataDir, out: Path, console: Console) -> None:
    """Run the demo; its files are left in `out`. FatalError: the job did not succeed."""
    with interruptible(console):
        console.print(f"[bold]Start Milpa[/]  [dim]all state in {folders.root}[/]", highlight=False)
        with running(folders, "127.0.0.1", 0, 1, Teller(console)) as stack:
            with Client(stack.url, folders.admin_key.read_text().strip()) as client:
                _optimize(client, out, console)
            console.print("\n[bold]Stop Milpa[/]")
        console.print("  [green]✓[/] stopped; data and files are kept")
        console.print(
            f"\nNext: [bold]{program()} up[/], and in another terminal "
            f"[bold]{program()} submit {KIND} --example --wait[/]",
            soft_wrap=True,
        )


def _optimize(client: Client, out: Path, console: Console) -> None:
    problem = _case()
    console.print(
        f"\n[bold]Optimize[/]  [dim]{len(problem['deals']):,} real sales in Sacramento, as deals[/]", highlight=False
    )
    job = follow(client, client.submit(KIND, problem, name="Sacramento", files=list(FileFormat)), console)
    paths = client.download(job, out) if job.state is JobState.SUCCEEDED else []
    console.print()
    show_ended(client, job, paths)
    if job.state is not JobState.SUCCEEDED:
        raise FatalError("demo_failed", f"The job ended as {job.state}.")


def _case() -> dict[str, Any]:
    text = resources.files("solvers.kinds.deal_picker").joinpath("cases", CASE).read_bytes()
    problem: dict[str, Any] = msgspec.json.decode(text)["problem"]
    return problem
