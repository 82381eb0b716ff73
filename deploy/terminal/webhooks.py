"""`milpa webhooks list | create | test | deliveries | redeliver`: who is told, and what became of it."""

from collections.abc import Sequence
from datetime import UTC
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from deploy.terminal.commands import connect, json_option
from deploy.terminal.console import console, print_json
from milpa.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from milpa.client import Webhook, WebhookDelivery

STATES = ("pending", "delivered", "failed")

state_option = click.option("--state", type=click.Choice(STATES))


@click.group()
def webhooks() -> None:
    """Be told of the ends of jobs and batches: addresses, deliveries, tests."""


@webhooks.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List all webhooks."""
    with connect() as client:
        found = client.webhooks()
    print_json(found) if as_json else show_webhooks(found, console())


@webhooks.command()
@click.argument("url")
@click.option("--event", "events", multiple=True, help="job.succeeded, batch.finished, …; repeat for several.")
@click.option("--kind", "kinds", multiple=True, help="Jobs of this kind only; repeat for several.")
@click.option("--tag", "tags", multiple=True, help="Jobs with this tag only; repeat for several.")
@json_option
def create(url: str, events: Sequence[str], kinds: Sequence[str], tags: Sequence[str], as_json: bool) -> None:
    """Tell URL. Its secret is shown once."""
    with connect() as client:
        made = client.create_webhook(url, events=list(events), kinds=list(kinds), tags=list(tags))
    if as_json:
        print_json(made)
    else:
        console().print(
            f"[bold]{made.id}[/]  [dim]its secret, shown once:[/] {made.secret}", highlight=False, soft_wrap=True
        )
        console().print(f"[dim]milpa webhooks test {made.id}[/]", highlight=False)


@webhooks.command()
@click.argument("webhook", type=click.UUID)
@json_option
def test(webhook: UUID, as_json: bool) -> None:
    """Send webhook.test to WEBHOOK."""
    with connect() as client:
        sent = client.ping_webhook(webhook)
    if as_json:
        print_json(sent)
    else:
        console().print(f"{sent.id}: {sent.state}  [dim]milpa webhooks deliveries {webhook}[/]", highlight=False)


@webhooks.command()
@click.argument("webhook", required=False, type=click.UUID)
@state_option
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 200))
@json_option
def deliveries(webhook: UUID | None, state: str | None, limit: int, as_json: bool) -> None:
    """List the newest deliveries with their last attempt, of one WEBHOOK or of all."""
    with connect() as client:
        found = client.deliveries(webhook, limit=limit, **({"state": state} if state else {}))
    print_json(found) if as_json else show_deliveries(found, console())


@webhooks.command()
@click.argument("delivery", required=False, type=click.UUID)
@click.option("--of", "webhook", type=click.UUID, help="Of this webhook, all that has failed, or what --state says.")
@click.option("--since", type=click.DateTime(), help="With --of: made from then on, UTC.")
@click.option("--until", type=click.DateTime(), help="With --of: made before, UTC.")
@state_option
@json_option
def redeliver(delivery: UUID | None, webhook: UUID | None, *, as_json: bool, **which: Any) -> None:
    """Try DELIVERY anew, or a range of them."""
    if (delivery is None) == (webhook is None):
        raise UsageError("bad_option", "Name one DELIVERY, or a webhook with --of.")
    with connect() as client:
        if delivery is not None:
            again = client.redeliver(delivery)
            print_json(again) if as_json else console().print(f"{again.id}: {again.state}", highlight=False)
            return
        times = {name: which[name] and which[name].replace(tzinfo=UTC) for name in ("since", "until")}
        count = client.redeliver_range(str(webhook), **times, state=which["state"] or "failed")
    print_json({"count": count}) if as_json else console().print(f"{count:,} are tried anew", highlight=False)


def show_webhooks(found: "Sequence[Webhook]", terminal: "Console") -> None:
    """Print webhooks, one a line, with what they hear of and why one is disabled."""
    from rich.markup import escape

    from deploy.terminal.show import table

    if not found:
        terminal.print("No webhooks yet. Try [bold]milpa webhooks create https://…[/]", highlight=False)
        return
    listed = table("webhook", "url", "events", "kinds", "tags", "state")
    for hook in found:
        state = "[green]enabled[/]" if hook.enabled else f"[yellow]disabled: {hook.disabled_reason}[/]"
        filters = [escape(", ".join(words)) or "[dim]all[/]" for words in (hook.events, hook.kinds, hook.tags)]
        listed.add_row(str(hook.id), escape(hook.url), *filters, state)
    listed.columns[0].no_wrap = True
    terminal.print(listed)


def show_deliveries(found: "Sequence[WebhookDelivery]", terminal: "Console") -> None:
    """Print deliveries, one a line, with how the last attempt went."""
    from rich.markup import escape

    from deploy.terminal.show import table

    colors = {"delivered": "green", "failed": "red", "pending": "cyan"}
    listed = table("delivery", "event", "state", "tries", "answer", "created", right=("tries",))
    for sent in found:
        last = sent.attempts[-1] if sent.attempts else None
        answer = "" if last is None else str(last.status or last.error or "")
        made = f"{sent.created_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
        state = f"[{colors.get(sent.state, 'default')}]{sent.state}[/]"
        listed.add_row(str(sent.id), sent.type, state, str(len(sent.attempts)), escape(answer), made)
    listed.columns[0].no_wrap = True
    terminal.print(listed)
