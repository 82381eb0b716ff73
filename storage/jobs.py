"""The tenant's jobs: reading them, asking them to end, erasing them."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from storage.attempts import Attempts
from storage.rows import JobFilter, JobRow, PayloadName
from storage.session import Session, payload_context
from storage.submit import Submission


class JobStore(Submission, Attempts):
    """All that one tenant can do to its jobs. A foreign job is a missing one."""

    def __init__(self, session: Session, tenant: UUID) -> None:
        self._session = session
        self._tenant = tenant

    async def get(self, job_id: UUID) -> JobRow | None:
        """Return the job, or None."""
        ...

    async def list(
        self, where: JobFilter = JobFilter(), limit: int = 50, after: tuple[datetime, UUID] | None = None
    ) -> Sequence[JobRow]:
        """Return jobs newest first; after: `(created_at, id)` of the last one seen."""
        ...

    async def get_many(self, job_ids: Sequence[UUID]) -> Sequence[JobRow]:
        """Return those that exist, in the order asked for."""
        ...

    async def payload(self, job_id: UUID, name: PayloadName) -> bytes | None:
        """Return a payload opened, or None where there is none."""
        ...

    async def request_stop(self, job_id: UUID) -> JobRow | None:
        """Ask the job to end now with the best it has; one that does not run yet ends at once with `no_solution`.

        None: there is no such job. UsageError (`job_ended`): it has ended.
        """
        ...

    async def request_cancel(self, job_id: UUID) -> JobRow | None:
        """Ask the job to end now and keep nothing; one that does not run yet is cancelled at once.

        None: there is no such job. UsageError (`job_ended`): it has ended.
        """
        ...

    async def delete(self, job_id: UUID) -> Sequence[str] | None:
        """Erase an ended job with all that belongs to it; returns the keys of the objects to delete after the commit.

        None: there is no such job. UsageError (`job_not_ended`): it has not ended.
        """
        ...

    async def _open(self, sealed: bytes, job_id: UUID, name: PayloadName) -> bytes:
        return await self._session.seal.open_async(sealed, payload_context(self._tenant, job_id, name))
