"""Batches: jobs submitted together and counted together."""

from uuid import UUID

from sqlalchemy import text

from storage.rows import BatchRow
from storage.session import Session, read

_GET = text("""
SELECT id, name, webhook_url, size, created_at, finished_at,
    (SELECT coalesce(jsonb_object_agg(state, jobs), '{}')
     FROM (SELECT state, count(*) AS jobs FROM jobs WHERE batch_id = :batch GROUP BY state) AS step) AS counts
FROM batches WHERE id = :batch
""")


class BatchStore:
    """One tenant's batches; `JobStore.submit_batch` makes them."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def get(self, batch_id: UUID) -> BatchRow | None:
        """Return the batch with its counts by state, or None."""
        row = await self._session.first(_GET, batch=batch_id)
        return None if row is None else read(row, BatchRow)
