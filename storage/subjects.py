"""Persons in a tenant's jobs: found by a keyed hash of their id, read together, and put under a pseudonym."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import text

from milpa.jobs import JobState, new_id
from storage.job_reader import JobReader
from storage.rows import JobRow, PayloadName, Subject
from storage.session import Session, payload_context, read_job, to_json

USER = "user"
"""The kind of persons who ask: a subject is an API key's id or a token's `sub`."""

_JOBS = text("""
SELECT id, state FROM jobs JOIN job_subjects AS named ON named.tenant_id = jobs.tenant_id AND named.job_id = jobs.id
WHERE named.kind = :kind AND named.digest = :digest
ORDER BY id
""")
_LOCK = text("SELECT * FROM jobs WHERE id = :job AND finished_at IS NOT NULL FOR UPDATE")
_REWRITE = text("UPDATE payloads SET data = :data WHERE job_id = :job AND name = :name")
_DESCRIBE = text("""
UPDATE jobs
SET name = :name, tags = CAST(:tags AS text[]), warnings = CAST(:warnings AS jsonb), error = CAST(:error AS jsonb),
    input_hash = :input_hash
WHERE id = :job
""")
_NAME_BATCH = text("UPDATE batches SET name = :name WHERE id = :batch")
_BATCH = text("SELECT name FROM batches WHERE id = :batch")
_DROP_LOG = text("DELETE FROM payloads WHERE job_id = :job AND name = 'log'")
_DROP_REQUEST = text("DELETE FROM file_requests WHERE job_id = :job")
_DROP_FILES = text("""
WITH gone AS (DELETE FROM files WHERE job_id = :job)
SELECT DISTINCT object_key FROM files AS mine
WHERE job_id = :job
    AND NOT EXISTS (SELECT FROM files AS other WHERE other.object_key = mine.object_key AND other.job_id <> mine.job_id)
""")
_REDACT_EVENTS = text("SELECT redact_events(CAST(:job AS uuid))")
_FORGET = text("DELETE FROM job_subjects WHERE job_id = :job AND kind = :kind AND digest = :digest")
_FORGET_EVERYWHERE = text("DELETE FROM job_subjects WHERE kind = :kind AND digest = :digest")
_RENAME_ASKER = text("UPDATE exports SET requested_by = :alias WHERE requested_by = :id")
_END_KEY = text("""
UPDATE api_keys SET name = :alias, revoked_at = coalesce(revoked_at, now()) WHERE CAST(id AS text) = :id
""")

REWRITTEN: tuple[PayloadName, ...] = ("input", "question", "result", "report")
"""The payloads that may name a person; the log goes."""


class SubjectJob(msgspec.Struct, frozen=True):
    """A job that names a person."""

    id: UUID
    state: JobState


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """All text of an ended job that may name a person. batch: the name of its batch."""

    job: JobRow
    batch: str | None
    payloads: Mapping[PayloadName, bytes]


class SubjectStore(JobReader):
    """One tenant's persons."""

    async def jobs(self, subject: Subject) -> Sequence[SubjectJob]:
        """Return the jobs that name the person, the oldest first."""
        rows = await self._session.all(_JOBS, kind=subject.kind, digest=digest_of(self._session, subject))
        return [SubjectJob(row["id"], JobState(row["state"])) for row in rows]

    async def told(self, job_id: UUID) -> Told | None:
        """Return what an ended job tells, locked until it is rewritten. None: it is gone, or has not ended."""
        row = await self._session.first(_LOCK, job=job_id)
        if row is None:
            return None
        job = read_job(row)
        batch = job.batch_id and await self._session.first(_BATCH, batch=job.batch_id)
        payloads = {name: data for name in REWRITTEN if (data := await self.payload(job_id, name)) is not None}
        return Told(job=job, batch=batch["name"] if batch else None, payloads=payloads)

    async def rewrite(self, subject: Subject, told: Told) -> Sequence[str]:
        """Keep a job as it is told now, and forget that it names the person.

        Its log, its files and the free text of its events go. Returns the keys of objects to delete after the commit.
        """
        job = told.job
        for name, data in told.payloads.items():
            sealed = await self._session.seal.seal_async(data, payload_context(self._tenant, job.id, name))
            await self._session.run(_REWRITE, job=job.id, name=name, data=sealed)
        await self._session.run(
            _DESCRIBE,
            job=job.id,
            name=job.name,
            tags=list(job.tags),
            warnings=to_json(job.warnings),
            error=to_json(job.error),
            input_hash=self._session.digest("rewritten", job.id.bytes, new_id().bytes),  # nothing is like it any more
        )
        if job.batch_id is not None:
            await self._session.run(_NAME_BATCH, batch=job.batch_id, name=told.batch)
        keys = [row["object_key"] for row in await self._session.all(_DROP_FILES, job=job.id)]
        for drop in (_DROP_LOG, _DROP_REQUEST):
            await self._session.run(drop, job=job.id)
        await self._session.first(_REDACT_EVENTS, job=job.id)
        digest = digest_of(self._session, subject)
        await self._session.run(_FORGET, job=job.id, kind=subject.kind, digest=digest)
        return keys

    async def forget_user(self, subject_id: str, alias: str) -> bool:
        """Forget who asked for which jobs and exports, and end an API key of that id, under another name.

        False: there is none.
        """
        digest = digest_of(self._session, Subject(USER, subject_id))
        links = await self._session.run(_FORGET_EVERYWHERE, kind=USER, digest=digest)
        for rename in (_RENAME_ASKER, _END_KEY):
            links += await self._session.run(rename, id=subject_id, alias=alias)
        return links > 0


def digest_of(session: Session, subject: Subject) -> bytes:
    """Return the keyed hash that a person is found by: without the key, nobody is found by it."""
    return session.digest("subject", subject.kind.encode(), b"\0", subject.id.encode())


def columns_of(session: Session, subjects: Sequence[Subject]) -> dict[str, Any]:
    """Return persons as a statement takes them, each once."""
    unique = list(dict.fromkeys(subjects))
    return {
        "subject_kinds": [subject.kind for subject in unique],
        "digests": [digest_of(session, subject) for subject in unique],
    }
