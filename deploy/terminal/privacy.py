"""`milpa rotate-keys` and `milpa erase-tenant`: what an operator does for the privacy of the data."""

from typing import TYPE_CHECKING

import click

from deploy.terminal.console import console

if TYPE_CHECKING:
    from deploy.keyring import Ring
    from milpa.settings import Settings

_BEFORE = """MILPA_SEAL_KEYS has one key only. To rotate, where $MILPA_SEAL_KEYS stands for that key:
  1. Give every API and worker both keys, the new one behind, and start them again:
       MILPA_SEAL_KEYS=$MILPA_SEAL_KEYS,{new}
  2. Then the new one in front, and start them again:
       MILPA_SEAL_KEYS={new},$MILPA_SEAL_KEYS
  3. With the same setting, run `milpa rotate-keys` once more."""
"""The key in use is not shown: terminals are recorded."""


@click.command("rotate-keys")
@click.option("--forget-old", is_flag=True, help="Take keys that nothing is sealed under any more off the ring.")
def rotate_keys(*, forget_old: bool) -> None:
    """Seal everything anew under a new key, while Milpa works: of the MILPA_* settings, else of this folder's.

    It may be cut short and started again at any time.
    """
    import asyncio

    from deploy import keyring
    from deploy.local.environment import settings_at_hand

    settings = settings_at_hand()
    ring = keyring.ring_of(settings)
    if forget_old:
        _say_forgotten(asyncio.run(keyring.forget_old(settings)))
    elif ring.file is None and len(ring.keys) == 1:
        click.echo(_BEFORE.format(new=keyring.with_new_key(ring).keys[0]))
    else:
        _rotate(settings)


def _rotate(settings: "Settings") -> None:
    import asyncio

    from rich.progress import Progress

    from deploy import keyring

    with Progress(console=console(stderr=True), transient=True) as progress:
        bar = progress.add_task("Sealing anew", total=None)
        ring = asyncio.run(
            keyring.rotate(settings, lambda done, total: progress.update(bar, completed=done, total=total))
        )
    click.echo(f"Everything is sealed under {ring.ids[0]} now.")
    click.echo(f"No longer needed, but for old backups: {', '.join(ring.ids[1:])}.")
    click.echo("`milpa rotate-keys --forget-old` takes them off the ring." if ring.file else _setting(ring))


def _say_forgotten(ring: "Ring") -> None:
    click.echo(f"The ring has one key: {ring.ids[0]}." if ring.file else _setting(ring))


def _setting(ring: "Ring") -> str:
    return f"Set MILPA_SEAL_KEYS to its first key alone, {ring.ids[0]}, and start every API and worker again."


@click.command("erase-tenant")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do it: nothing brings the data back.")
def erase_tenant(name: str, *, yes: bool) -> None:
    """Erase a tenant: jobs, files, schedules, webhooks, keys, exports and its audit, for good.

    Of the MILPA_* settings, else of this folder's; it needs MILPA_DATABASE_OWNER_URL. Cut short, it goes on when called
    again; by the tenant's id, which it prints, once nobody is called NAME any more.
    """
    import asyncio

    from deploy import erasure
    from deploy.local.environment import settings_at_hand
    from milpa.errors import UsageError

    if not yes:
        raise UsageError("not_confirmed", f"This erases all that {name!r} has. Say --yes to do it.")
    erased = asyncio.run(erasure.erase_tenant(settings_at_hand(), name, click.echo))
    click.echo(f"{erased.name} is gone, with {erased.jobs:,} jobs and {erased.objects:,} more objects.")
