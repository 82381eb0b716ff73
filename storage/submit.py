"""Submitting: the job, its input, its first event and its idempotency key, in one transaction."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from milpa.errors import UsageError
from milpa.jobs import JobState, new_id
from storage.files import FileStore
from storage.idempotency import conflict, taken
from storage.job_reader import JobReader
from storage.rows import Idempotency, JobRow, NewJob, PayloadName, Ring, Subject, Submitted, SubmittedBatch
from storage.session import Permit, payload_context, read_job, to_json
from storage.subjects import USER, columns_of

_MAKE = """
WITH job AS (
    INSERT INTO jobs (tenant_id, id, kind, kind_version, name, tags, priority, options, files, webhook_url, parent_id,
        batch_id, input_hash, warnings, run_at, rung_at, state, last_seq)
    SELECT CAST(:tenant AS uuid), CAST(:id AS uuid), :kind, CAST(:kind_version AS int), :name, CAST(:tags AS text[]),
        :priority, CAST(:options AS jsonb), CAST(:files AS text[]), :webhook_url, CAST(:parent AS uuid),
        CAST(:batch AS uuid), CAST(:input_hash AS bytea), CAST(:warnings AS jsonb),
        coalesce(CAST(:run_at AS timestamptz), now()),
        CASE
            WHEN NOT CAST(:ring AS boolean) OR CAST(:run_at AS timestamptz) > now() THEN NULL
            WHEN may_ring(:priority, CAST(:tenant AS uuid), CAST(:alive AS float8)) THEN now()
        END,
        CASE WHEN CAST(:run_at AS timestamptz) > now() THEN 'scheduled' ELSE 'queued' END,
        CASE WHEN CAST(:run_at AS timestamptz) > now() THEN 0 ELSE 1 END
    RETURNING *
), kept AS (
    INSERT INTO payloads (tenant_id, job_id, name, data) SELECT tenant_id, id, 'input', :input FROM job
), asked AS (
    INSERT INTO payloads (tenant_id, job_id, name, data)
    SELECT tenant_id, id, 'question', CAST(:question AS bytea) FROM job WHERE CAST(:question AS bytea) IS NOT NULL
), told AS (
    INSERT INTO job_events (tenant_id, job_id, seq, type)
    SELECT tenant_id, id, last_seq, 'queued' FROM job WHERE state = 'queued'
), named AS (
    INSERT INTO job_subjects (tenant_id, job_id, kind, digest)
    SELECT tenant_id, id, person.kind, digest
    FROM job, unnest(CAST(:subject_kinds AS text[]), CAST(:digests AS bytea[])) AS person (kind, digest)
)
"""
_AUDIT = """, audited AS (  -- as AuditLog.keep_if_written does, without its round trip: submits are what is waited for
    INSERT INTO audit_log (tenant_id, kind, subject, role, action, targets, address, request_id, status)
    SELECT tenant_id, :audit_kind, :audit_subject, CAST(:audit_role AS text), :audit_action,
        CAST(:audit_targets AS text[]) || CAST(id AS text), CAST(:audit_address AS text),
        CAST(:audit_request_id AS text), CAST(:audit_status AS int)
    FROM job
)
"""
_JOB = "SELECT * FROM job"
_SUBMIT, _SUBMIT_AUDITED = text(_MAKE + _JOB), text(_MAKE + _AUDIT + _JOB)

_NAME_SAME = text("""
INSERT INTO job_subjects (tenant_id, job_id, kind, digest)
SELECT tenant_id, :job, kind, digest FROM job_subjects WHERE job_id = :other
ON CONFLICT DO NOTHING
""")

_INSERT_BATCH = text(
    "INSERT INTO batches (tenant_id, id, name, webhook_url, size) VALUES (:tenant, :id, :name, :webhook_url, :size)"
)

_REUSABLE = text("""
SELECT id FROM jobs
WHERE input_hash = :input_hash AND state = 'succeeded' AND outcome IN ('optimal', 'infeasible') AND pruned_at IS NULL
ORDER BY finished_at DESC LIMIT 1
FOR SHARE
""")  # shared, so that it can't be erased, its files with it, before this transaction has named them too

_REUSE = text("""
WITH original AS (
    SELECT * FROM jobs WHERE id = :original
), job AS (
    UPDATE jobs
    SET state = 'succeeded', reused_from = original.id, outcome = original.outcome,
        limit_reached = original.limit_reached, objective = original.objective, verified = original.verified,
        warnings = original.warnings, solve_seconds = original.solve_seconds, progress = original.progress,
        last_seq = jobs.last_seq + 1, finished_at = now()
    FROM original WHERE jobs.id = :job
    RETURNING jobs.*
), listed AS (
    INSERT INTO files (tenant_id, job_id, name, format, media_type, size, sha256, object_key)
    SELECT job.tenant_id, job.id, file.name, file.format, file.media_type, file.size, file.sha256, file.object_key
    FROM job, files AS file WHERE file.job_id = :original AND file.format = ANY (job.files)
), told AS (
    INSERT INTO job_events (tenant_id, job_id, seq, type, data)
    SELECT tenant_id, id, last_seq, 'succeeded', jsonb_strip_nulls(jsonb_build_object('outcome', outcome,
        'objective', objective, 'verified', verified, 'reused_from', reused_from))
    FROM job
)
SELECT * FROM job
""")

_KEEP_PAYLOAD = text("INSERT INTO payloads (tenant_id, job_id, name, data) VALUES (:tenant, :job, :name, :data)")

_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtextextended('milpa open jobs ' || :tenant, 0))")
_OPEN = text("SELECT count(*) AS jobs FROM (SELECT FROM jobs WHERE finished_at IS NULL LIMIT :most) AS open")

_IN_BATCH = text("SELECT * FROM jobs WHERE batch_id = :batch ORDER BY id")

MAX_BATCH = 1000
_INLINE_BYTES = 1_000_000
"""Up to this size hashing takes a millisecond at most; larger inputs are hashed off the event loop."""
_COPIED: tuple[PayloadName, ...] = ("result", "report")


class Submission(JobReader):
    """The verbs that make jobs."""

    async def submit(self, new: NewJob) -> Submitted:
        """Make the job, or find the one that its idempotency key made before.

        UsageError (`idempotency_conflict`): the key was used with another body.
        """
        job_id = new_id()
        if new.idempotency is not None and (
            made := await taken(self._session, self._tenant, new.idempotency, job=job_id)
        ):
            job = made["job_id"] and await self.get(made["job_id"])
            if job is None:
                raise conflict()
            return Submitted(job, replayed=True)
        await self._ask(1)
        return Submitted(await self._make(job_id, new), replayed=False)

    async def submit_batch(
        self,
        name: str | None,
        jobs: Sequence[NewJob],
        webhook_url: str | None = None,
        idempotency: Idempotency | None = None,
    ) -> SubmittedBatch:
        """Make up to 1,000 jobs that belong together; their own idempotency keys are not looked at.

        UsageError (`idempotency_conflict`): the key was used with another body. (`batch_size`): none, or too many.
        """
        if not 0 < len(jobs) <= MAX_BATCH:
            raise UsageError("batch_size", f"A batch has 1 to {MAX_BATCH:,} jobs, not {len(jobs):,}.")
        batch_id = new_id()
        if idempotency is not None and (made := await taken(self._session, self._tenant, idempotency, batch=batch_id)):
            if made["batch_id"] is None:
                raise conflict()
            return SubmittedBatch(made["batch_id"], await self._in_batch(made["batch_id"]), replayed=True)
        await self._ask(len(jobs))
        await self._session.run(
            _INSERT_BATCH, tenant=self._tenant, id=batch_id, name=name, webhook_url=webhook_url, size=len(jobs)
        )
        job_ids = [new_id() for _ in jobs]
        await self._make_all(batch_id, dict(zip(job_ids, jobs, strict=True)))
        return SubmittedBatch(batch_id, await self.get_many(job_ids), replayed=False)

    async def resubmit(self, job_id: UUID) -> JobRow | None:
        """Make a new job from the input of a failed or cancelled one. None: there is no such job.

        UsageError (`not_retryable`): it has not failed or been cancelled. (`input_gone`): its input was pruned.
        """
        job = await self.get(job_id)
        if job is None:
            return None
        if job.state not in {JobState.FAILED, JobState.CANCELLED}:
            raise UsageError(
                "not_retryable", f"Only a failed or cancelled job can be retried; this one is {job.state}."
            )
        return (await self.submit(await self.again(job))).job

    async def again(self, job: JobRow) -> NewJob:
        """Return a new job that asks the same as this one. UsageError (`input_gone`): its input was pruned."""
        problem = await self.payload(job.id, "input")
        if problem is None:
            raise UsageError("input_gone", "The job's problem was removed after its retention time.")
        return _same(job, problem, await self.payload(job.id, "question"))

    def ask_before_making(self, permit: Permit) -> None:
        """Ask for permission from now on before any job is made: replays make none, and ask nobody."""
        self._session.permit = permit

    async def count_alone(self) -> None:
        """Let nobody else count the tenant's open jobs until the transaction ends: two can't both see the last place.

        What others had committed before is seen by the statements that follow.
        """
        await self._session.run(_ONE_AT_A_TIME, tenant=str(self._tenant))

    async def open_jobs(self, most: int) -> int:
        """Return how many of the tenant's jobs have not ended; counting stops at `most`."""
        return int((await self._session.one(_OPEN, most=most))["jobs"])

    async def _ask(self, count: int) -> None:
        if self._session.permit is not None:
            await self._session.permit(count)

    async def _make(self, job_id: UUID, new: NewJob, batch_id: UUID | None = None) -> JobRow:
        values = await self._values(job_id, new, batch_id)
        deed = self._deed() if batch_id is None else {}
        job = read_job(await self._session.one(_SUBMIT_AUDITED if deed else _SUBMIT, **values, **deed))
        await self._name_same(job_id, new)
        if new.reuse and (original := await self._session.first(_REUSABLE, input_hash=job.input_hash)):
            job = await self._reuse(job_id, original["id"])
        self._session.outbox.event(self._tenant, job_id, job.last_seq)
        if job.rung_at is None:
            self._session.outbox.waiting = True
        else:
            self._session.outbox.rings.append(_ring(job, job.rung_at))
        self._session.outbox.deliveries |= job.state.ended
        return job

    async def _make_all(self, batch_id: UUID, jobs: dict[UUID, NewJob]) -> None:
        plain = [await self._values(job_id, new, batch_id) for job_id, new in jobs.items() if not new.reuse]
        if plain:
            await self._session.run_many(_SUBMIT, plain)
        for job_id, new in jobs.items():
            if new.reuse:
                await self._make(job_id, new, batch_id)
            else:
                await self._name_same(job_id, new)
                self._session.outbox.event(self._tenant, job_id, 1)
        self._session.outbox.waiting = True

    async def _name_same(self, job_id: UUID, new: NewJob) -> None:
        if new.persons_of is not None:
            await self._session.run(_NAME_SAME, job=job_id, other=new.persons_of)

    async def _values(self, job_id: UUID, new: NewJob, batch_id: UUID | None) -> dict[str, Any]:
        return {
            "tenant": self._tenant,
            "id": job_id,
            "kind": new.kind,
            "kind_version": new.kind_version,
            "name": new.name,
            "tags": list(new.tags),
            "priority": new.priority,
            "options": to_json(new.options),
            "files": list(new.files),
            "webhook_url": new.webhook_url,
            "parent": new.parent_id,
            "batch": batch_id,
            "input_hash": await self._input_hash(new),
            "warnings": to_json(new.warnings),
            "run_at": new.run_at,
            "ring": self._session.rings and batch_id is None and not new.reuse,
            "alive": self._session.settings.lease_seconds,
            "input": await self._seal_payload(job_id, "input", new.input),
            "question": new.question and await self._seal_payload(job_id, "question", new.question),
            **columns_of(self._session, [*new.subjects, *self._asker()]),
        }

    def _deed(self) -> dict[str, Any]:
        """Return the request that submits as the audit's columns, once in its transaction."""
        trail = self._session.trail
        if trail is None or trail.kept or self._session.audited:
            return {}
        self._session.audited = True
        return {f"audit_{name}": value for name, value in trail.columns.items() if name != "tenant_id"}

    def _asker(self) -> Sequence[Subject]:
        return [Subject(USER, self._session.trail.actor.subject)] if self._session.trail else []

    async def _seal_payload(self, job_id: UUID, name: PayloadName, data: bytes) -> bytes:
        return await self._session.seal.seal_async(data, payload_context(self._tenant, job_id, name))

    async def _input_hash(self, new: NewJob) -> bytes:
        what = (new.kind, str(new.kind_version), to_json(new.options) or "", "")
        head = "\0".join(what).encode()
        if len(new.input) < _INLINE_BYTES:
            return self._session.digest("input", head, new.input)
        return await asyncio.to_thread(self._session.digest, "input", head, new.input)

    async def _reuse(self, job_id: UUID, original_id: UUID) -> JobRow:
        copied = [name for name in _COPIED if await self._copy(original_id, job_id, name)]
        job = read_job(await self._session.one(_REUSE, job=job_id, original=original_id))
        if job.files and "report" in copied:
            await FileStore(self._session, self._tenant).request(job_id, job.files)
        return job

    async def _copy(self, original_id: UUID, job_id: UUID, name: PayloadName) -> bool:
        data = await self.payload(original_id, name)
        if data is None:
            return False
        sealed = await self._seal_payload(job_id, name, data)
        await self._session.run(_KEEP_PAYLOAD, tenant=self._tenant, job=job_id, name=name, data=sealed)
        return True

    async def _in_batch(self, batch_id: UUID) -> Sequence[JobRow]:
        return [read_job(row) for row in await self._session.all(_IN_BATCH, batch=batch_id)]


def _ring(job: JobRow, rung_at: datetime) -> Ring:
    return Ring(
        tenant_id=job.tenant_id,
        job_id=job.id,
        dispatch_no=job.dispatch_no,
        priority=job.priority,
        at=1000 * rung_at.timestamp(),
    )


def _same(job: JobRow, problem: bytes, question: bytes | None) -> NewJob:
    return NewJob(
        kind=job.kind,
        kind_version=job.kind_version,
        input=problem,
        options=job.options,
        files=job.files,
        name=job.name,
        tags=job.tags,
        priority=job.priority,
        webhook_url=job.webhook_url,
        parent_id=job.parent_id,
        question=question,
        persons_of=job.id,
    )
