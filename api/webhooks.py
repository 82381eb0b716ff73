"""Webhooks: whom to tell of what, and with which secret."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Response, delete, get, patch, post
from litestar.params import FromPath
from msgspec import UNSET, UnsetType

from api.bodies import AnyRequest, answer
from api.links import base_url
from api.operations import Answer, Operation
from api.principal import Permission
from api.problem_details import not_found
from api.services import services_of
from api.submissions import Tag
from api.trails import note_made, transaction_of
from api.web_addresses import WebAddress
from api.webhook_bodies import found_or_404, read_webhook
from storage.webhook_rows import (
    DisabledReason,
    EndpointChanges,
    EndpointRow,
    NewEndpoint,
    WebhookEvent,
)

_HOUR_SECONDS = 3600.0

Events = Annotated[list[WebhookEvent], msgspec.Meta(max_length=20)]
Kinds = Annotated[list[str], msgspec.Meta(max_length=50)]
Tags = Annotated[list[Tag], msgspec.Meta(max_length=20)]


class WebhookRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An address to tell, and of what. An empty filter lets everything through.

    kinds, tags: filter jobs, not batches; one of the tags is enough.
    """

    url: WebAddress
    events: Events = []
    kinds: Kinds = []
    tags: Tags = []


class WebhookPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a webhook; what is left out stays. enabled: whether it is told anything at all."""

    url: WebAddress | UnsetType = UNSET
    events: Events | UnsetType = UNSET
    kinds: Kinds | UnsetType = UNSET
    tags: Tags | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook. failing_since: its first failure after its last success.

    disabled_reason: `asked`, by its owner; `gone`, it answered 410; `failing`, for days.
    """

    id: UUID
    url: str
    events: list[WebhookEvent]
    kinds: list[str]
    tags: list[str]
    enabled: bool
    disabled_reason: DisabledReason | None
    disabled_at: datetime | None
    failing_since: datetime | None
    created_at: datetime
    links: dict[str, str]


class WebhookMade(Webhook, frozen=True, kw_only=True):
    """A webhook just made. secret: shown this once; it signs what is sent."""

    secret: str


class Secret(msgspec.Struct, frozen=True):
    """A new secret, shown this once. The one before signs as well for overlap_hours."""

    secret: str
    overlap_hours: float


class WebhookList(msgspec.Struct, frozen=True):
    """All webhooks, newest first; next: always null."""

    items: list[Webhook]
    next: str | None


@post(
    "/v1/webhooks",
    requires=Permission.ADMINISTER,
    operation=Operation(
        tag="Webhooks",
        body=WebhookRequest,
        answers={201: Answer("The webhook, with its secret.", WebhookMade, headers=("Location",))},
        problems=(409,),
    ),
)
async def create_webhook(request: AnyRequest) -> Response[bytes]:
    """Make a webhook.

    What is sent is signed after Standard Webhooks 1.0 with the secret in this answer.
    """
    asked = await read_webhook(request, WebhookRequest)
    new = NewEndpoint(url=asked.url, events=asked.events, kinds=asked.kinds, tags=asked.tags)
    async with transaction_of(request) as transaction:
        row, secret = await transaction.webhooks.create(new)
        note_made(request, row.id)
    shown = _show(request, row)
    made = WebhookMade(**msgspec.structs.asdict(shown), secret=secret)
    return answer(made, 201, {"Location": shown.links["self"]})


@get(
    "/v1/webhooks",
    requires=Permission.ADMINISTER,
    operation=Operation(tag="Webhooks", answers={200: Answer("The webhooks.", WebhookList)}),
)
async def list_webhooks(request: AnyRequest) -> Response[bytes]:
    """List all webhooks, newest first."""
    async with transaction_of(request) as transaction:
        rows = await transaction.webhooks.list()
    return answer(WebhookList([_show(request, row) for row in rows], None))


@get(
    "/v1/webhooks/{webhook_id:uuid}",
    requires=Permission.ADMINISTER,
    operation=Operation(tag="Webhooks", answers={200: Answer("The webhook.", Webhook)}),
)
async def show_webhook(request: AnyRequest, webhook_id: FromPath[UUID]) -> Response[bytes]:
    """Show a webhook."""
    async with transaction_of(request) as transaction:
        row = await transaction.webhooks.get(webhook_id)
    return answer(_show(request, found_or_404(row)))


@patch(
    "/v1/webhooks/{webhook_id:uuid}",
    requires=Permission.ADMINISTER,
    operation=Operation(tag="Webhooks", body=WebhookPatch, answers={200: Answer("The webhook.", Webhook)}),
)
async def change_webhook(request: AnyRequest, webhook_id: FromPath[UUID]) -> Response[bytes]:
    """Change a webhook.

    What is left out stays. What is pending goes to a new address; disabling gives it up, to be redelivered later.
    """
    changes = EndpointChanges(**msgspec.structs.asdict(await read_webhook(request, WebhookPatch)))
    async with transaction_of(request) as transaction:
        row = await transaction.webhooks.update(webhook_id, changes)
    return answer(_show(request, found_or_404(row)))


@delete(
    "/v1/webhooks/{webhook_id:uuid}",
    requires=Permission.ADMINISTER,
    operation=Operation(tag="Webhooks", answers={204: Answer("It is erased.")}),
    status_code=204,
)
async def delete_webhook(request: AnyRequest, webhook_id: FromPath[UUID]) -> None:
    """Erase a webhook and its log."""
    async with transaction_of(request) as transaction:
        if not await transaction.webhooks.delete(webhook_id):
            raise not_found("webhook")


@post(
    "/v1/webhooks/{webhook_id:uuid}/rotate",
    requires=Permission.ADMINISTER,
    operation=Operation(tag="Webhooks", answers={200: Answer("The new secret.", Secret)}),
    status_code=200,
)
async def rotate_webhook(request: AnyRequest, webhook_id: FromPath[UUID]) -> Response[bytes]:
    """Make a new secret for a webhook; for a while the one before signs as well."""
    return await _rotate(request, webhook_id)


@post(
    "/v1/webhooks/secret",
    requires=Permission.ADMINISTER,
    operation=Operation(tag="Webhooks", answers={200: Answer("The new secret.", Secret)}),
    status_code=200,
)
async def rotate_secret(request: AnyRequest) -> Response[bytes]:
    """Make a new secret for the addresses that jobs and batches name; for a while the one before signs as well.

    Before the first one is made, what is sent to them is not signed.
    """
    return await _rotate(request, None)


async def _rotate(request: AnyRequest, webhook_id: UUID | None) -> Response[bytes]:
    hours = services_of(request).settings.webhook_rotation_hours
    async with transaction_of(request) as transaction:
        secret = await transaction.webhooks.rotate(webhook_id, hours * _HOUR_SECONDS)
    return answer(Secret(found_or_404(secret), hours))


def _show(request: AnyRequest, row: EndpointRow) -> Webhook:
    self = f"{base_url(request)}/v1/webhooks/{row.id}"
    return Webhook(
        id=row.id,
        url=row.url,
        events=row.events,
        kinds=row.kinds,
        tags=row.tags,
        enabled=row.disabled_at is None,
        disabled_reason=row.disabled_reason,
        disabled_at=row.disabled_at,
        failing_since=row.failing_since,
        created_at=row.created_at,
        links={"self": self, "deliveries": f"{self}/deliveries"},
    )


ROUTES = [
    create_webhook,
    list_webhooks,
    show_webhook,
    change_webhook,
    delete_webhook,
    rotate_webhook,
    rotate_secret,
]
