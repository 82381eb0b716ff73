"""Reading a tenant's jobs: what every store of jobs builds on."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, any_, literal, select, text, tuple_

from storage.rows import JobFilter, JobRow, PayloadName
from storage.session import Session, payload_context, read_job
from storage.tables import jobs

_GET = text("SELECT * FROM jobs WHERE id = :job")
_GET_ENDED = text("""
SELECT jobs.*, payloads.data AS result
FROM jobs LEFT JOIN payloads ON payloads.job_id = jobs.id AND payloads.name = 'result' AND jobs.state = 'succeeded'
WHERE jobs.id = :job
""")
_GET_MANY = text("SELECT * FROM jobs WHERE id = ANY (:jobs)")
_PAYLOAD = text("SELECT data FROM payloads WHERE job_id = :job AND name = :name")


class JobReader:
    """One tenant's jobs as they are. A foreign job is a missing one."""

    def __init__(self, session: Session, tenant: UUID) -> None:
        self._session = session
        self._tenant = tenant

    async def get(self, job_id: UUID) -> JobRow | None:
        """Return the job, or None."""
        row = await self._session.first(_GET, job=job_id)
        return None if row is None else read_job(row)

    async def get_with_result(self, job_id: UUID) -> tuple[JobRow | None, bytes | None]:
        """Return the job, and its result opened once it has succeeded."""
        row = await self._session.first(_GET_ENDED, job=job_id)
        if row is None:
            return None, None
        context = payload_context(self._tenant, job_id, "result")
        return read_job(row), row["result"] and await self._session.seal.open_async(row["result"], context)

    async def get_many(self, job_ids: Sequence[UUID]) -> Sequence[JobRow]:
        """Return those that exist, in the order asked for."""
        rows = await self._session.all(_GET_MANY, jobs=list(job_ids))
        found = {row["id"]: read_job(row) for row in rows}
        return [found[job_id] for job_id in job_ids if job_id in found]

    async def list(
        self, where: JobFilter | None = None, limit: int = 50, after: tuple[datetime, UUID] | None = None
    ) -> Sequence[JobRow]:
        """Return jobs newest first; after: `(created_at, id)` of the last one seen."""
        newest = select(jobs).order_by(jobs.c.created_at.desc(), jobs.c.id.desc()).limit(limit)
        if where is not None:
            newest = newest.where(*_conditions(where))
        if after is not None:
            newest = newest.where(tuple_(jobs.c.created_at, jobs.c.id) < after)
        return [read_job(row) for row in await self._session.all(newest)]

    async def payload(self, job_id: UUID, name: PayloadName) -> bytes | None:
        """Return a payload opened, or None where there is none."""
        row = await self._session.first(_PAYLOAD, job=job_id, name=name)
        if row is None:
            return None
        return await self._session.seal.open_async(row["data"], payload_context(self._tenant, job_id, name))


def _conditions(where: JobFilter) -> Sequence[ColumnElement[bool]]:
    conditions = (
        where.states and jobs.c.state.in_(where.states),
        where.kind and jobs.c.kind == where.kind,
        where.tag and literal(where.tag) == any_(jobs.c.tags),
        where.batch_id and jobs.c.batch_id == where.batch_id,
        where.parent_id and jobs.c.parent_id == where.parent_id,
        where.name and jobs.c.name.icontains(where.name, autoescape=True),
        where.created_after and jobs.c.created_at > where.created_after,
        where.created_before and jobs.c.created_at < where.created_before,
    )
    return [condition for condition in conditions if isinstance(condition, ColumnElement)]
