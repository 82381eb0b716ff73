"""The job core across tenants: admission in fair order, rescue, upkeep. It sees rows, never payloads."""

from collections.abc import Sequence

from sqlalchemy import text

from milpa.jobs import EventType, Priority
from storage.admission import ADMIT, CHOOSE_NEXT, ONE_AT_A_TIME
from storage.give_back import give_back
from storage.rows import ClaimRef, JobRow, Pruned, QueueRow, Ring, Task
from storage.session import Session, read

_RUNG = text("""
SELECT tenant_id, id AS job_id, dispatch_no, priority, 'run_job' AS task,
    1000 * CAST(extract(epoch FROM rung_at) AS float8) AS at
FROM jobs
WHERE rung_at < now() - make_interval(secs => :age) AND state = 'queued'
UNION ALL
SELECT tenant_id, job_id, dispatch_no, 'interactive', 'make_files', 1000 * CAST(extract(epoch FROM rung_at) AS float8)
FROM file_requests
WHERE rung_at < now() - make_interval(secs => :age) AND coalesce(lease_until <= now(), true)
""")

_UNRING_JOBS = text("""
UPDATE jobs SET rung_at = NULL, dispatch_no = jobs.dispatch_no + 1
FROM unnest(CAST(:tenants AS uuid[]), CAST(:jobs AS uuid[]), CAST(:numbers AS int[])) AS ring (tenant_id, id, number)
WHERE jobs.tenant_id = ring.tenant_id AND jobs.id = ring.id AND jobs.dispatch_no = ring.number
    AND state = 'queued' AND rung_at IS NOT NULL
""")

_UNRING_FILES = text("""
UPDATE file_requests SET rung_at = NULL, lease_until = NULL, dispatch_no = file_requests.dispatch_no + 1
FROM unnest(CAST(:tenants AS uuid[]), CAST(:jobs AS uuid[]), CAST(:numbers AS int[])) AS ring (tenant_id, id, number)
WHERE file_requests.tenant_id = ring.tenant_id AND job_id = ring.id AND file_requests.dispatch_no = ring.number
    AND coalesce(lease_until <= now(), true)
""")

_START_DUE = text("""
WITH job AS (
    UPDATE jobs SET state = 'queued', last_seq = last_seq + 1
    WHERE (tenant_id, id) IN (
        SELECT tenant_id, id FROM jobs WHERE state = 'scheduled' AND run_at <= now()
        ORDER BY run_at LIMIT 1000 FOR UPDATE SKIP LOCKED
    )
    RETURNING tenant_id, id, last_seq
), told AS (
    INSERT INTO job_events (tenant_id, job_id, seq, type) SELECT tenant_id, id, last_seq, 'queued' FROM job
)
SELECT * FROM job
""")

_EXPIRED = text("""
SELECT tenant_id, id AS job_id, attempt FROM jobs
WHERE rung_at IS NOT NULL AND state = 'running' AND lease_until <= now()
ORDER BY lease_until LIMIT 1000 FOR UPDATE SKIP LOCKED
""")

_PRUNE = text("""
WITH old AS (
    SELECT tenant_id, id FROM jobs
    WHERE finished_at < now() - make_interval(secs => :age) AND pruned_at IS NULL
    ORDER BY finished_at LIMIT 500 FOR UPDATE SKIP LOCKED
), marked AS (
    UPDATE jobs SET pruned_at = now() FROM old WHERE jobs.tenant_id = old.tenant_id AND jobs.id = old.id
), payload AS (
    DELETE FROM payloads USING old WHERE payloads.tenant_id = old.tenant_id AND job_id = old.id
), told AS (  -- the closing event stays: who follows the job still hears how it ended
    DELETE FROM job_events USING old
    WHERE job_events.tenant_id = old.tenant_id AND job_id = old.id AND type NOT IN ('succeeded', 'failed', 'cancelled')
), request AS (
    DELETE FROM file_requests USING old WHERE file_requests.tenant_id = old.tenant_id AND job_id = old.id
), audited AS (
    INSERT INTO audit_log (tenant_id, kind, subject, action, targets)
    SELECT tenant_id, 'system', 'retention', 'prune_jobs', array_agg(CAST(id AS text)) FROM old GROUP BY tenant_id
), gone AS (
    DELETE FROM files USING old WHERE files.tenant_id = old.tenant_id AND job_id = old.id
    RETURNING files.object_key
)
SELECT (SELECT count(*) FROM old) AS jobs, ARRAY(SELECT DISTINCT object_key FROM gone) AS object_keys
""")

_PRUNE_KEYS = text("DELETE FROM idempotency_keys WHERE expires_at <= now()")
_PRUNE_WORKERS = text("DELETE FROM workers WHERE seen_at < now() - interval '1 day'")

_UNNAMED = text("""
SELECT key FROM unnest(CAST(:keys AS text[])) AS object (key)
WHERE NOT EXISTS (SELECT FROM files WHERE object_key = key)
    AND NOT EXISTS (SELECT FROM exports WHERE object_key = key)
""")

_QUEUES = text("""
SELECT name, paused_at,
    (SELECT count(*) FROM jobs WHERE priority = queues.name AND state = 'scheduled') AS scheduled,
    (SELECT count(*) FROM jobs WHERE priority = queues.name AND state = 'queued' AND rung_at IS NULL) AS waiting,
    (SELECT count(*) FROM jobs WHERE priority = queues.name AND state = 'queued' AND rung_at IS NOT NULL) AS rung,
    (SELECT count(*) FROM jobs WHERE priority = queues.name AND rung_at IS NOT NULL AND state = 'running') AS running,
    (SELECT coalesce(sum(CASE queues.name WHEN 'batch' THEN batch_slots ELSE interactive_slots END), 0)
     FROM workers WHERE seen_at > now() - make_interval(secs => :alive)) AS slots
FROM queues ORDER BY name DESC
""")

_PAUSE = text("UPDATE queues SET paused_at = coalesce(paused_at, now()) WHERE name = :name")
_RESUME = text("UPDATE queues SET paused_at = NULL WHERE name = :name")

_DAY_SECONDS = 86_400.0


class FleetStore:
    """What dispatchers, sweepers and the ledger do to all jobs."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def admit(self, limit: int = 1000, files: int = 100) -> list[Ring]:
        """Choose in fair order the jobs, and the requests for files, to ring for now; note that they are rung.

        Each open queue holds at most twice its slots of rung and running jobs. Tenants take turns: whoever has least
        outstanding comes first; within a tenant the oldest. No tenant passes its `max_running`. The transaction does
        not outlast a crash of PostgreSQL for sure: write nothing else in it.
        """
        await self._session.first(CHOOSE_NEXT)
        alive = self._session.settings.lease_seconds
        rows = await self._session.all(ADMIT, alive=alive, limit=limit, files=files)
        return [read(row, Ring) for row in rows]

    async def rung(self, older_than_seconds: float) -> list[Ring]:
        """Return the rings that nobody has answered for so long."""
        return [read(row, Ring) for row in await self._session.all(_RUNG, age=older_than_seconds)]

    async def unring(self, rings: Sequence[Ring]) -> int:
        """Let these be admitted again, under a new dispatch number; returns how many were still unanswered."""
        count = 0
        for task, statement in ((Task.RUN_JOB, _UNRING_JOBS), (Task.MAKE_FILES, _UNRING_FILES)):
            mine = [ring for ring in rings if ring.task is task]
            if mine:
                count += await self._session.run(
                    statement,
                    tenants=[ring.tenant_id for ring in mine],
                    jobs=[ring.job_id for ring in mine],
                    numbers=[ring.dispatch_no for ring in mine],
                )
        return count

    async def start_due(self) -> int:
        """Queue the scheduled jobs whose time has come; returns how many."""
        rows = await self._session.all(_START_DUE)
        for row in rows:
            self._session.outbox.event(row["tenant_id"], row["id"], row["last_seq"])
        self._session.outbox.waiting |= bool(rows)
        return len(rows)

    async def rescue(self) -> list[JobRow]:
        """Give back the jobs whose lease has expired, or end them where that is due; returns them as they are now."""
        expired = [read(row, ClaimRef) for row in await self._session.all(_EXPIRED)]
        if not expired:
            return []
        return await give_back(self._session, expired, event=EventType.RESCUED, crashes=1, alive=False)

    async def prune(self, retention_days: float) -> Pruned:
        """Drop payloads, files and the log of jobs ended so long ago, expired idempotency keys and long-gone workers.

        The row stays with its figures, and of the log its closing event. The objects are to be deleted after the
        commit. Call again until no job is left: each call is one small bite.
        """
        await self._session.run(_PRUNE_KEYS)
        await self._session.run(_PRUNE_WORKERS)
        row = await self._session.one(_PRUNE, age=retention_days * _DAY_SECONDS)
        # Asked only now that the jobs are locked: a job that reused one a moment before may name its files.
        return Pruned(jobs=row["jobs"], object_keys=await self.unnamed(row["object_keys"]))

    async def unnamed(self, keys: Sequence[str]) -> list[str]:
        """Return those object keys that no row of files or exports names."""
        return [row["key"] for row in await self._session.all(_UNNAMED, keys=list(keys))]

    async def queues(self) -> list[QueueRow]:
        """Return how each queue stands."""
        rows = await self._session.all(_QUEUES, alive=self._session.settings.lease_seconds)
        return [read(row, QueueRow) for row in rows]

    async def pause(self, queue: Priority) -> None:
        """Ring no more jobs of this queue once this is committed; those that are rung or run go on."""
        await self._session.first(ONE_AT_A_TIME)  # an admission under way ends first
        await self._session.run(_PAUSE, name=queue)

    async def resume(self, queue: Priority) -> None:
        """Ring its jobs again."""
        await self._session.run(_RESUME, name=queue)
        self._session.outbox.waiting = True
