"""Idempotency keys: one for each thing made, so that the same request sent twice makes it once."""

import hmac
from uuid import UUID

from sqlalchemy import text

from milpa.errors import TransientError, UsageError
from storage.rows import Idempotency
from storage.session import Row, Session

_TAKE = text("""
INSERT INTO idempotency_keys (tenant_id, key, body_hash, job_id, batch_id, schedule_id, expires_at)
VALUES (:tenant, :key, :body_hash, :job, :batch, :schedule, now() + make_interval(secs => :seconds))
ON CONFLICT (tenant_id, key) DO UPDATE
SET body_hash = excluded.body_hash, job_id = excluded.job_id, batch_id = excluded.batch_id,
    schedule_id = excluded.schedule_id, expires_at = excluded.expires_at
WHERE idempotency_keys.expires_at <= now()
RETURNING true
""")

_FIND = text("SELECT body_hash, job_id, batch_id, schedule_id FROM idempotency_keys WHERE key = :key")


async def taken(
    session: Session,
    tenant: UUID,
    idempotency: Idempotency,
    *,
    job: UUID | None = None,
    batch: UUID | None = None,
    schedule: UUID | None = None,
) -> Row | None:
    """Take the key for what is about to be made; returns what it made before when it was taken already.

    UsageError (`idempotency_conflict`): it was used with another body. TransientError (`idempotency_busy`): what it
    made is just being erased.
    """
    fresh = await session.first(
        _TAKE,
        tenant=tenant,
        key=idempotency.key,
        body_hash=idempotency.body_hash,
        job=job,
        batch=batch,
        schedule=schedule,
        seconds=session.settings.idempotency_hours * 3600,
    )
    if fresh is not None:
        return None
    made = await session.first(_FIND, key=idempotency.key)
    if made is None:  # erased between the two statements
        raise TransientError("idempotency_busy", "The request of this idempotency key is just being erased.")
    if not hmac.compare_digest(made["body_hash"], idempotency.body_hash):
        raise conflict()
    return made


def conflict() -> UsageError:
    """Return the refusal of a key that was used for something else."""
    return UsageError("idempotency_conflict", "This idempotency key was used with another body.")
