"""What an export holds: everything of a tenant, or the parts of it that are about one person."""

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Table

from solvers.persons import Person, parts_about, words_for
from solvers.registry import AnyKind
from storage.audit_rows import AuditFilter, AuditRow
from storage.everything import LISTED, PIECE, key_of, shown
from storage.export_rows import ExportRef, ExportTask
from storage.objects import ObjectStore
from storage.rows import JobFilter, JobRow, NewJob, PayloadName, Subject
from storage.schedule_rows import ScheduleRow
from storage.subjects import USER
from storage.transaction import Database
from workers.zip_stream import ZipStream

_JOBS = 100
_PARTS: Mapping[PayloadName, str] = {
    "input": "problem.json",
    "question": "question.json",
    "result": "result.json",
    "report": "report.json",
    "log": "log.txt",
}
_ABOUT: Mapping[PayloadName, str] = {"input": "problem", "result": "result", "report": "report"}


class RecalledError(Exception):
    """The export is no longer wanted, or another worker makes it."""


class Packer:
    """Packs one export. Each piece is read in a short transaction of its own, and what is in memory is one piece."""

    def __init__(
        self,
        database: Database,
        objects: ObjectStore,
        kinds: Mapping[str, AnyKind],
        ref: ExportRef,
        archive: ZipStream,
    ) -> None:
        self._database = database
        self._objects = objects
        self._kinds = kinds
        self._ref = ref
        self._archive = archive
        self._counts: Counter[str] = Counter()

    async def pack(self, task: ExportTask) -> None:
        """Put everything in. RecalledError: stop, and throw away what there is."""
        if task.subject is None:
            await self._everything(task)
        else:
            await self._person(task.subject)
        manifest = {"tenant_id": self._ref.tenant_id, "until": task.until, "counts": dict(self._counts)}
        await self._json("manifest.json", manifest)

    async def _go_on(self) -> None:
        async with self._database.transaction(self._ref.tenant_id) as tenant:
            if not await tenant.exports.renew(self._ref):
                raise RecalledError

    async def _json(self, name: str, value: Any) -> None:
        await self._archive.add(name, msgspec.json.encode(value))

    # Everything

    async def _everything(self, task: ExportTask) -> None:
        async for job in self._jobs(task):
            await self._go_on()
            await self._whole_job(job)
        async for schedule, jobs in self._schedules():
            await self._json(f"schedules/{schedule.id}.json", [_as_submitted(job) for job in jobs])
        for name, table in LISTED.items():
            await self._archive.add_pieces(f"{name}.jsonl", self._lines(name, table))

    async def _jobs(self, task: ExportTask) -> AsyncIterator[JobRow]:
        after = None
        where = JobFilter(created_before=task.until)
        while True:
            async with self._database.transaction(self._ref.tenant_id) as tenant:
                page = await tenant.jobs.list(where, _JOBS, after)
            for job in page:
                yield job
            if len(page) < _JOBS:
                return
            after = (page[-1].created_at, page[-1].id)

    async def _whole_job(self, job: JobRow) -> None:
        folder = f"jobs/{job.id}"
        self._counts["jobs"] += 1
        await self._json(f"{folder}/job.json", job.public())
        for name, entry in _PARTS.items():
            async with self._database.transaction(job.tenant_id) as tenant:
                data = await tenant.jobs.payload(job.id, name)
            if data is not None:
                await self._archive.add(f"{folder}/{entry}", data)
        await self._archive.add_pieces(f"{folder}/events.jsonl", self._events(job.id))
        async with self._database.transaction(job.tenant_id) as tenant:
            files = await tenant.files.list(job.id)
        for file in files:
            await self._file(f"{folder}/files/{file.name}", file.object_key)

    async def _file(self, name: str, key: str) -> None:
        try:
            pieces = await self._objects.stream(key)
        except FileNotFoundError:  # pruned or erased meanwhile
            return
        await self._archive.add_pieces(name, pieces)
        self._counts["files"] += 1

    async def _events(self, job_id: UUID) -> AsyncIterator[bytes]:
        seq = 0
        while True:
            async with self._database.transaction(self._ref.tenant_id) as tenant:
                events = await tenant.events.after(job_id, seq, PIECE)
            yield _lines(events)
            if len(events) < PIECE:
                return
            seq = events[-1].seq

    async def _lines(self, name: str, table: Table) -> AsyncIterator[bytes]:
        after = None
        while True:
            async with self._database.transaction(self._ref.tenant_id) as tenant:
                rows = await tenant.everything.rows(table, after)
            self._counts[name] += len(rows)
            yield _lines([shown(row) for row in rows])
            if len(rows) < PIECE:
                return
            after = key_of(table, rows[-1])
            await self._go_on()

    async def _schedules(self) -> AsyncIterator[tuple[ScheduleRow, Sequence[NewJob]]]:
        before = None
        while True:
            async with self._database.transaction(self._ref.tenant_id) as tenant:
                page = await tenant.schedules.list(_JOBS, before)
            for schedule in page:
                async with self._database.transaction(self._ref.tenant_id) as tenant:
                    jobs = await tenant.schedules.jobs(schedule.id)
                yield schedule, jobs or []
            if len(page) < _JOBS:
                return
            before = (page[-1].created_at, page[-1].id)

    # One person

    async def _person(self, subject: Subject) -> None:
        async with self._database.transaction(self._ref.tenant_id) as tenant:
            jobs = await tenant.subjects.jobs(subject)
        for job in jobs:
            await self._go_on()
            await self._about_job(job.id, subject)
        async for schedule, planned in self._schedules():
            about = [self._about(job.kind, {"input": job.input}, subject) for job in planned if subject in job.subjects]
            if about:
                await self._json(f"schedules/{schedule.id}.json", about)
        await self._archive.add_pieces("audit.jsonl", self._audit(subject))

    async def _about_job(self, job_id: UUID, subject: Subject) -> None:
        async with self._database.transaction(self._ref.tenant_id) as tenant:
            row = await tenant.jobs.get(job_id)
            names = () if subject.kind == USER else _ABOUT
            payloads = {name: await tenant.jobs.payload(job_id, name) for name in names}
        if row is None:  # erased meanwhile
            return
        self._counts["jobs"] += 1
        described = row.public() if subject.kind == USER else _who_and_when(row)
        await self._json(f"jobs/{job_id}.json", {"job": described, **self._about(row.kind, payloads, subject)})

    def _about(
        self, kind_name: str, payloads: Mapping[PayloadName, bytes | None], subject: Subject
    ) -> Mapping[str, Any]:
        values = {name: msgspec.json.decode(data) for name, data in payloads.items() if data is not None}
        kind = self._kinds.get(kind_name)
        words = words_for(kind.subjects if kind else (), values.get("input"), Person(subject.kind, subject.id))
        return {_ABOUT[name]: parts_about(value, words) for name, value in values.items()}

    async def _audit(self, subject: Subject) -> AsyncIterator[bytes]:
        name = f"{subject.kind}:{self._database.pseudonym(subject)}"
        where = AuditFilter(subject=subject.id) if subject.kind == USER else AuditFilter(target=name)
        before = None
        while True:
            async with self._database.transaction(self._ref.tenant_id) as tenant:
                rows: Sequence[AuditRow] = await tenant.audit.list(where, PIECE, before)
            self._counts["audit"] += len(rows)
            yield _lines(rows)
            if len(rows) < PIECE:
                return
            before = (rows[-1].at, rows[-1].id)


def _lines(rows: Sequence[Any]) -> bytes:
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)


def _who_and_when(row: JobRow) -> Mapping[str, Any]:
    return {"id": row.id, "kind": row.kind, "state": row.state, "created_at": row.created_at}


def _as_submitted(job: NewJob) -> Mapping[str, Any]:
    fields = msgspec.structs.asdict(job)
    return {**fields, "input": msgspec.Raw(job.input), "question": job.question and msgspec.Raw(job.question)}
