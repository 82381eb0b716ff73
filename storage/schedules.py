"""Schedules: which jobs to submit when, and one row for each due time, whoever got there first."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice, takewhile
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import bindparam, func, insert, select, text, update

from milpa.jobs import new_id
from storage import tables
from storage.audit import AuditLog
from storage.cron import due_times, next_due
from storage.idempotency import conflict, taken
from storage.jobs import JobStore
from storage.rows import Idempotency, NewJob, SubmittedBatch
from storage.schedule_rows import (
    DueSchedule,
    NewSchedule,
    Overlap,
    RunMade,
    RunRow,
    RunState,
    ScheduleChanges,
    ScheduleMade,
    ScheduleRow,
)
from storage.session import Row, Session, read

_SCHEDULES = tables.schedules
_ROW = tuple(column for column in _SCHEDULES.c if column.name != "jobs")
_THIS = _SCHEDULES.c.id == bindparam("schedule")

_NOW = text("SELECT now() AS now")
_CREATE = insert(_SCHEDULES).returning(*_ROW)
_GET = select(*_ROW).where(_THIS)
_LOCK = _GET.with_for_update()
_UPDATE = update(_SCHEDULES).where(_THIS)

_LIST = (
    select(*_ROW)
    .where(text("(CAST(:before AS timestamptz) IS NULL OR (created_at, id) < (:before, CAST(:before_id AS uuid)))"))
    .order_by(_SCHEDULES.c.created_at.desc(), _SCHEDULES.c.id.desc())
    .limit(bindparam("limit"))
)

_DELETE = text("DELETE FROM schedules WHERE id = :schedule")

_LOCK_DUE = text("""
SELECT cron, timezone, overlap, catch_up_minutes, next_due_at, now() AS now
FROM schedules WHERE id = :schedule AND next_due_at <= now()
FOR UPDATE SKIP LOCKED
""")

_WHAT_TO_SUBMIT = text("SELECT name, jobs, webhook_url FROM schedules WHERE id = :schedule FOR KEY SHARE")

_MOVE_ON = text("UPDATE schedules SET next_due_at = :next WHERE id = :schedule")

_HAD = text("SELECT true FROM schedule_runs WHERE schedule_id = :schedule AND due_at = :due")

_BUSY = text("""
SELECT true FROM jobs
WHERE finished_at IS NULL AND batch_id = (
    SELECT batch_id FROM schedule_runs WHERE schedule_id = :schedule AND batch_id IS NOT NULL
    ORDER BY created_at DESC, id DESC LIMIT 1
)
LIMIT 1
""")

_RECORD = text("""
INSERT INTO schedule_runs (tenant_id, id, schedule_id, due_at, state, batch_id)
VALUES (:tenant, :id, :schedule, :due, :state, :batch)
""")

_RECORD_MISSED = text("""
INSERT INTO schedule_runs (tenant_id, id, schedule_id, due_at, state)
VALUES (:tenant, :id, :schedule, :due, 'missed')
ON CONFLICT (tenant_id, schedule_id, due_at) DO NOTHING
""")

_RUNS = """
SELECT run.*, batches.size, coalesce(step.counts, '{}') AS counts
FROM schedule_runs AS run
LEFT JOIN batches ON batches.tenant_id = run.tenant_id AND batches.id = run.batch_id
LEFT JOIN LATERAL (
    SELECT jsonb_object_agg(state, jobs) AS counts
    FROM (SELECT state, count(*) AS jobs FROM jobs WHERE batch_id = run.batch_id GROUP BY state) AS state
) AS step ON true
"""

_RUN_OF_BATCH = text(_RUNS + "WHERE run.batch_id = :batch")

_LIST_RUNS = text(
    _RUNS
    + """
WHERE run.schedule_id = :schedule
    AND (CAST(:before AS timestamptz) IS NULL OR (run.created_at, run.id) < (:before, CAST(:before_id AS uuid)))
ORDER BY run.created_at DESC, run.id DESC LIMIT :limit
"""
)

_DUE = text("""
SELECT tenant_id, id FROM schedules
WHERE next_due_at <= now() AND id <> ALL (CAST(:but AS uuid[])) ORDER BY next_due_at LIMIT :limit
""")

_PRUNE_RUNS = text("DELETE FROM schedule_runs WHERE created_at < now() - make_interval(secs => :age)")

_BITE = 100
"""Missed due times that one transaction records."""
_DAY_SECONDS = 86_400.0
_TIMING = ("cron", "timezone", "enabled")
"""What decides when a schedule is due."""

Before = tuple[datetime, UUID]
"""The last row of a page: when it was made, and its id."""


class ScheduleStore:
    """One tenant's schedules. A foreign schedule is a missing one."""

    def __init__(self, session: Session, tenant: UUID) -> None:
        self._session = session
        self._tenant = tenant

    async def create(self, new: NewSchedule, idempotency: Idempotency | None = None) -> ScheduleMade:
        """Make a schedule, or find the one that the key made before; its jobs are kept sealed.

        UsageError (`idempotency_conflict`): the key was used with another body.
        """
        schedule_id = new_id()
        if idempotency is not None and (
            made := await taken(self._session, self._tenant, idempotency, schedule=schedule_id)
        ):
            found = made["schedule_id"] and await self.get(made["schedule_id"])
            if found is None:
                raise conflict()
            return ScheduleMade(found, replayed=True)
        row = await self._session.one(
            _CREATE,
            id=schedule_id,
            tenant_id=self._tenant,
            next_due_at=await self._next_due(new.cron, new.timezone, enabled=new.enabled),
            **await self._columns(schedule_id, msgspec.structs.asdict(new)),
        )
        return ScheduleMade(read(row, ScheduleRow), replayed=False)

    async def get(self, schedule_id: UUID) -> ScheduleRow | None:
        """Return the schedule, or None."""
        row = await self._session.first(_GET, schedule=schedule_id)
        return None if row is None else read(row, ScheduleRow)

    async def list(self, limit: int, before: Before | None = None) -> Sequence[ScheduleRow]:
        """Return schedules, newest first."""
        rows = await self._session.all(_LIST, limit=limit, **_before(before))
        return [read(row, ScheduleRow) for row in rows]

    async def jobs(self, schedule_id: UUID) -> Sequence[NewJob] | None:
        """Return what each run submits; None: there is no such schedule."""
        row = await self._session.first(_WHAT_TO_SUBMIT, schedule=schedule_id)
        return None if row is None else await self._open(schedule_id, row["jobs"])

    async def update(self, schedule_id: UUID, changes: ScheduleChanges) -> ScheduleRow | None:
        """Change a schedule. Another time or place, or switching it on, counts from now: nothing is caught up on.

        None: there is no such schedule.
        """
        locked = await self._session.first(_LOCK, schedule=schedule_id)
        if locked is None:
            return None
        given = {name: value for name, value in msgspec.structs.asdict(changes).items() if value is not msgspec.UNSET}
        timing: dict[str, Any] = {name: given.get(name, locked[name]) for name in _TIMING}
        columns = await self._columns(schedule_id, given)
        if any(timing[name] != locked[name] for name in _TIMING):
            columns["next_due_at"] = await self._next_due(**timing)
        changed = _UPDATE.values(**columns, updated_at=func.now()).returning(*_ROW)
        return read(await self._session.one(changed, schedule=schedule_id), ScheduleRow)

    async def delete(self, schedule_id: UUID) -> bool:
        """Remove a schedule and the list of its runs; batches it has started stay. False: there is none."""
        return bool(await self._session.run(_DELETE, schedule=schedule_id))

    async def runs(self, schedule_id: UUID, limit: int, before: Before | None = None) -> Sequence[RunRow]:
        """Return its runs with their batches, newest first."""
        rows = await self._session.all(_LIST_RUNS, schedule=schedule_id, limit=limit, **_before(before))
        return [read(row, RunRow) for row in rows]

    async def run_now(self, schedule_id: UUID, key: str | None = None) -> RunMade | None:
        """Start a run by hand: whatever the overlap, enabled or not. None: there is no such schedule.

        key: an idempotency key. UsageError (`idempotency_conflict`): it was used for something else.
        """
        schedule = await self._session.first(_WHAT_TO_SUBMIT, schedule=schedule_id)
        if schedule is None:
            return None
        wish = hashlib.sha256(b"run schedule " + schedule_id.bytes).digest()
        batch = await self._submit(schedule_id, schedule, None if key is None else Idempotency(key, wish))
        if not batch.replayed:
            await self._record(schedule_id, None, RunState.STARTED, batch.batch_id)
        run = read(await self._session.one(_RUN_OF_BATCH, batch=batch.batch_id), RunRow)
        return RunMade(run, batch.replayed)

    async def run_due(self, schedule_id: UUID) -> bool:
        """Do what is due first: start its batch, or note why not. True: look again, more may be due.

        The row of the run, its batch and the next due time are one transaction, under the schedule's lock. False:
        nothing is due, or another scheduler is at it.
        """
        schedule = await self._session.first(_LOCK_DUE, schedule=schedule_id)
        if schedule is None:
            return False
        cron, timezone, due = schedule["cron"], schedule["timezone"], schedule["next_due_at"]
        oldest = schedule["now"] - timedelta(minutes=schedule["catch_up_minutes"])
        if due < oldest:
            more = takewhile(lambda moment: moment < oldest, due_times(cron, timezone, due))
            missed = [due, *islice(more, _BITE - 1)]
            await self._record_missed(schedule_id, missed)
            due = missed[-1]
        elif await self._session.first(_HAD, schedule=schedule_id, due=due) is None:
            await self._start(schedule_id, due, Overlap(schedule["overlap"]))
        await self._session.run(_MOVE_ON, schedule=schedule_id, next=next_due(cron, timezone, due))
        return True

    async def _start(self, schedule_id: UUID, due: datetime, overlap: Overlap) -> None:
        if overlap is Overlap.SKIP and await self._session.first(_BUSY, schedule=schedule_id) is not None:
            await self._record(schedule_id, due, RunState.SKIPPED)
            return
        schedule = await self._session.one(_WHAT_TO_SUBMIT, schedule=schedule_id)
        batch = await self._submit(schedule_id, schedule)
        await self._record(schedule_id, due, RunState.STARTED, batch.batch_id)
        audit = AuditLog(self._session, self._tenant)
        await audit.system("scheduler", "run_schedule", [str(schedule_id), str(batch.batch_id)])

    async def _submit(self, schedule_id: UUID, schedule: Row, idempotency: Idempotency | None = None) -> SubmittedBatch:
        jobs = await self._open(schedule_id, schedule["jobs"])
        store = JobStore(self._session, self._tenant)
        return await store.submit_batch(schedule["name"], jobs, schedule["webhook_url"], idempotency)

    async def _record(
        self, schedule_id: UUID, due: datetime | None, state: RunState, batch_id: UUID | None = None
    ) -> None:
        run = {"tenant": self._tenant, "id": new_id(), "schedule": schedule_id, "due": due}
        await self._session.run(_RECORD, **run, state=state, batch=batch_id)

    async def _record_missed(self, schedule_id: UUID, missed: Sequence[datetime]) -> None:
        runs = [{"tenant": self._tenant, "id": new_id(), "schedule": schedule_id, "due": due} for due in missed]
        await self._session.run_many(_RECORD_MISSED, runs)

    async def _next_due(self, cron: str, timezone: str, *, enabled: bool) -> datetime | None:
        now = (await self._session.one(_NOW))["now"]
        return next_due(cron, timezone, now) if enabled else None

    async def _columns(self, schedule_id: UUID, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields as columns hold them: the jobs sealed."""
        columns = dict(fields)
        if "jobs" in columns:
            columns["size"] = len(columns["jobs"])
            packed = msgspec.msgpack.encode(columns["jobs"])
            columns["jobs"] = await self._session.seal.seal_async(packed, schedule_context(self._tenant, schedule_id))
        return columns

    async def _open(self, schedule_id: UUID, sealed: bytes) -> Sequence[NewJob]:
        packed = await self._session.seal.open_async(sealed, schedule_context(self._tenant, schedule_id))
        return msgspec.msgpack.decode(packed, type=list[NewJob])


def schedule_context(tenant_id: UUID, schedule_id: UUID) -> str:
    """Name the one row in which a schedule's sealed jobs open."""
    return f"{tenant_id}/{schedule_id}/schedule"


class DueSchedules:
    """What schedulers see of all tenants' schedules: that something is due, never what."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def due(self, limit: int, but: Collection[UUID] = ()) -> Sequence[DueSchedule]:
        """Return the schedules with a due time behind them, the longest behind first, without those of `but`."""
        return [read(row, DueSchedule) for row in await self._session.all(_DUE, limit=limit, but=list(but))]

    async def prune(self, retention_days: float) -> int:
        """Forget runs that were recorded so long ago; returns how many."""
        return await self._session.run(_PRUNE_RUNS, age=retention_days * _DAY_SECONDS)


def _before(before: Before | None) -> dict[str, Any]:
    at, last = before or (None, None)
    return {"before": at, "before_id": last}
