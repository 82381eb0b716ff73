"""Webhooks of a tenant: its endpoints, their secrets, and the log of deliveries.

Deliveries of a job's or a batch's end are made by the database itself, by the trigger on the log's closing event.
"""

import base64
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import text

from milpa.errors import UsageError
from milpa.jobs import new_id
from storage.session import Row, Session, read, to_json
from storage.webhook_rows import (
    DeliveryFilter,
    DeliveryRow,
    DeliveryState,
    DisabledReason,
    EndpointChanges,
    EndpointRow,
    NewEndpoint,
    WebhookEvent,
)

MAX_ENDPOINTS = 50
SECRET_PREFIX = "whsec_"  # noqa: S105  the form of a secret, not one  # nosec B105
_SECRET_BYTES = 32

_LOCK_TENANT = text("SELECT pg_advisory_xact_lock(hashtext('milpa webhooks'), hashtext(CAST(:tenant AS text)))")
_COUNT = text("SELECT count(*) AS endpoints FROM webhook_endpoints")
_CREATE = text("""
INSERT INTO webhook_endpoints (tenant_id, id, url, events, kinds, tags)
VALUES (:tenant, :id, :url, :events, :kinds, :tags) RETURNING *
""")
_GET = text("SELECT * FROM webhook_endpoints WHERE id = :endpoint")
_LIST = text("SELECT * FROM webhook_endpoints ORDER BY created_at DESC, id DESC")
_UPDATE = text("""
UPDATE webhook_endpoints
SET url = coalesce(:url, url), events = coalesce(CAST(:events AS text[]), events),
    kinds = coalesce(CAST(:kinds AS text[]), kinds), tags = coalesce(CAST(:tags AS text[]), tags),
    failing_since = CASE WHEN CAST(:enabled AS boolean) THEN NULL ELSE failing_since END,
    disabled_at = CASE WHEN CAST(:enabled AS boolean) IS NULL THEN disabled_at
                       WHEN NOT :enabled THEN coalesce(disabled_at, now()) END,
    disabled_reason = CASE WHEN CAST(:enabled AS boolean) IS NULL THEN disabled_reason
                           WHEN NOT :enabled THEN coalesce(disabled_reason, 'asked') END,
    updated_at = now()
WHERE id = :endpoint RETURNING *
""")
_MOVE = text("UPDATE webhook_deliveries SET url = :url WHERE endpoint_id = :endpoint AND state = 'pending'")
_DELETE = text("DELETE FROM webhook_endpoints WHERE id = :endpoint")

_ADD_SECRET = text("""
INSERT INTO webhook_secrets (tenant_id, id, endpoint_id, secret) VALUES (:tenant, :id, :endpoint, :secret)
""")
_EXPIRE = text("""
UPDATE webhook_secrets SET expires_at = now() + make_interval(secs => :overlap)
WHERE endpoint_id IS NOT DISTINCT FROM CAST(:endpoint AS uuid) AND expires_at IS NULL
""")
_DROP_EXPIRED = text("DELETE FROM webhook_secrets WHERE expires_at <= now()")

_END_PENDING = text("""
UPDATE webhook_deliveries SET state = 'failed', ended_at = now(), lease_until = NULL
WHERE endpoint_id = :endpoint AND state = 'pending'
""")
_TELL = text("""
INSERT INTO webhook_deliveries (tenant_id, id, endpoint_id, url, target, type, event_at, data)
SELECT tenant_id, uuidv7(), id, url, id::text, CAST(:type AS text), now(), CAST(:data AS jsonb)
FROM webhook_endpoints
WHERE (CAST(:only AS uuid) IS NULL OR id = :only) AND id IS DISTINCT FROM CAST(:but AS uuid) AND disabled_at IS NULL
    AND (:only IS NOT NULL OR events = '{}' OR :type = ANY (events))
RETURNING id
""")

_DELIVERIES = text("""
SELECT delivery.*, (
    SELECT coalesce(jsonb_agg(to_jsonb(attempt) ORDER BY number), '[]')
    FROM webhook_attempts AS attempt WHERE attempt.delivery_id = delivery.id AND attempt.tenant_id = delivery.tenant_id
) AS attempts
FROM webhook_deliveries AS delivery
WHERE (CAST(:delivery AS uuid) IS NULL OR id = :delivery)
    AND (CAST(:endpoint AS uuid) IS NULL OR endpoint_id = :endpoint)
    AND (CAST(:job AS uuid) IS NULL OR job_id = :job)
    AND (CAST(:batch AS uuid) IS NULL OR batch_id = :batch)
    AND (CAST(:state AS text) IS NULL OR state = :state)
    AND (CAST(:since AS timestamptz) IS NULL OR created_at >= :since)
    AND (CAST(:until AS timestamptz) IS NULL OR created_at < :until)
    AND (CAST(:before AS timestamptz) IS NULL OR (created_at, id) < (:before, CAST(:before_id AS uuid)))
ORDER BY created_at DESC, id DESC
LIMIT :limit
""")

_REDELIVER = text("""
UPDATE webhook_deliveries SET state = 'pending', ended_at = NULL, failures = 0, next_at = now(), lease_until = NULL,
    tries = tries + CAST(lease_until IS NOT NULL AS int)
WHERE (CAST(:delivery AS uuid) IS NULL OR id = :delivery)
    AND (CAST(:endpoint AS uuid) IS NULL OR endpoint_id = :endpoint)
    AND (CAST(:state AS text) IS NULL OR state = :state)
    AND (CAST(:since AS timestamptz) IS NULL OR created_at >= :since)
    AND (CAST(:until AS timestamptz) IS NULL OR created_at < :until)
    AND NOT coalesce(lease_until > now(), false)
""")


class WebhookStore:
    """One tenant's webhooks. A foreign endpoint is a missing one."""

    def __init__(self, session: Session, tenant: UUID) -> None:
        self._session = session
        self._tenant = tenant

    async def create(self, new: NewEndpoint) -> tuple[EndpointRow, str]:
        """Make an endpoint; returns it with its secret, which is in this answer and nowhere else.

        UsageError (`too_many_webhooks`): the tenant has as many as it may.
        """
        await self._session.run(_LOCK_TENANT, tenant=str(self._tenant))
        if (await self._session.one(_COUNT))["endpoints"] >= MAX_ENDPOINTS:
            raise UsageError("too_many_webhooks", f"There can be {MAX_ENDPOINTS} webhooks at most; delete one first.")
        row = await self._session.one(
            _CREATE,
            tenant=self._tenant,
            id=new_id(),
            url=new.url,
            events=list(new.events),
            kinds=list(new.kinds),
            tags=list(new.tags),
        )
        return read(row, EndpointRow), await self._add_secret(row["id"])

    async def get(self, endpoint_id: UUID) -> EndpointRow | None:
        """Return the endpoint, or None."""
        return _endpoint(await self._session.first(_GET, endpoint=endpoint_id))

    async def list(self) -> Sequence[EndpointRow]:
        """Return all endpoints, newest first."""
        return [read(row, EndpointRow) for row in await self._session.all(_LIST)]

    async def update(self, endpoint_id: UUID, changes: EndpointChanges) -> EndpointRow | None:
        """Change the endpoint; what is pending goes to its new address. None: there is no such endpoint.

        A disabled endpoint is told nothing: what was pending for it is given up, and can be redelivered later.
        """
        values = {
            name: list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
            for name in changes.__struct_fields__
            if (value := getattr(changes, name)) is not msgspec.UNSET
        }
        row = _endpoint(await self._session.first(_UPDATE, endpoint=endpoint_id, **(_UNCHANGED | values)))
        if row is not None and "url" in values:
            await self._session.run(_MOVE, endpoint=endpoint_id, url=row.url)
        if row is not None and values.get("enabled") is False:
            await self._session.run(_END_PENDING, endpoint=endpoint_id)
        return row

    async def delete(self, endpoint_id: UUID) -> bool:
        """Erase the endpoint with its secrets and its log. False: there is no such endpoint."""
        return await self._session.run(_DELETE, endpoint=endpoint_id) > 0

    async def rotate(self, endpoint_id: UUID | None, overlap_seconds: float) -> str | None:
        """Make a new secret, shown this once; the old ones sign as well for so long. None: there is no such endpoint.

        endpoint_id None: the secret for the addresses that jobs and batches name.
        """
        if endpoint_id is not None and await self.get(endpoint_id) is None:
            return None
        await self._session.run(_LOCK_TENANT, tenant=str(self._tenant))  # of two rotations one is the later
        await self._session.run(_DROP_EXPIRED)
        await self._session.run(_EXPIRE, endpoint=endpoint_id, overlap=float(overlap_seconds))
        return await self._add_secret(endpoint_id)

    async def _add_secret(self, endpoint_id: UUID | None) -> str:
        secret = SECRET_PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()
        secret_id = new_id()
        sealed = self._session.seal.seal(secret.encode(), secret_context(self._tenant, secret_id))
        await self._session.run(_ADD_SECRET, tenant=self._tenant, id=secret_id, endpoint=endpoint_id, secret=sealed)
        return secret

    async def test(self, endpoint_id: UUID) -> DeliveryRow | None:
        """Send `webhook.test` to the endpoint. None: there is no such endpoint.

        UsageError (`webhook_disabled`): it is told nothing.
        """
        endpoint = await self.get(endpoint_id)
        if endpoint is None:
            return None
        _refuse_disabled(endpoint)
        (delivery_id,) = await self._tell(WebhookEvent.WEBHOOK_TEST, {"webhook_id": endpoint_id}, only=endpoint_id)
        return await self.delivery(delivery_id)

    async def disable(self, endpoint_id: UUID, reason: DisabledReason) -> None:
        """Give up what is pending for an endpoint that was disabled, and tell the others of it."""
        await self._session.run(_END_PENDING, endpoint=endpoint_id)
        data = {"webhook_id": endpoint_id, "reason": reason}
        await self._tell(WebhookEvent.WEBHOOK_DISABLED, data, but=endpoint_id)

    async def _tell(
        self, type_: WebhookEvent, data: dict[str, Any], *, only: UUID | None = None, but: UUID | None = None
    ) -> Sequence[UUID]:
        rows = await self._session.all(_TELL, type=type_, data=to_json(data), only=only, but=but)
        self._session.outbox.deliveries |= bool(rows)
        return [row["id"] for row in rows]

    async def delivery(self, delivery_id: UUID) -> DeliveryRow | None:
        """Return the delivery with its attempts, or None."""
        rows = await self._session.all(_DELIVERIES, **_which(DeliveryFilter()), **_NEWEST, delivery=delivery_id)
        return read(rows[0], DeliveryRow) if rows else None

    async def deliveries(
        self, where: DeliveryFilter, limit: int = 50, after: tuple[datetime, UUID] | None = None
    ) -> Sequence[DeliveryRow]:
        """Return deliveries with their attempts, newest first; after: `(created_at, id)` of the last one seen."""
        before, before_id = after or (None, None)
        page = {"before": before, "before_id": before_id, "limit": limit}
        rows = await self._session.all(_DELIVERIES, **_which(where), **page, delivery=None)
        return [read(row, DeliveryRow) for row in rows]

    async def redeliver(self, delivery_id: UUID) -> DeliveryRow | None:
        """Try a delivery anew, as if it were new; one that is being tried just now goes on. None: there is none.

        UsageError (`webhook_disabled`): its endpoint is told nothing.
        """
        delivery = await self.delivery(delivery_id)
        if delivery is None:
            return None
        if delivery.endpoint_id is not None and (endpoint := await self.get(delivery.endpoint_id)) is not None:
            _refuse_disabled(endpoint)
        await self._redeliver(DeliveryFilter(), delivery_id)
        return await self.delivery(delivery_id)

    async def redeliver_range(
        self, endpoint_id: UUID, since: datetime | None, until: datetime | None, state: DeliveryState | None
    ) -> int | None:
        """Try anew what was made for the endpoint between two times; returns how many. None: there is no such endpoint.

        UsageError (`webhook_disabled`): it is told nothing.
        """
        endpoint = await self.get(endpoint_id)
        if endpoint is None:
            return None
        _refuse_disabled(endpoint)
        return await self._redeliver(DeliveryFilter(endpoint_id=endpoint_id, since=since, until=until, state=state))

    async def _redeliver(self, where: DeliveryFilter, delivery_id: UUID | None = None) -> int:
        which = {name: value for name, value in _which(where).items() if name not in {"job", "batch"}}
        count = await self._session.run(_REDELIVER, **which, delivery=delivery_id)
        self._session.outbox.deliveries |= count > 0
        return count


_UNCHANGED: dict[str, Any] = dict.fromkeys(EndpointChanges.__struct_fields__)
_NEWEST = {"before": None, "before_id": None, "limit": 1}


def secret_context(tenant_id: UUID, secret_id: UUID) -> str:
    """Name the one row in which a sealed secret opens."""
    return f"{tenant_id}/webhook secret/{secret_id}"


def _which(where: DeliveryFilter) -> dict[str, Any]:
    return {
        "endpoint": where.endpoint_id,
        "job": where.job_id,
        "batch": where.batch_id,
        "state": where.state,
        "since": where.since,
        "until": where.until,
    }


def _endpoint(row: Row | None) -> EndpointRow | None:
    return None if row is None else read(row, EndpointRow)


def _refuse_disabled(endpoint: EndpointRow) -> None:
    if endpoint.disabled_at is not None:
        raise UsageError("webhook_disabled", "The webhook is disabled; enable it first.")
