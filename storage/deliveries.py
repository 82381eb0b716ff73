"""Delivering webhooks: take what is due across tenants, open it in its tenant, write down what became of it."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text

from storage.batches import BatchStore
from storage.rows import BatchRow, JobRow
from storage.session import Row, Session, read, read_job
from storage.webhook_rows import Attempted, DeliveryRef, DisabledReason, Parcel, WebhookEvent
from storage.webhooks import WebhookStore, secret_context

_TAKE = text("""
WITH RECURSIVE target (tenant_id, name) AS (  -- one step of the index for each, however much is pending
    (SELECT tenant_id, target FROM webhook_deliveries WHERE state = 'pending' ORDER BY tenant_id, target LIMIT 1)
    UNION ALL
    SELECT next.tenant_id, next.target
    FROM target CROSS JOIN LATERAL (
        SELECT delivery.tenant_id, delivery.target FROM webhook_deliveries AS delivery
        WHERE delivery.state = 'pending' AND (delivery.tenant_id, delivery.target) > (target.tenant_id, target.name)
        ORDER BY delivery.tenant_id, delivery.target LIMIT 1
    ) AS next
),
held AS MATERIALIZED (  -- how many each has under way
    SELECT target.tenant_id, target.name, (
        SELECT count(*) FROM webhook_deliveries AS delivery
        WHERE delivery.tenant_id = target.tenant_id AND delivery.target = target.name AND delivery.lease_until > now()
    ) AS count
    FROM target
),
room AS (  -- how many more each may have under way, and how many its tenant
    SELECT tenant_id, name, greatest(0, :each - count) AS free,
        :share - sum(count) OVER (PARTITION BY tenant_id) AS tenant_free
    FROM held
),
due AS (
    SELECT room.tenant_id, room.tenant_free, first.id, first.next_at,
        row_number() OVER (PARTITION BY room.tenant_id, room.name ORDER BY first.next_at) AS turn
    FROM room CROSS JOIN LATERAL (
        SELECT delivery.id, delivery.next_at FROM webhook_deliveries AS delivery
        WHERE delivery.tenant_id = room.tenant_id AND delivery.target = room.name AND delivery.state = 'pending'
            AND delivery.next_at <= now()
        ORDER BY delivery.next_at LIMIT room.free
    ) AS first
),
ranked AS (
    SELECT *, row_number() OVER (PARTITION BY tenant_id ORDER BY turn, next_at) AS place FROM due
),
chosen AS (  -- everybody's first before anybody's second
    SELECT tenant_id, id FROM ranked WHERE place <= tenant_free ORDER BY turn, next_at LIMIT :limit
),
free AS (
    SELECT delivery.tenant_id, delivery.id
    FROM webhook_deliveries AS delivery JOIN chosen USING (tenant_id, id)
    WHERE delivery.state = 'pending' AND delivery.next_at <= now()
    FOR UPDATE OF delivery SKIP LOCKED
)
UPDATE webhook_deliveries AS delivery
SET tries = tries + 1, lease_until = now() + make_interval(secs => :lease),
    next_at = now() + make_interval(secs => :lease)
FROM free WHERE delivery.tenant_id = free.tenant_id AND delivery.id = free.id
RETURNING delivery.tenant_id, delivery.id AS delivery_id, tries AS number, failures
""")

_RELEASE = text("""
UPDATE webhook_deliveries AS delivery SET lease_until = NULL, next_at = now()
FROM unnest(CAST(:tenants AS uuid[]), CAST(:deliveries AS uuid[]), CAST(:numbers AS int[]))
    AS held (tenant_id, id, number)
WHERE delivery.tenant_id = held.tenant_id AND delivery.id = held.id AND delivery.tries = held.number
    AND delivery.lease_until IS NOT NULL
""")

_PRUNE = text("""
DELETE FROM webhook_deliveries WHERE (tenant_id, id) IN (
    SELECT tenant_id, id FROM webhook_deliveries
    WHERE created_at < now() - make_interval(secs => :age) AND state <> 'pending' LIMIT 5000
)
""")

_HELD = text("""
SELECT endpoint_id, url, type, event_at, job_id, batch_id, data, now() AS now
FROM webhook_deliveries WHERE id = :delivery AND tries = :number AND state = 'pending'
""")
_JOB = text("SELECT * FROM jobs WHERE id = :job")
_SECRETS = text("""
SELECT id, secret FROM webhook_secrets
WHERE endpoint_id IS NOT DISTINCT FROM CAST(:endpoint AS uuid) AND coalesce(expires_at > now(), true)
ORDER BY created_at DESC, id DESC
""")

_LOG = text("""
INSERT INTO webhook_attempts (tenant_id, delivery_id, number, seconds, status, error, response)
SELECT tenant_id, id, :number, :seconds, CAST(:status AS int), CAST(:error AS text), CAST(:response AS text)
FROM webhook_deliveries WHERE id = :delivery
ON CONFLICT DO NOTHING
""")
_RECORD = text("""
UPDATE webhook_deliveries
SET state = CASE WHEN :delivered THEN 'delivered' WHEN CAST(:pause AS float) IS NULL THEN 'failed' ELSE 'pending' END,
    ended_at = CASE WHEN :delivered OR CAST(:pause AS float) IS NULL THEN now() END,
    failures = failures + CAST(NOT :delivered AS int), lease_until = NULL,
    next_at = now() + make_interval(secs => coalesce(CAST(:pause AS float), 0))
WHERE id = :delivery AND tries = :number AND state = 'pending'
RETURNING endpoint_id
""")
_RECOVERED = text(
    "UPDATE webhook_endpoints SET failing_since = NULL WHERE id = :endpoint AND failing_since IS NOT NULL"
)
_FAILED = text("""
UPDATE webhook_endpoints
SET failing_since = coalesce(failing_since, now()),
    disabled_at = CASE WHEN due THEN now() END,
    disabled_reason = CASE WHEN due THEN CASE WHEN :gone THEN 'gone' ELSE 'failing' END END
FROM (SELECT id, :gone OR coalesce(failing_since < now() - make_interval(secs => :patience), false) AS due
      FROM webhook_endpoints WHERE id = :endpoint FOR UPDATE) AS endpoint
WHERE webhook_endpoints.id = endpoint.id AND disabled_at IS NULL AND (due OR failing_since IS NULL)
RETURNING disabled_reason
""")

_DAY_SECONDS = 86_400.0


class DueDeliveries:
    """The deliveries of all tenants: which are due, not what they tell."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def take(self, limit: int, *, each: int, share: int, lease_seconds: float) -> list[DeliveryRef]:
        """Take what is due for one attempt each, for as long as the lease; then it is due again.

        Everybody's first comes before anybody's second. No address has more than `each` under way, so that one that
        hangs holds up no other, and no tenant more than `share`, so that many that hang hold up nobody else's.
        """
        rows = await self._session.all(_TAKE, limit=limit, each=each, share=share, lease=float(lease_seconds))
        return [read(row, DeliveryRef) for row in rows]

    async def release(self, held: Sequence[DeliveryRef]) -> None:
        """Give back what was taken and not tried to its end."""
        await self._session.run(
            _RELEASE,
            tenants=[ref.tenant_id for ref in held],
            deliveries=[ref.delivery_id for ref in held],
            numbers=[ref.number for ref in held],
        )
        self._session.outbox.deliveries = True

    async def prune(self, retention_days: float) -> int:
        """Drop the log of deliveries made so long ago, none of them pending; call again until nothing is left."""
        return await self._session.run(_PRUNE, age=retention_days * _DAY_SECONDS)


class DeliveryStore:
    """One tenant's side of an attempt: what to send, and what became of it."""

    def __init__(self, session: Session, tenant: UUID) -> None:
        self._session = session
        self._tenant = tenant
        self._webhooks = WebhookStore(session, tenant)

    async def open(self, ref: DeliveryRef) -> Parcel | None:
        """Return all that the attempt needs. None: it was taken over, erased or given up meanwhile."""
        row = await self._session.first(_HELD, delivery=ref.delivery_id, number=ref.number)
        if row is None:
            return None
        return Parcel(
            ref=ref,
            url=row["url"],
            type=WebhookEvent(row["type"]),
            event_at=row["event_at"],
            now=row["now"],
            secrets=[self._opened(secret) for secret in await self._session.all(_SECRETS, endpoint=row["endpoint_id"])],
            job=await self._job(row["job_id"]),
            batch=await self._batch(row["batch_id"]),
            data=row["data"],
        )

    def _opened(self, row: Row) -> str:
        return self._session.seal.open(row["secret"], secret_context(self._tenant, row["id"])).decode()

    async def _job(self, job_id: UUID | None) -> JobRow | None:
        return None if job_id is None else read_job(await self._session.one(_JOB, job=job_id))

    async def _batch(self, batch_id: UUID | None) -> BatchRow | None:
        return None if batch_id is None else await BatchStore(self._session).get(batch_id)

    async def record(self, ref: DeliveryRef, attempted: Attempted) -> None:
        """Log the attempt, and end the delivery or put it off; a stale attempt is logged and changes nothing.

        An endpoint that is gone, or has only failed for too many days (a setting), is disabled.
        """
        await self._session.run(
            _LOG,
            delivery=ref.delivery_id,
            number=ref.number,
            seconds=attempted.seconds,
            status=attempted.status,
            error=attempted.error,
            response=attempted.response,
        )
        row = await self._session.first(
            _RECORD,
            delivery=ref.delivery_id,
            number=ref.number,
            delivered=attempted.delivered,
            pause=attempted.retry_seconds,
        )
        if row is not None and row["endpoint_id"] is not None and not attempted.ours:
            await self._note_health(row["endpoint_id"], attempted)

    async def _note_health(self, endpoint_id: UUID, attempted: Attempted) -> None:
        if attempted.delivered:
            await self._session.run(_RECOVERED, endpoint=endpoint_id)
            return
        patience = self._session.settings.webhook_failing_days * _DAY_SECONDS
        row = await self._session.first(_FAILED, endpoint=endpoint_id, gone=attempted.gone, patience=patience)
        if row is not None and row["disabled_reason"] is not None:
            await self._webhooks.disable(endpoint_id, DisabledReason(row["disabled_reason"]))
