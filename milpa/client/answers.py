"""What the API answers beside jobs, events and files, which are in `milpa.jobs`."""

from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec

from milpa.jobs import Job, JobState, Outcome

T = TypeVar("T")


class JobResult(msgspec.Struct, frozen=True, kw_only=True):
    """What the solver found. solution: as the kind defines it. gap: |bound − objective| ÷ |objective|, a fraction."""

    outcome: Outcome
    objective: float | None = None
    bound: float | None = None
    gap: float | None = None
    solution: dict[str, Any] | None = None
    explanation: dict[str, Any] = {}
    stats: dict[str, Any] = {}


class JobReport(msgspec.Struct, frozen=True, kw_only=True):
    """What to show of a job.

    facts: `{name, label, value, unit, note, headline}`. tables: `{name, title, columns, rows}`. charts: `{name, title,
    spec}`, Vega-Lite with the data inside.
    """

    title: str
    subtitle: str = ""
    currency: str = ""
    facts: list[dict[str, Any]] = []
    sentences: list[str] = []
    tables: list[dict[str, Any]] = []
    charts: list[dict[str, Any]] = []


class KindSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of job, in short."""

    name: str
    family: str
    version: int
    title: str
    summary: str
    links: dict[str, str] = {}


class KindDetail(KindSummary, frozen=True, kw_only=True):
    """A kind of job with JSON Schemas.

    main_table: the field of the problem whose rows may come as a file. force_schema: of what a why-not can force.
    frontier: fields against which one can be drawn, `{name, label, unit, whole, better}`.
    """

    sense: str
    main_table: str | None = None
    problem_schema: dict[str, Any]
    solution_schema: dict[str, Any]
    force_schema: dict[str, Any] | None = None
    frontier: list[dict[str, Any]] = []


class SubmittedBatch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch that was accepted; its jobs in the order given."""

    id: UUID
    jobs: list[Job]


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch and how many of its jobs are in each state. finished_at: when the last of them ended."""

    id: UUID
    name: str | None = None
    size: int
    created_at: datetime
    finished_at: datetime | None = None
    counts: dict[JobState, int] = {}


class BatchProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How many of a batch's jobs are in each state, as its stream of events tells."""

    batch_id: UUID
    size: int
    counts: dict[JobState, int]


class Children(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs that answer a question about another job, in the order asked for, as one batch."""

    batch_id: UUID
    jobs: list[Job]


class WhyNot(msgspec.Struct, frozen=True, kw_only=True):
    """What forcing something into an answer does.

    job: the one that was solved with it. price: its objective less the parent's; null when one of them has none.
    breaks: names of the constraints that stand against it. sentences: what the explanation says of the job.
    """

    job: Job
    parent_id: UUID | None = None
    force: dict[str, Any] = {}
    objective: float | None = None
    parent_objective: float | None = None
    price: float | None = None
    breaks: list[str] = []
    sentences: list[str] = []


class FrontierPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One value of the limit and its objective, null where there is no solution; then `dominated` is null too."""

    value: float
    objective: float | None = None
    state: JobState
    outcome: Outcome | None = None
    job_id: UUID
    dominated: bool | None = None


class Frontier(msgspec.Struct, frozen=True, kw_only=True):
    """What each value of a limit yields. better: which limit, sense: which objective is the better one.

    chart: `{name, title, spec}`, Vega-Lite with the points inside.
    """

    batch_id: UUID
    parent_id: UUID | None = None
    kind: str
    against: str
    label: str
    unit: str
    better: str
    sense: str
    points: list[FrontierPoint]
    chart: dict[str, Any]


class ComparedJob(msgspec.Struct, frozen=True, kw_only=True):
    """One job of a comparison, and how its problem differs from the baseline's.

    patch: merge patch. changes: the same as `{pointer, before, after}`, the first of `changes_total`.
    """

    job: Job
    patch: dict[str, Any] | None = None
    changes: list[dict[str, Any]] | None = None
    changes_total: int | None = None


class ComparedFact(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of every job, in the order of the jobs; differences from the baseline, relative ones as fractions."""

    name: str
    label: str
    unit: str
    headline: bool
    values: list[Any]
    differences: list[float | None]
    relative_differences: list[float | None]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs of one kind side by side."""

    kind: str
    baseline: UUID
    currency: str = ""
    jobs: list[ComparedJob]
    facts: list[ComparedFact]


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs submitted again and again; size: how many each time. next_due_at: None when not enabled."""

    id: UUID
    name: str
    cron: str
    timezone: str
    size: int
    webhook_url: str | None = None
    overlap: str
    catch_up_minutes: int
    enabled: bool
    next_due_at: datetime | None = None
    created_at: datetime
    updated_at: datetime


class ScheduleRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run: `started`, `skipped` or `missed`. due_at: None when asked for by hand. counts: its jobs by state."""

    id: UUID
    schedule_id: UUID
    due_at: datetime | None = None
    state: str
    batch_id: UUID | None = None
    size: int | None = None
    counts: dict[JobState, int] = {}
    created_at: datetime


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to tell of what. secret: where it was just made. disabled_reason: `asked`, `gone` (410) or `failing`."""

    id: UUID
    url: str
    events: list[str]
    kinds: list[str]
    tags: list[str]
    enabled: bool
    disabled_reason: str | None = None
    failing_since: datetime | None = None
    created_at: datetime
    secret: str | None = None


class WebhookSecret(msgspec.Struct, frozen=True, kw_only=True):
    """A new secret, shown once; the one before signs as well for overlap_hours."""

    secret: str
    overlap_hours: float


class WebhookAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt at a delivery. status: HTTP's, None without an answer. response: the start of its body."""

    number: int
    at: datetime
    seconds: float
    status: int | None = None
    error: str | None = None
    response: str | None = None


class WebhookDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """One event on its way to one address: `pending`, `delivered` or `failed`. Its id is the `webhook-id`."""

    id: UUID
    webhook_id: UUID | None = None
    url: str
    type: str
    job_id: UUID | None = None
    batch_id: UUID | None = None
    state: str
    next_at: datetime | None = None
    created_at: datetime
    ended_at: datetime | None = None
    attempts: list[WebhookAttempt] = []


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """Who may ask, as what, and until when. secret: where it was just made. prefix: how it begins, after `mlp_`."""

    id: UUID
    name: str
    prefix: str
    role: str
    scopes: list[str] = []
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    secret: str | None = None


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One deed: who (subject, and what showed it), what (action, ids), when, from where, and how it was answered."""

    id: UUID
    at: datetime
    kind: str
    subject: str
    role: str | None = None
    action: str
    targets: list[str]
    address: str | None = None
    request_id: str | None = None
    status: int | None = None


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """An export: `pending`, `running`, `ready` until `expires_at`, `failed` or `expired`. size: bytes."""

    id: UUID
    state: str
    subject_kind: str | None = None
    size: int | None = None
    sha256: str | None = None
    reason: str | None = None
    created_at: datetime
    finished_at: datetime | None = None
    expires_at: datetime | None = None


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    """What an erasure has done: the pseudonym, and in how many jobs and schedules it stands."""

    pseudonym: str
    jobs: int
    schedules: int
    files: int


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list; `next` is the address of the next one."""

    items: list[T]
    next: str | None = None
