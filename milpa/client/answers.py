"""What the API answers beside jobs, events and files, which are in `milpa.jobs`."""

from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec

from milpa.jobs import Job, JobState, Outcome

T = TypeVar("T")


class Issue(msgspec.Struct, frozen=True, kw_only=True):
    """One thing wrong with a request. pointer: RFC 6901, into the body; row (header = 1), column: into a table."""

    code: str
    pointer: str
    message: str
    severity: str = "error"
    row: int | None = None
    column: str | None = None

    def __str__(self) -> str:
        where = self.pointer or "the body"
        if self.row is not None:
            where = f"row {self.row}, column {self.column}" if self.column else f"row {self.row}"
        return f"{where}: {self.message} [{self.code}]"


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
    """A kind of job with JSON Schemas. main_table: the field of the problem whose rows may come as a file."""

    sense: str
    main_table: str | None = None
    problem_schema: dict[str, Any]
    solution_schema: dict[str, Any]


class SubmittedBatch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch that was accepted; its jobs in the order given."""

    id: UUID
    jobs: list[Job]


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch and how many of its jobs are in each state."""

    id: UUID
    name: str | None = None
    size: int
    created_at: datetime
    counts: dict[JobState, int] = {}


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list; `next` is the address of the next one."""

    items: list[T]
    next: str | None = None
