"""The ledger: does the database keep the promise that no job is lost and none ends twice?"""

from collections.abc import Sequence
from uuid import UUID

import msgspec
from sqlalchemy import text

from storage.transaction import Database

_CHECK = text("""
WITH log AS (
    SELECT tenant_id, job_id, count(*) AS events, min(seq) AS first, max(seq) AS last,
        count(*) FILTER (WHERE type IN ('succeeded', 'failed', 'cancelled')) AS ends,
        max(type) FILTER (WHERE type IN ('succeeded', 'failed', 'cancelled')) AS ended_as
    FROM job_events GROUP BY tenant_id, job_id
), made AS (  -- by how many attempts; files made later are named by no attempt
    SELECT tenant_id, job_id,
        count(DISTINCT split_part(object_key, '/', 3)) FILTER (WHERE split_part(object_key, '/', 3) ~ '^[0-9]+$') AS by
    FROM files GROUP BY tenant_id, job_id
), job AS (
    SELECT jobs.*, log.events, log.first, log.last, log.ends, log.ended_as, made.by,
        EXISTS (SELECT FROM payloads WHERE payloads.tenant_id = jobs.tenant_id AND job_id = id AND payloads.name = 'input')
            AS has_input,
        EXISTS (SELECT FROM payloads WHERE payloads.tenant_id = jobs.tenant_id AND job_id = id AND payloads.name = 'result')
            AS has_result
    FROM jobs
    LEFT JOIN log ON log.tenant_id = jobs.tenant_id AND log.job_id = jobs.id
    LEFT JOIN made ON made.tenant_id = jobs.tenant_id AND made.job_id = jobs.id
), slots AS (
    SELECT name,
        (SELECT coalesce(sum(CASE queues.name WHEN 'batch' THEN batch_slots ELSE interactive_slots END), 0)
         FROM workers WHERE seen_at > now() - make_interval(secs => :lease))
        - (SELECT count(*) FROM jobs WHERE priority = queues.name AND state = 'running') AS idle
    FROM queues WHERE paused_at IS NULL
)
SELECT count(*) AS jobs,
    count(*) FILTER (WHERE finished_at IS NOT NULL) AS ended,
    (SELECT count(*) FROM unnest(CAST(:accepted AS uuid[])) AS asked (id)
     WHERE NOT EXISTS (SELECT FROM jobs WHERE jobs.id = asked.id))
        + count(*) FILTER (WHERE finished_at IS NULL AND NOT has_input) AS lost,
    count(*) FILTER (WHERE finished_at IS NOT NULL AND (coalesce(ends, 0) = 0 OR ended_as <> state))
        AS without_terminal_event,
    count(*) FILTER (WHERE ends > 1 OR (ends > 0 AND finished_at IS NULL)) AS several_terminal_events,
    count(*) FILTER (WHERE by > 1 OR (has_result AND state <> 'succeeded')) AS duplicate_results,
    count(*) FILTER (WHERE
        (state = 'running' AND lease_until < now() - 2 * make_interval(secs => :lease))
        OR (state = 'scheduled' AND run_at < now() - 3 * make_interval(secs => :lease))
        OR (state = 'queued' AND greatest(run_at, rung_at) < now() - 3 * make_interval(secs => :lease)
            AND EXISTS (SELECT FROM slots WHERE slots.name = job.priority AND idle > 0)
            AND (SELECT max_running IS NULL OR max_running >
                    (SELECT count(*) FROM jobs AS other
                     WHERE other.tenant_id = job.tenant_id AND other.state IN ('queued', 'running')
                        AND other.rung_at IS NOT NULL)
                 FROM tenants WHERE tenants.id = job.tenant_id))) AS stuck,
    count(*) FILTER (WHERE coalesce(events, 0) <> last_seq OR (events > 0 AND (first <> 1 OR last <> last_seq)))
        AS seq_gaps
FROM job
""")


class LedgerReport(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of broken promises, all zero when the house is in order; `jobs` is how many were looked at.

    lost: accepted jobs without a row, or still to run without their input. without_terminal_event, several_terminal_events:
    ended jobs whose log does not close exactly once, as they ended. duplicate_results: results of more than one attempt,
    or of a job that did not succeed. stuck: longer than three leases without the step that was due. seq_gaps: logs with
    a hole.
    """

    jobs: int
    ended: int
    lost: int
    without_terminal_event: int
    several_terminal_events: int
    duplicate_results: int
    stuck: int
    seq_gaps: int

    @property
    def ok(self) -> bool:
        """Whether every promise holds."""
        return not (
            self.lost
            or self.without_terminal_event
            or self.several_terminal_events
            or self.duplicate_results
            or self.stuck
            or self.seq_gaps
        )


async def check_ledger(database: Database, accepted: Sequence[UUID] = ()) -> LedgerReport:
    """Check every job in the database. accepted: ids that were answered with 202 and not erased since."""
    async with database.fleet() as fleet:
        statement = _CHECK.bindparams(lease=database.settings.lease_seconds, accepted=list(accepted))
        row = (await fleet.connection.execute(statement)).mappings().one()
    return LedgerReport(**row)
