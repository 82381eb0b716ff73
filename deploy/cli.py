"""The command line: `milpa up`, `milpa submit`, `milpa watch` and the rest.

Exit codes: 0 done; 1 the job failed or was cancelled, or `milpa check` found a broken promise; 2 refused (a mistake in
what was asked or set, found by `submit --check` too); 3 away or overloaded, try again; 4 a mistake of ours; 130
interrupted. An infeasible problem is an answer: 0.
"""

import sys
from pathlib import Path
from typing import NoReturn

import click

from deploy.terminal.api_keys import keys
from deploy.terminal.commands import COMMANDS
from deploy.terminal.console import complain, console, print_json
from deploy.terminal.privacy import erase_tenant, rotate_keys
from deploy.terminal.questions import QUESTIONS
from deploy.terminal.queue import queue
from deploy.terminal.webhooks import webhooks
from milpa.errors import MilpaError, UsageError

BROKEN, INTERRUPTED = 1, 130

data_dir_option = click.option(
    "--data-dir", default=".milpa", show_default=True, envvar="MILPA_DATA_DIR", type=click.Path(path_type=Path)
)


def main() -> None:
    """Run the command line, and turn errors into words and exit codes."""
    try:
        cli(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except MilpaError as error:
        _end(error)
    except OSError as error:
        if error.filename is None:
            raise
        _end(UsageError("file", f"{error.filename}: {error.strerror}."))


def _end(error: MilpaError) -> NoReturn:
    complain(error)
    sys.exit(error.exit_code)


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=(__doc__ or "").partition("\n\n")[2])
@click.version_option(package_name="milpa")
def cli() -> None:
    """Milpa: one field where many optimizers grow."""


@cli.command()
@data_dir_option
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="0 picks a free one.")
@click.option("--apis", default=1, show_default=True, type=click.IntRange(1, 16), help="API processes on that port.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Worker processes.")
def up(data_dir: Path, host: str, port: int, apis: int, workers: int) -> None:
    """Start PostgreSQL, Redis, the API and workers here, until Ctrl-C."""
    from deploy.local.folders import DataDir
    from deploy.local.up import up

    up(DataDir(data_dir), host, port, apis=apis, workers=workers, console=console())


@cli.command()
@click.option("--data-dir", default=".milpa/demo", show_default=True, type=click.Path(path_type=Path))
@click.option("--out", default=".milpa/demo/files", show_default=True, type=click.Path(path_type=Path))
def demo(data_dir: Path, out: Path) -> None:
    """Start Milpa, optimize a real portfolio, show what came out, stop."""
    from deploy.demo import demo
    from deploy.local.folders import DataDir

    demo(DataDir(data_dir), out, console())


@cli.command()
def api() -> None:
    """Serve the API alone, with MILPA_* settings."""
    from deploy.serve import serve
    from milpa.settings import Settings

    serve(Settings.from_env())


@cli.command()
def worker() -> None:
    """Run a worker alone, with MILPA_* settings."""
    from workers.main import main

    main()


@cli.command()
def migrate() -> None:
    """Bring the database of MILPA_DATABASE_OWNER_URL up to date."""
    import asyncio

    from milpa.settings import Settings
    from storage.migrate import migrate

    changed = asyncio.run(migrate(Settings.from_env()))
    click.echo("The database is up to date now." if changed else "The database was up to date.")


@cli.command()
@click.argument("tenant")
def key(tenant: str) -> None:
    """Print a new admin key of TENANT, made when there is none. It is shown once."""
    from deploy.keys import make_admin_key

    click.echo(make_admin_key(tenant))


@cli.command()
@click.argument("tenant")
@click.argument("changes", nargs=-1, metavar="[NAME=VALUE]...")
def limits(tenant: str, changes: tuple[str, ...]) -> None:
    """Show what TENANT may do, and change it: NAME=0 lifts a limit, NAME= goes back to what holds for all.

    A change holds everywhere within ten seconds. The tenant of `milpa up` is called local.
    """
    from deploy.limits import tenant_limits
    from deploy.local.environment import settings_at_hand

    for name, (value, own) in tenant_limits(settings_at_hand(), tenant, changes).items():
        most = f"{value:,.15g}" if value else "no limit"
        click.echo(f"{most:>14}  {name}{'  (its own)' if own else ''}")


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def check(as_json: bool) -> None:
    """Check the ledger: no job lost, none ended twice, everyone told. Exit code 1 when a promise is broken."""
    from deploy.ledger import check
    from deploy.terminal.show_ledger import show_ledger

    report = check()
    if as_json:
        print_json(report)
    else:
        show_ledger(report)
    if not report.ok:
        sys.exit(BROKEN)


for command in (*COMMANDS, *QUESTIONS, queue, webhooks, keys, rotate_keys, erase_tenant):
    cli.add_command(command)
