"""What the stores of webhooks take and give: rows as typed, frozen values. Times are UTC, from the database's clock."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec

from storage.rows import BatchRow, JobRow


class WebhookEvent(StrEnum):
    """What webhooks tell of. `webhook.test` is sent by asking for it, to the endpoint asked for only."""

    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    JOB_CANCELLED = "job.cancelled"
    BATCH_FINISHED = "batch.finished"
    WEBHOOK_DISABLED = "webhook.disabled"
    WEBHOOK_TEST = "webhook.test"


class DisabledReason(StrEnum):
    """Why an endpoint is told nothing: its owner wants so, it answered 410, or it has failed for days."""

    ASKED = "asked"
    GONE = "gone"
    FAILING = "failing"


class DeliveryState(StrEnum):
    """Where a delivery stands: still to be tried, taken by its address, or given up."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class NewEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An address to tell, and what of. An empty filter lets everything through; kinds and tags filter jobs only."""

    url: str
    events: Sequence[WebhookEvent] = ()
    kinds: Sequence[str] = ()
    tags: Sequence[str] = ()


class EndpointChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What to change of an endpoint; UNSET stays as it is. enabled: True also forgets its failures."""

    url: str | msgspec.UnsetType = msgspec.UNSET
    events: Sequence[WebhookEvent] | msgspec.UnsetType = msgspec.UNSET
    kinds: Sequence[str] | msgspec.UnsetType = msgspec.UNSET
    tags: Sequence[str] | msgspec.UnsetType = msgspec.UNSET
    enabled: bool | msgspec.UnsetType = msgspec.UNSET


class EndpointRow(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint as stored. failing_since: its first failure after its last success."""

    id: UUID
    url: str
    events: list[WebhookEvent]
    kinds: list[str]
    tags: list[str]
    created_at: datetime
    failing_since: datetime | None
    disabled_at: datetime | None
    disabled_reason: DisabledReason | None


class AttemptRow(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt at a delivery. status: HTTP's, None without an answer. response: the start of its body."""

    number: int
    at: datetime
    seconds: float
    status: int | None
    error: str | None
    response: str | None


class DeliveryRow(msgspec.Struct, frozen=True, kw_only=True):
    """One event on its way to one address. endpoint_id: None for an address that the job or batch itself named.

    next_at: when it is tried next, while it is pending.
    """

    id: UUID
    endpoint_id: UUID | None
    url: str
    type: WebhookEvent
    job_id: UUID | None
    batch_id: UUID | None
    state: DeliveryState
    next_at: datetime
    created_at: datetime
    ended_at: datetime | None
    attempts: list[AttemptRow] = []


class DeliveryFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which deliveries; None does not filter. since, until: when they were made."""

    endpoint_id: UUID | None = None
    job_id: UUID | None = None
    batch_id: UUID | None = None
    state: DeliveryState | None = None
    since: datetime | None = None
    until: datetime | None = None


class DeliveryRef(msgspec.Struct, frozen=True):
    """Names one attempt at a delivery: whoever holds a later number has taken it over.

    failures: before it, since the delivery was last asked for; the place in the retry schedule.
    """

    tenant_id: UUID
    delivery_id: UUID
    number: int
    failures: int


class Parcel(msgspec.Struct, frozen=True, kw_only=True):
    """All that an attempt needs. now: the database's clock. secrets: `whsec_…`, the newest first; each signs.

    What the event tells of is the job, the batch or the data, whichever there is.
    """

    ref: DeliveryRef
    url: str
    type: WebhookEvent
    event_at: datetime
    now: datetime
    secrets: Sequence[str]
    job: JobRow | None
    batch: BatchRow | None
    data: dict[str, Any] | None


class Attempted(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an attempt. retry_seconds: pause until the next one; None: none is to follow.

    gone: the address wants nothing any more. response: the start of the answer's body, cut. ours: it was our mistake,
    and tells nothing of the endpoint.
    """

    delivered: bool
    seconds: float
    status: int | None = None
    error: str | None = None
    response: str | None = None
    retry_seconds: float | None = None
    gone: bool = False
    ours: bool = False
