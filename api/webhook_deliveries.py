"""Deliveries: what was told to whom, each attempt with its answer, and trying anew."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath

from api.bodies import AnyRequest, answer, decode_asked, read_json
from api.operations import Answer, Operation
from api.pages import PageQuery, page_of, page_start
from api.principal import Permission
from api.queries import described, read_query
from api.services import settings_for
from api.times import Time
from api.trails import transaction_of
from api.webhook_bodies import found_or_404
from storage.webhook_rows import DeliveryFilter, DeliveryRow, DeliveryState, WebhookEvent


class RedeliverRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which deliveries of a webhook to try anew: those made between two times, in one state or in any."""

    since: Time | None = None
    until: Time | None = None
    state: DeliveryState | None = DeliveryState.FAILED


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt at a delivery. status: HTTP's; null, with an error, when there was none. response: its start."""

    number: int
    at: datetime
    seconds: float
    status: int | None
    error: str | None
    response: str | None


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One event on its way to one address. Its id is the `webhook-id` of every attempt.

    webhook_id: null for an address that a job or a batch named. next_at: when it is tried next; null once it has ended.
    """

    id: UUID
    webhook_id: UUID | None
    url: str
    type: WebhookEvent
    job_id: UUID | None
    batch_id: UUID | None
    state: DeliveryState
    next_at: datetime | None
    created_at: datetime
    ended_at: datetime | None
    attempts: list[Attempt]


class DeliveryPage(msgspec.Struct, frozen=True):
    """Deliveries, newest first; next: the address of the page after this one."""

    items: list[Delivery]
    next: str | None


class Redelivered(msgspec.Struct, frozen=True):
    """How many deliveries are tried anew."""

    count: int


class DeliveriesQuery(PageQuery, frozen=True):
    """Which deliveries of a webhook."""

    state: Annotated[DeliveryState, described("In this state.")] | None = None


class AllDeliveriesQuery(DeliveriesQuery, frozen=True):
    """Which deliveries of the tenant."""

    job_id: Annotated[UUID, described("Of this job.")] | None = None
    batch_id: Annotated[UUID, described("Of this batch.")] | None = None


@post(
    "/v1/webhooks/{webhook_id:uuid}/test",
    requires=Permission.ADMINISTER,
    operation=Operation(tag="Webhooks", answers={202: Answer("The delivery.", Delivery)}, problems=(409,)),
    status_code=202,
)
async def test_webhook(request: AnyRequest, webhook_id: FromPath[UUID]) -> Response[bytes]:
    """Send `webhook.test` to a webhook, whatever its filters."""
    async with transaction_of(request) as transaction:
        sent = await transaction.webhooks.test(webhook_id)
    return answer(_show_delivery(found_or_404(sent)), 202)


@get(
    "/v1/webhooks/{webhook_id:uuid}/deliveries",
    requires=Permission.ADMINISTER,
    operation=Operation(
        tag="Webhooks",
        personal=True,
        query=DeliveriesQuery,
        answers={200: Answer("A page of deliveries.", DeliveryPage)},
    ),
)
async def list_webhook_deliveries(request: AnyRequest, webhook_id: FromPath[UUID]) -> Response[bytes]:
    """List a webhook's deliveries with every attempt, newest first."""
    query = read_query(request, DeliveriesQuery)
    async with transaction_of(request) as transaction:
        found_or_404(await transaction.webhooks.get(webhook_id))
    return await _list(request, query, DeliveryFilter(endpoint_id=webhook_id, state=query.state))


@get(
    "/v1/webhooks/deliveries",
    requires=Permission.ADMINISTER,
    operation=Operation(
        tag="Webhooks",
        personal=True,
        query=AllDeliveriesQuery,
        answers={200: Answer("A page of deliveries.", DeliveryPage)},
    ),
)
async def list_deliveries(request: AnyRequest) -> Response[bytes]:
    """List all deliveries with every attempt, newest first; those to addresses that jobs and batches named too."""
    query = read_query(request, AllDeliveriesQuery)
    where = DeliveryFilter(state=query.state, job_id=query.job_id, batch_id=query.batch_id)
    return await _list(request, query, where)


@post(
    "/v1/webhooks/deliveries/{delivery_id:uuid}/redeliver",
    requires=Permission.ADMINISTER,
    operation=Operation(tag="Webhooks", answers={202: Answer("The delivery.", Delivery)}, problems=(409,)),
    status_code=202,
)
async def redeliver(request: AnyRequest, delivery_id: FromPath[UUID]) -> Response[bytes]:
    """Try a delivery anew, under its own `webhook-id`."""
    async with transaction_of(request) as transaction:
        row = await transaction.webhooks.redeliver(delivery_id)
    return answer(_show_delivery(found_or_404(row, "delivery")), 202)


@post(
    "/v1/webhooks/{webhook_id:uuid}/redeliver",
    requires=Permission.ADMINISTER,
    operation=Operation(
        tag="Webhooks", body=RedeliverRequest, answers={202: Answer("How many.", Redelivered)}, problems=(409,)
    ),
    status_code=202,
)
async def redeliver_range(request: AnyRequest, webhook_id: FromPath[UUID]) -> Response[bytes]:
    """Try anew what was made for a webhook between two times; what has failed, when no state is named."""
    asked = await decode_asked(await read_json(request), RedeliverRequest, settings_for(request))
    async with transaction_of(request) as transaction:
        count = await transaction.webhooks.redeliver_range(webhook_id, asked.since, asked.until, asked.state)
    return answer(Redelivered(found_or_404(count)), 202)


async def _list(request: AnyRequest, query: PageQuery, where: DeliveryFilter) -> Response[bytes]:
    start = page_start(request, query)
    async with transaction_of(request) as transaction:
        rows = await transaction.webhooks.deliveries(where, query.limit + 1, start)
    page, following = page_of(request, query, rows)
    return answer(DeliveryPage([_show_delivery(row) for row in page], following))


def _show_delivery(row: DeliveryRow) -> Delivery:
    return Delivery(
        id=row.id,
        webhook_id=row.endpoint_id,
        url=row.url,
        type=row.type,
        job_id=row.job_id,
        batch_id=row.batch_id,
        state=row.state,
        next_at=row.next_at if row.state is DeliveryState.PENDING else None,
        created_at=row.created_at,
        ended_at=row.ended_at,
        attempts=[Attempt(**msgspec.structs.asdict(one)) for one in row.attempts],
    )


ROUTES = [test_webhook, list_webhook_deliveries, list_deliveries, redeliver, redeliver_range]
