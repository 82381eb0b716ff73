"""What the stores take and give: rows as typed, frozen values. Times are UTC, from the database's clock."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Literal
from uuid import UUID

import msgspec

from milpa.issues import Issue
from milpa.jobs import (
    FileFormat,
    Job,
    JobError,
    JobEvent,
    JobFile,
    JobOptions,
    JobProgress,
    JobState,
    LimitReached,
    Outcome,
    Priority,
)
from milpa.settings import TenantLimits

PayloadName = Literal["input", "question", "result", "report", "log"]


class Idempotency(msgspec.Struct, frozen=True):
    """A caller's key for one request, and the hash of the body it came with."""

    key: str
    body_hash: bytes


class Subject(msgspec.Struct, frozen=True):
    """A person in a tenant's data: of what kind, such as `student`, and with which id."""

    kind: str
    id: str


class NewJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job to submit. `input` is the problem as the worker shall read it: opaque bytes here.

    run_at: not before this time; the job waits as `scheduled`. reuse: answer with an earlier result of the same tenant,
    kind, version, options and input where there is one. question: what was asked of the parent job, where a job answers
    such a question: opaque bytes too. subjects: the persons that the problem names; persons_of: those of another job.
    """

    kind: str
    kind_version: int
    input: bytes
    options: JobOptions = JobOptions()
    files: Sequence[FileFormat] = ()
    name: str | None = None
    tags: Sequence[str] = ()
    priority: Priority = Priority.INTERACTIVE
    webhook_url: str | None = None
    parent_id: UUID | None = None
    question: bytes | None = None
    warnings: Sequence[Issue] = ()
    run_at: datetime | None = None
    reuse: bool = False
    idempotency: Idempotency | None = None
    subjects: Sequence[Subject] = ()
    persons_of: UUID | None = None


class JobRow(msgspec.Struct, frozen=True, kw_only=True):
    """A job as stored, without its payloads."""

    id: UUID
    tenant_id: UUID
    kind: str
    kind_version: int
    name: str | None
    tags: list[str]
    priority: Priority
    options: JobOptions
    files: list[FileFormat]
    webhook_url: str | None
    parent_id: UUID | None
    batch_id: UUID | None
    reused_from: UUID | None
    input_hash: bytes
    state: JobState
    attempt: int
    dispatch_no: int
    error_count: int
    crash_count: int
    last_seq: int
    run_at: datetime
    rung_at: datetime | None
    lease_until: datetime | None
    worker_id: UUID | None
    stop_requested_at: datetime | None
    cancel_requested_at: datetime | None
    outcome: Outcome | None
    limit_reached: LimitReached | None
    objective: float | None
    verified: bool | None
    warnings: list[Issue]
    solve_seconds: float | None
    error: JobError | None
    progress: JobProgress | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    pruned_at: datetime | None

    def public(self, links: dict[str, str] | None = None) -> Job:
        """Return what the outside may see of it."""
        return Job(**{name: getattr(self, name) for name in _PUBLIC}, links=links or {})


_PUBLIC = tuple(name for name in Job.__struct_fields__ if name != "links")


class Submitted(msgspec.Struct, frozen=True):
    """The job that answers a submit; replayed: its idempotency key had made it before."""

    job: JobRow
    replayed: bool


class SubmittedBatch(msgspec.Struct, frozen=True):
    """The batch that answers a submit, its jobs in the order given."""

    batch_id: UUID
    jobs: Sequence[JobRow]
    replayed: bool


class JobFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs to list; None does not filter. name: contained in the job's name, whatever the case."""

    states: Sequence[JobState] = ()
    kind: str | None = None
    tag: str | None = None
    batch_id: UUID | None = None
    parent_id: UUID | None = None
    name: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


class BatchRow(msgspec.Struct, frozen=True, kw_only=True):
    """A batch and how many of its jobs are in each state (states without a job are left out).

    finished_at: when the last of its jobs ended.
    """

    id: UUID
    name: str | None
    webhook_url: str | None
    size: int
    created_at: datetime
    finished_at: datetime | None
    counts: dict[JobState, int]


class ClaimRef(msgspec.Struct, frozen=True):
    """Names one attempt: whoever holds a later one has taken the job over."""

    tenant_id: UUID
    job_id: UUID
    attempt: int


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """All that a worker needs for one attempt. warm_start: the parent job's result payload, where it can be read.

    unreadable: why the input can't be opened, and is empty; such a job is claimed all the same, to be ended.
    """

    ref: ClaimRef
    job: JobRow
    input: bytes
    warm_start: bytes | None
    unreadable: JobError | None = None


class Heartbeat(msgspec.Struct, frozen=True):
    """The answer to a heartbeat: what was asked of the running job meanwhile."""

    stop: bool
    cancel: bool


class NewFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file already put under `object_key`. size: bytes; sha256: hex digest of the content."""

    name: str
    format: FileFormat
    media_type: str
    size: int
    sha256: str
    object_key: str


class FileRow(msgspec.Struct, frozen=True, kw_only=True):
    """A stored file of a job and where its bytes are."""

    job_id: UUID
    name: str
    format: FileFormat
    media_type: str
    size: int
    sha256: str
    object_key: str
    created_at: datetime

    def public(self) -> JobFile:
        """Return what the outside may see of it."""
        return JobFile(
            name=self.name,
            format=self.format,
            media_type=self.media_type,
            size=self.size,
            sha256=self.sha256,
            created_at=self.created_at,
        )


class FileRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Files still to be made for an ended job."""

    job_id: UUID
    formats: list[FileFormat]
    dispatch_no: int
    error_count: int


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How an attempt ended: `succeeded`, `failed` or `cancelled`, and all there is to keep of it.

    solve_seconds: wall time in the solver. result, report: JSON; log: text; as bytes.
    """

    state: JobState
    outcome: Outcome | None = None
    limit_reached: LimitReached | None = None
    objective: float | None = None
    verified: bool | None = None
    warnings: Sequence[Issue] = ()
    solve_seconds: float | None = None
    error: JobError | None = None
    progress: JobProgress | None = None
    result: bytes | None = None
    report: bytes | None = None
    log: bytes | None = None
    files: Sequence[NewFile] = ()


class StreamedEvent(msgspec.Struct, frozen=True):
    """One row of the log over all jobs; `position` resumes after it."""

    position: str
    kind: str
    event: JobEvent


class Task(StrEnum):
    """What a ring asks for: the name of the worker's function."""

    RUN_JOB = "run_job"
    MAKE_FILES = "make_files"


class Ring(msgspec.Struct, frozen=True, kw_only=True):
    """A job to ring for. A ring with an older dispatch number than the row's is stale.

    at: when it was rung, in milliseconds of the epoch by the database's clock; rings are heard in this order.
    """

    tenant_id: UUID
    job_id: UUID
    dispatch_no: int
    priority: Priority
    task: Task = Task.RUN_JOB
    at: float


class WorkerRow(msgspec.Struct, frozen=True, kw_only=True):
    """A worker process; slots: jobs it runs at once, by queue."""

    id: UUID
    name: str
    interactive_slots: int
    batch_slots: int
    started_at: datetime
    seen_at: datetime


class QueueRow(msgspec.Struct, frozen=True, kw_only=True):
    """One queue as it stands. scheduled, waiting, rung, running: jobs in each step; slots: of the workers alive."""

    name: Priority
    paused_at: datetime | None
    scheduled: int
    waiting: int
    rung: int
    running: int
    slots: int


class TenantRow(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant. max_running: jobs rung or running at once, None: no cap. limits: where it differs from the settings."""

    id: UUID
    name: str
    max_running: int | None
    limits: TenantLimits
    created_at: datetime


class Role(StrEnum):
    """What someone may do; from viewer to admin each includes the one before."""

    VIEWER = "viewer"
    PLANNER = "planner"
    MANAGER = "manager"
    ADMIN = "admin"
    TEACHER = "teacher"
    STUDENT = "student"


class ApiKeyRow(msgspec.Struct, frozen=True, kw_only=True):
    """An API key as stored: who holds it may do what, until when. The secret itself is not kept."""

    id: UUID
    tenant_id: UUID
    name: str
    prefix: str
    role: Role
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class NewApiKey(msgspec.Struct, frozen=True):
    """A key just made; `secret` is shown this once and never stored."""

    row: ApiKeyRow
    secret: str

    def __repr__(self) -> str:
        return f"NewApiKey({self.row!r}, '***')"


class Pruned(msgspec.Struct, frozen=True):
    """What a bite of pruning dropped. jobs: how many; object_keys: to delete after the commit."""

    jobs: int
    object_keys: list[str]
