"""The life of a job as pure rules: states, transitions, events and what the outside sees of a job. No I/O."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any
from uuid import UUID

import msgspec
from uuid_utils.compat import uuid7

from milpa.issues import Issue


class JobState(StrEnum):
    """Where a job stands in the queue; the solver's word is `Job.outcome`."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether no transition leads out of this state."""
        return not TRANSITIONS[self]


TRANSITIONS: Mapping[JobState, frozenset[JobState]] = MappingProxyType(
    {
        JobState.SCHEDULED: frozenset({JobState.QUEUED, JobState.CANCELLED, JobState.SUCCEEDED}),
        JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED, JobState.SUCCEEDED}),
        JobState.RUNNING: frozenset({JobState.QUEUED, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}),
        JobState.SUCCEEDED: frozenset(),
        JobState.FAILED: frozenset(),
        JobState.CANCELLED: frozenset(),
    }
)
"""Every legal step. A waiting job ends without running when it is cancelled, stopped (succeeded, `no_solution`) or
answered by an earlier one."""


class Outcome(StrEnum):
    """What the solver found; `done` is the outcome of report kinds."""

    OPTIMAL = "optimal"
    FEASIBLE = "feasible"
    INFEASIBLE = "infeasible"
    UNBOUNDED = "unbounded"
    NO_SOLUTION = "no_solution"
    DONE = "done"


class LimitReached(StrEnum):
    """Why a solve ended before it was proven. A gap that was asked for is not an early end."""

    TIME = "time"
    MEMORY = "memory"
    STOPPED = "stopped"


class Priority(StrEnum):
    """Which queue a job waits in: a person waits for `interactive`, a night for `batch`."""

    INTERACTIVE = "interactive"
    BATCH = "batch"


class EventType(StrEnum):
    """The types of rows in a job's event log."""

    QUEUED = "queued"
    STARTED = "started"
    PHASE = "phase"
    INCUMBENT = "incumbent"
    RETRYING = "retrying"
    RESCUED = "rescued"
    FILE = "file"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether this event closes the job's stream."""
        return self in TERMINAL_EVENTS


TERMINAL_EVENTS = frozenset({EventType.SUCCEEDED, EventType.FAILED, EventType.CANCELLED})


class FileFormat(StrEnum):
    """The formats a job's report can be rendered to."""

    XLSX = "xlsx"
    CSV = "csv"
    PDF = "pdf"
    PNG = "png"


class JobProgress(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The newest progress of a running job.

    fraction: share of the phase done, 0 to 1. objective, bound: in the unit of the kind's objective.
    gap: |bound − objective| ÷ max(1e-9, |objective|), as a fraction.
    """

    phase: str | None = None
    fraction: float | None = None
    objective: float | None = None
    bound: float | None = None
    gap: float | None = None


class JobError(msgspec.Struct, frozen=True):
    """Why a job failed: a stable code and a sentence for people, never a stack trace."""

    code: str
    message: str


class JobOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """How long and how hard to solve.

    time_limit_seconds: wall time of the solve. relative_gap: a solution within this fraction of the bound counts as
    optimal. threads: the worker's setting when left out. seed: same seed, same answer.
    """

    time_limit_seconds: Annotated[float, msgspec.Meta(gt=0)] | None = None
    relative_gap: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1e-4
    threads: Annotated[int, msgspec.Meta(ge=1, le=64)] | None = None
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] = 0


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job as the API shows it. Times are UTC; `solve_seconds` is wall time in the solver.

    warnings: issues that did not stop it.
    """

    id: UUID
    kind: str
    kind_version: int
    name: str | None = None
    tags: list[str] = []
    state: JobState
    outcome: Outcome | None = None
    limit_reached: LimitReached | None = None
    attempt: int = 0
    priority: Priority = Priority.INTERACTIVE
    parent_id: UUID | None = None
    batch_id: UUID | None = None
    reused_from: UUID | None = None
    progress: JobProgress | None = None
    verified: bool | None = None
    warnings: list[Issue] = []
    objective: float | None = None
    error: JobError | None = None
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    solve_seconds: float | None = None
    links: dict[str, str] = {}


class JobEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a job's event log; `seq` counts from 1 without gaps within the job."""

    job_id: UUID
    seq: int
    type: EventType
    data: dict[str, Any] = {}
    at: datetime


class JobFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a job. size: bytes; sha256: hex digest of the content."""

    name: str
    format: FileFormat
    media_type: str
    size: int
    sha256: str
    created_at: datetime


def new_id() -> UUID:
    """Return a fresh UUIDv7: unique, and sorted by time of making."""
    return UUID(int=uuid7().int)
