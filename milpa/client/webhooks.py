"""Calls about webhooks: being told of the ends of jobs and batches, without asking."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeAlias
from urllib.parse import quote
from uuid import UUID

import msgspec

from milpa.client.answers import Page, Webhook, WebhookDelivery, WebhookSecret
from milpa.client.exchange import Call, Request, send

WebhookRef: TypeAlias = Webhook | UUID | str


def create_webhook(url: str, **filters: Any) -> Call[Webhook]:
    """Make a webhook; its `secret` is in this answer only.

    filters: lists of `events` ("job.succeeded", "job.failed", "job.cancelled", "batch.finished", "webhook.disabled"),
    `kinds` and `tags`; one left out lets everything through. Not sent again when the answer is lost: look at the list.
    """
    return (yield from send(_write("POST", "/v1/webhooks", {"url": url, **filters}, repeatable=False))).read(Webhook)


def webhooks() -> Call[list[Webhook]]:
    """Return all webhooks, newest first."""
    return (yield from send(Request(method="GET", path="/v1/webhooks"))).read(Page[Webhook]).items


def change_webhook(webhook: WebhookRef, **changes: Any) -> Call[Webhook]:
    """Change the fields given: url, events, kinds, tags, enabled."""
    return (yield from send(_write("PATCH", _path(webhook), changes))).read(Webhook)


def delete_webhook(webhook: WebhookRef) -> Call[None]:
    """Erase the webhook and its log."""
    yield from send(Request(method="DELETE", path=_path(webhook), repeatable=False))


def rotate_secret(webhook: WebhookRef | None = None) -> Call[WebhookSecret]:
    """Make a new secret; the one before signs as well for a while.

    None: the secret for the addresses that jobs and batches name. Each call makes one more: it is not sent again.
    """
    path = "/v1/webhooks/secret" if webhook is None else f"{_path(webhook)}/rotate"
    return (yield from send(Request(method="POST", path=path, repeatable=False))).read(WebhookSecret)


def ping_webhook(webhook: WebhookRef) -> Call[WebhookDelivery]:
    """Send `webhook.test` to the webhook."""
    return (yield from send(Request(method="POST", path=f"{_path(webhook)}/test"))).read(WebhookDelivery)


def deliveries(webhook: WebhookRef | None = None, *, limit: int = 50, **where: str) -> Call[list[WebhookDelivery]]:
    """Return the newest deliveries with their attempts, at most `limit` (200 at most), of one webhook or of all.

    where: `state` ("pending", "delivered", "failed"); over all webhooks also `job_id` and `batch_id`.
    """
    path = "/v1/webhooks/deliveries" if webhook is None else f"{_path(webhook)}/deliveries"
    request = Request(method="GET", path=path, query={"limit": str(limit), **where})
    return (yield from send(request)).read(Page[WebhookDelivery]).items


def redeliver(delivery: WebhookDelivery | UUID | str) -> Call[WebhookDelivery]:
    """Try a delivery anew."""
    delivery_id = delivery.id if isinstance(delivery, WebhookDelivery) else quote(str(delivery), safe="")
    path = f"/v1/webhooks/deliveries/{delivery_id}/redeliver"
    return (yield from send(Request(method="POST", path=path))).read(WebhookDelivery)


def redeliver_range(
    webhook: WebhookRef, *, since: datetime | None = None, until: datetime | None = None, state: str | None = "failed"
) -> Call[int]:
    """Try anew what was made for a webhook between two times, and return how many that are.

    state: "failed", "delivered", or None for both.
    """
    asked = {"since": since, "until": until, "state": state}
    body = {name: value for name, value in asked.items() if name == "state" or value is not None}
    request = _write("POST", f"{_path(webhook)}/redeliver", body)
    return (yield from send(request)).read(dict[str, int])["count"]


def _path(webhook: WebhookRef) -> str:
    return f"/v1/webhooks/{webhook.id if isinstance(webhook, Webhook) else quote(str(webhook), safe='')}"


def _write(method: str, path: str, body: Mapping[str, Any], *, repeatable: bool = True) -> Request:
    headers = {"Content-Type": "application/json"}
    return Request(method=method, path=path, headers=headers, body=msgspec.json.encode(body), repeatable=repeatable)
