"""What the store of schedules takes and gives. Times are UTC, from the database's clock."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from milpa.jobs import JobState
from storage.rows import NewJob


class Overlap(StrEnum):
    """What a due time does while jobs of the run before have not ended: nothing, or line up behind them."""

    SKIP = "skip"
    QUEUE = "queue"


class RunState(StrEnum):
    """What became of a due time. skipped: the run before had not ended. missed: nobody was there in time."""

    STARTED = "started"
    SKIPPED = "skipped"
    MISSED = "missed"


class NewSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule to make: see `storage.cron` for when it is due.

    jobs: 1 to 1,000, submitted as one batch. webhook_url: handed to each batch. catch_up_minutes: a due time that
    nobody was there for is made up for when it is not older than this.
    """

    name: str
    cron: str
    timezone: str
    jobs: Sequence[NewJob]
    webhook_url: str | None = None
    overlap: Overlap = Overlap.SKIP
    catch_up_minutes: int = 60
    enabled: bool = True


class ScheduleChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What to change of a schedule; what is unset stays."""

    name: str | UnsetType = UNSET
    cron: str | UnsetType = UNSET
    timezone: str | UnsetType = UNSET
    jobs: Sequence[NewJob] | UnsetType = UNSET
    webhook_url: str | UnsetType | None = UNSET
    overlap: Overlap | UnsetType = UNSET
    catch_up_minutes: int | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


class ScheduleRow(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule as stored, without its jobs; size: how many there are. next_due_at: None when not enabled."""

    id: UUID
    tenant_id: UUID
    name: str
    cron: str
    timezone: str
    size: int
    webhook_url: str | None
    overlap: Overlap
    catch_up_minutes: int
    enabled: bool
    next_due_at: datetime | None
    created_at: datetime
    updated_at: datetime


class ScheduleMade(msgspec.Struct, frozen=True):
    """The schedule that answers a wish for one; replayed: its idempotency key had made it before."""

    schedule: ScheduleRow
    replayed: bool


class RunRow(msgspec.Struct, frozen=True, kw_only=True):
    """One run. due_at: None when it was asked for by hand. size, counts: of its batch, where it started one."""

    id: UUID
    schedule_id: UUID
    due_at: datetime | None
    state: RunState
    batch_id: UUID | None
    created_at: datetime
    size: int | None
    counts: dict[JobState, int]


class RunMade(msgspec.Struct, frozen=True):
    """The run that answers a wish for one; replayed: its idempotency key had made it before."""

    run: RunRow
    replayed: bool


class DueSchedule(msgspec.Struct, frozen=True):
    """Names a schedule with something to do."""

    tenant_id: UUID
    id: UUID
