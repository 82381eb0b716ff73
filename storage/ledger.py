"""The ledger: whether the promise is kept that no job is lost, none ends twice and everyone is told."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import msgspec
from sqlalchemy import text

from storage.ledger_told import TOLD
from storage.objects import ObjectStore
from storage.transaction import Database

ORPHAN_GRACE = timedelta(hours=3)
"""Attempts that lost their lease leave objects without a row; workers collect each hour what is older than one."""

_BITE = 1000
_SECONDS = 3600.0
"""How long one of the two questions may take, however large the installation."""

_MOST_RINGS = 4
"""So many numbers may have been rung since the last claim, or the first: what Redis loses is rung again."""

_CHECK = text("""
WITH log AS (
    SELECT tenant_id, job_id, count(*) AS events, min(seq) AS first_seq, max(seq) AS newest_seq,
        count(*) FILTER (WHERE type IN ('succeeded', 'failed', 'cancelled')) AS ends,
        max(type) FILTER (WHERE type IN ('succeeded', 'failed', 'cancelled')) AS ended_as
    FROM job_events GROUP BY tenant_id, job_id
), kept AS (
    SELECT tenant_id, job_id, bool_or(name = 'input') AS input, bool_or(name = 'result') AS result
    FROM payloads GROUP BY tenant_id, job_id
), made AS (  -- by how many attempts; files made later are named by no attempt
    SELECT tenant_id, job_id,
        count(DISTINCT split_part(object_key, '/', 3)) FILTER (WHERE split_part(object_key, '/', 3) ~ '^[0-9]+$')
            AS attempts
    FROM files GROUP BY tenant_id, job_id
), idle AS (  -- open queues with a slot that nobody uses
    SELECT name FROM queues
    WHERE paused_at IS NULL AND (SELECT count(*) FROM jobs WHERE priority = queues.name AND state = 'running') < (
        SELECT coalesce(sum(CASE queues.name WHEN 'batch' THEN batch_slots ELSE interactive_slots END), 0)
        FROM workers WHERE seen_at > now() - make_interval(secs => :lease))
), at_cap AS (
    SELECT tenants.id FROM tenants JOIN jobs ON jobs.tenant_id = tenants.id
    WHERE rung_at IS NOT NULL AND state IN ('queued', 'running')
    GROUP BY tenants.id HAVING count(*) >= max_running
), job AS (
    SELECT jobs.*, coalesce(events, 0) AS events, first_seq, newest_seq, coalesce(ends, 0) AS ends, ended_as,
        coalesce(kept.input, false) AS has_input, coalesce(kept.result, false) AS has_result, attempts,
        CASE state
            WHEN 'running' THEN lease_until < now() - 2 * make_interval(secs => :lease)
            WHEN 'scheduled' THEN run_at < now() - 3 * make_interval(secs => :lease)
            WHEN 'queued' THEN now() - 3 * make_interval(secs => :lease) > CASE
                WHEN dispatch_no - attempt > :rings THEN run_at  -- rung again and again, and never claimed
                ELSE greatest(run_at, rung_at) END
                AND priority IN (SELECT name FROM idle) AND jobs.tenant_id NOT IN (SELECT id FROM at_cap)
            ELSE false END AS stuck
    FROM jobs
    LEFT JOIN log ON log.tenant_id = jobs.tenant_id AND log.job_id = jobs.id
    LEFT JOIN kept ON kept.tenant_id = jobs.tenant_id AND kept.job_id = jobs.id
    LEFT JOIN made ON made.tenant_id = jobs.tenant_id AND made.job_id = jobs.id
)
SELECT count(*) AS jobs,
    count(*) FILTER (WHERE finished_at IS NOT NULL) AS ended,
    count(*) FILTER (WHERE finished_at IS NULL AND NOT has_input) + (
        SELECT count(*) FROM unnest(CAST(:accepted AS uuid[])) AS asked (id) WHERE id NOT IN (SELECT id FROM jobs)
    ) AS lost,
    count(*) FILTER (WHERE finished_at IS NOT NULL AND (ends = 0 OR ended_as <> state)) AS without_terminal_event,
    count(*) FILTER (WHERE ends > 1 OR (ends > 0 AND finished_at IS NULL)) AS several_terminal_events,
    count(*) FILTER (WHERE attempts > 1 OR (has_result AND state <> 'succeeded')) AS duplicate_results,
    count(*) FILTER (WHERE stuck) AS stuck,
    count(*) FILTER (WHERE CASE  -- of a pruned job the closing event alone is kept
        WHEN pruned_at IS NOT NULL THEN events <> 1 OR newest_seq <> last_seq
        ELSE events <> last_seq OR (events > 0 AND (first_seq <> 1 OR newest_seq <> last_seq)) END) AS seq_gaps
FROM job
""")


class LedgerReport(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of broken promises, all zero when the house is in order; `jobs` is how many were looked at.

    lost: accepted jobs without a row, or still to run without their input. without_terminal_event: ended jobs whose log
    does not close as they ended. several_terminal_events: logs that close more than once, or before the end.
    duplicate_results: results of more than one attempt, or of a job that did not succeed. stuck: the step that was due
    is three leases late. seq_gaps: logs with a hole.

    untold, told_twice: ends of jobs and batches for which an address that listened has no delivery, or several.
    deliveries_stuck: due for longer than three attempts may take, while nothing is under way to that address.
    given_up_untried: deliveries that failed without one failure. batches_miscounted: closed too early, too late, or
    with wrong counts. runs_doubled: due times of a schedule with more than one run. schedules_late: due three leases
    ago.

    orphan_objects: objects that no row names after the grace. orphan_solvers: solver processes whose worker is gone.
    None: not looked for.
    """

    jobs: int
    ended: int
    lost: int
    without_terminal_event: int
    several_terminal_events: int
    duplicate_results: int
    stuck: int
    seq_gaps: int
    untold: int
    told_twice: int
    deliveries_stuck: int
    given_up_untried: int
    batches_miscounted: int
    runs_doubled: int
    schedules_late: int
    orphan_objects: int | None = None
    orphan_solvers: int | None = None

    @property
    def broken(self) -> dict[str, int]:
        """The promises that are broken, and how often."""
        counts = msgspec.structs.asdict(self)
        return {name: count for name, count in counts.items() if count and name not in {"jobs", "ended"}}

    @property
    def ok(self) -> bool:
        """Whether every promise holds."""
        return not self.broken


async def check_ledger(
    database: Database,
    accepted: Sequence[UUID] = (),
    objects: ObjectStore | None = None,
    orphan_grace: timedelta = ORPHAN_GRACE,
) -> LedgerReport:
    """Check every job in the database, everyone to be told, and the objects where they are given.

    accepted: ids that were answered with 202 and not erased since.
    """
    settings = database.settings
    seconds = {"lease": settings.lease_seconds, "timeout": settings.webhook_timeout_seconds}
    retention = settings.retention_days * 86_400.0
    async with database.fleet() as fleet:
        asked = {"lease": settings.lease_seconds, "rings": _MOST_RINGS, "accepted": list(accepted)}
        jobs = await fleet.read_at_length(_CHECK, _SECONDS, **asked)
        told = await fleet.read_at_length(TOLD, _SECONDS, **seconds, retention=retention)
    orphans = None if objects is None else await _orphans(database, objects, orphan_grace)
    return LedgerReport(**jobs, **told, orphan_objects=orphans)


async def _orphans(database: Database, objects: ObjectStore, grace: timedelta) -> int:
    keys = [found.key async for found in objects.list() if found.age >= grace]
    count = 0
    for first in range(0, len(keys), _BITE):
        async with database.fleet() as fleet:
            count += len(await fleet.jobs.unnamed(keys[first : first + _BITE]))
    return count
