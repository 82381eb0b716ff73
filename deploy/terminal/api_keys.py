"""`milpa keys list | create | revoke`: who may ask for what, and until when."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

import click

from deploy.terminal.commands import connect, json_option
from deploy.terminal.console import console, print_json

if TYPE_CHECKING:
    from rich.console import Console

    from milpa.client import ApiKey

ROLES = ("viewer", "planner", "manager", "admin", "teacher", "student")
SCOPES = ("read", "submit", "manage", "administer")


@click.group()
def keys() -> None:
    """Look after API keys, as an administrator. A tenant's first key is made by `milpa key`."""


@keys.command("list")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1))
@json_option
def list_(limit: int, as_json: bool) -> None:
    """List the newest keys, those that have ended included."""
    with connect() as client:
        found = client.api_keys(limit)
    print_json(found) if as_json else show_keys(found, console())


@keys.command()
@click.argument("name")
@click.option("--role", required=True, type=click.Choice(ROLES))
@click.option(
    "--scope", "scopes", multiple=True, type=click.Choice(SCOPES), help="Narrow the role; repeat for several."
)
@click.option("--expires", type=click.DateTime(), help="When it ends, UTC; never, when left out.")
@json_option
def create(name: str, role: str, scopes: Sequence[str], expires: datetime | None, as_json: bool) -> None:
    """Make a key called NAME. It is shown once."""
    with connect() as client:
        made = client.create_api_key(name, role, scopes=scopes, expires_at=expires and expires.replace(tzinfo=UTC))
    if as_json:
        print_json(made)
    else:
        console().print(f"[bold]{made.id}[/]  [dim]shown once:[/] {made.secret}", highlight=False, soft_wrap=True)


@keys.command()
@click.argument("key", type=click.UUID)
def revoke(key: UUID) -> None:
    """End KEY, by its id, at once and for good."""
    with connect() as client:
        client.revoke_api_key(key)
    console().print(f"[green]✓[/] {key} is good for nothing any more.", highlight=False)


def show_keys(found: "Sequence[ApiKey]", terminal: "Console") -> None:
    """Print keys, one a line, with when each was used last and whether it is still good."""
    from rich.markup import escape

    from deploy.terminal.show import table

    listed = table("key", "name", "begins", "may", "used", "state")
    for key in found:
        may = f"{key.role}: {', '.join(key.scopes)}" if key.scopes else key.role
        used = f"{key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "[dim]never[/]"
        listed.add_row(str(key.id), escape(key.name), f"mlp_{key.prefix}", may, used, _state(key))
    listed.columns[0].no_wrap = True
    terminal.print(listed)


def _state(key: "ApiKey") -> str:
    if key.revoked_at is not None:
        return f"[red]revoked {key.revoked_at:%Y-%m-%d %H:%M}[/]"
    if key.expires_at is None:
        return "[green]good[/]"
    over = key.expires_at <= datetime.now(UTC)
    return f"[yellow]ended {key.expires_at:%Y-%m-%d}[/]" if over else f"[green]good until {key.expires_at:%Y-%m-%d}[/]"
