"""Batches: jobs submitted together and counted together."""

from uuid import UUID

from storage.rows import BatchRow
from storage.session import Session


class BatchStore:
    """One tenant's batches; `JobStore.submit_batch` makes them."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def get(self, batch_id: UUID) -> BatchRow | None:
        """Return the batch with its counts by state, or None."""
        ...
