"""The commands that talk to the API through the client: submit, watch, jobs, kinds, files and what ends a job."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from deploy.terminal.console import console, print_json, program
from milpa.errors import TransientError, UsageError
from milpa.jobs import FileFormat, Job, JobState, Priority

if TYPE_CHECKING:
    from milpa.client import Client, Issue

FAILED = 1
_RETRIES = 2
"""A person waits: give up soon when nobody answers."""
_TEMPLATES = ("csv", "xlsx")
_MAKE_SECONDS = 60
"""How long files that were asked for later may take."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
out_option = click.option("--out", type=click.Path(path_type=Path), help="Folder to download the files to.")


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    epilog="Fields of the problem are options too: `milpa kinds KIND` lists them.",
)
@click.argument("kind")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[FILE] [--FIELD VALUE]…")
@click.option("--set", "settings", multiple=True, metavar="NAME=JSON", help="A field that is not a single word.")
@click.option("--example", is_flag=True, help="Take the kind's example as the problem; options change it.")
@click.option("--files", default="", metavar="xlsx,pdf,csv,png", help="Files to make.")
@click.option("--name", help="What to call the job.")
@click.option("--tag", "tags", multiple=True, help="Repeat for several.")
@click.option("--priority", type=click.Choice([priority.value for priority in Priority]))
@click.option("--time-limit", "time_limit_seconds", type=float, metavar="SECONDS", help="Wall time of the solve.")
@click.option("--gap", "relative_gap", type=float, metavar="FRACTION", help="Gap that counts as optimal.")
@click.option("--threads", type=int)
@click.option("--seed", type=int)
@click.option("--reuse", is_flag=True, help="An earlier answer to the same problem will do.")
@click.option("--check", is_flag=True, help="Say what is wrong with it (exit code 2); submit nothing.")
@click.option("--wait", is_flag=True, help="Follow it to its end, show what came out, download the files.")
@out_option
@json_option
def submit(
    kind: str, words: tuple[str, ...], settings: tuple[str, ...], *, check: bool, wait: bool, as_json: bool, **more: Any
) -> None:
    """Submit a job of KIND: a table (.csv, .xlsx, .parquet) with its rows, or a .json problem, and options."""
    from deploy.terminal.asking import read_problem

    example, out, files = more.pop("example"), more.pop("out"), more.pop("files")
    with connect() as client:
        asked = read_problem(client, client.kind(kind), words, settings, example=example)
        fields = asked.rest | _job_fields(files, more)
        if check:
            _show_check(client.validate(kind, asked.problem, rows=asked.rows, **fields), as_json=as_json)
            return
        job = client.submit(kind, asked.problem, rows=asked.rows, **fields)
        if wait:
            _see_through(client, job, out, as_json=as_json)
        elif as_json:
            print_json(job)
        else:
            console().print(f"[bold]{job.kind}[/] {job.state}: {job.id}", highlight=False)
            console().print(f"[dim]{program()} watch {job.id}[/]", highlight=False)


@click.command()
@click.argument("job", type=click.UUID)
@out_option
@json_option
def watch(job: UUID, out: Path | None, as_json: bool) -> None:
    """Follow JOB to its end, and show what came out. Exit code 1: it failed or was cancelled."""
    with connect() as client:
        _see_through(client, client.job(job), out, as_json=as_json, download=out is not None)


@click.command()
@click.option("--state", type=click.Choice([state.value for state in JobState]))
@click.option("--kind")
@click.option("--tag")
@click.option("--name", help="Part of the job's name.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1))
@json_option
def jobs(as_json: bool, **filters: Any) -> None:
    """List the newest jobs."""
    from deploy.terminal import show

    with connect() as client:
        found = client.jobs(**filters)
    if as_json:
        print_json(found)
    elif found:
        show.jobs(found, console())
    elif any(filters[name] for name in ("state", "kind", "tag", "name")):
        console().print("There are no such jobs.")
    else:
        console().print(f"No jobs yet. Try [bold]{program()} submit deal-picker --example --wait[/]", highlight=False)


@click.command()
@click.argument("kind", required=False)
@click.option(
    "--template",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write a table of KIND to fill in: a .csv or .xlsx with its columns and two example rows.",
)
@json_option
def kinds(kind: str | None, template: Path | None, as_json: bool) -> None:
    """List the kinds of job, or show the fields of one KIND."""
    from deploy.terminal import show

    if template is not None and kind is None:
        raise UsageError("bad_option", "--template needs a KIND: whose table is it to be?")
    with connect() as client:
        if kind is None:
            listed = client.kinds()
            print_json(listed) if as_json else show.kinds(listed, console())
            return
        if template is not None:
            _write_template(client, kind, template)
            return
        detail = client.kind(kind)
    if as_json:
        print_json(detail)
    else:
        show.kind(detail, console())


@click.command()
@click.argument("job", type=click.UUID)
@click.option("--make", default="", metavar="xlsx,pdf,csv,png", help="Make these first.")
@out_option
@json_option
def files(job: UUID, make: str, out: Path | None, as_json: bool) -> None:
    """List the files of JOB; download them with --out; make more with --make."""
    from deploy.terminal import show

    with connect() as client:
        if make:
            client.make_files(job, _formats(make))
            _await_files(client, job, _formats(make))
        if out is not None:
            paths = client.download(job, out)
            print_json([str(path) for path in paths]) if as_json else show.paths(paths, console())
            return
        found = client.files(job)
    print_json(found) if as_json else show.files(found, console())


@click.command()
@click.argument("job", type=click.UUID)
@json_option
def stop(job: UUID, as_json: bool) -> None:
    """End JOB now and keep the best found."""
    with connect() as client:
        _show_state(client.stop(job), as_json=as_json)


@click.command()
@click.argument("job", type=click.UUID)
@json_option
def cancel(job: UUID, as_json: bool) -> None:
    """End JOB now and keep nothing."""
    with connect() as client:
        _show_state(client.cancel(job), as_json=as_json)


@click.command()
@click.argument("job", type=click.UUID)
@json_option
def retry(job: UUID, as_json: bool) -> None:
    """Submit the input of JOB, failed or cancelled, again."""
    with connect() as client:
        _show_state(client.retry(job), as_json=as_json)


@click.command()
@click.argument("job", type=click.UUID)
def log(job: UUID) -> None:
    """Print the solver's log of JOB."""
    with connect() as client:
        click.echo(client.log(job))


COMMANDS = (submit, watch, jobs, kinds, files, stop, cancel, retry, log)


def connect() -> "Client":
    """Return a client of the Milpa that the environment or this folder names."""
    from milpa.client import Client

    return Client(retries=_RETRIES)


def _formats(text: str) -> list[FileFormat]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if unknown := [word for word in words if word not in set(FileFormat)]:
        raise UsageError("bad_option", f"There is no format {unknown[0]!r}: there are {', '.join(FileFormat)}.")
    return [FileFormat(word) for word in words]


def _job_fields(files: str, more: dict[str, Any]) -> dict[str, Any]:
    options = {
        name: value
        for name in ("time_limit_seconds", "relative_gap", "threads", "seed")
        if (value := more.pop(name)) is not None
    }
    said = {name: value for name, value in more.items() if value}
    return said | ({"options": options} if options else {}) | ({"files": _formats(files)} if files else {})


def _see_through(client: "Client", job: Job, out: Path | None, *, as_json: bool, download: bool = True) -> None:
    from rich.console import Console

    from deploy.terminal.follow import follow

    try:
        done = follow(client, job, Console(stderr=True) if as_json else console())
    except KeyboardInterrupt:
        click.echo(f"The job goes on: {program()} watch {job.id}, or {program()} cancel {job.id}", err=True)
        raise
    paths: list[Path] = []
    if done.state is JobState.SUCCEEDED and download and client.files(done):
        paths = client.download(done, out or Path(f"{done.kind}-{str(done.id)[-8:]}"))
    if as_json:
        result = client.result(done) if done.state is JobState.SUCCEEDED else None
        print_json({"job": done, "result": result, "files": [str(path) for path in paths]})
    else:
        show_ended(client, done, paths)
    if done.state is not JobState.SUCCEEDED:
        sys.exit(FAILED)


def show_ended(client: "Client", job: Job, paths: Iterable[Path]) -> None:
    """Print how a job ended, its figures and sentences, and where its files are."""
    from deploy.terminal import show

    show.ended(job, console())
    if job.state is JobState.SUCCEEDED:
        show.report(client.report(job), console())
    show.paths(list(paths), console())


def _write_template(client: "Client", kind: str, path: Path) -> None:
    from deploy.terminal import show

    ending = path.suffix.lower().removeprefix(".")
    if ending not in _TEMPLATES:
        raise UsageError("bad_option", f"--template {path}: a table to fill in ends in .csv or .xlsx.")
    if path.exists():
        raise UsageError("file_exists", f"{path} is there already; it is left as it is.")
    path.write_bytes(client.template(kind, ending))
    show.paths([path], console())


def _show_check(found: "list[Issue]", *, as_json: bool) -> None:
    from deploy.terminal import show

    if as_json:
        print_json({"issues": found})
    elif found:
        show.issues(found, len(found), console())
    else:
        console().print("[green]✓[/] Nothing is wrong with it.")
    if any(issue.severity == "error" for issue in found):
        sys.exit(UsageError.exit_code)


def _show_state(job: Job, *, as_json: bool) -> None:
    if as_json:
        print_json(job)
    else:
        console().print(f"{job.id}: {job.state}", highlight=False)


def _await_files(client: "Client", job: UUID, formats: list[FileFormat]) -> None:
    import time

    deadline = time.monotonic() + _MAKE_SECONDS
    while not set(formats) <= {file.format for file in client.files(job)}:
        if time.monotonic() > deadline:
            raise TransientError(
                "files_not_made", f"The files are not there after {_MAKE_SECONDS} s; look again later."
            )
        time.sleep(0.2)
