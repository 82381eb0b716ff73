"""The fair choice of what to ring next, as one query over the index of waiting jobs."""

from sqlalchemy import text

ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtext('milpa admit'))")
"""Taken before the choice: two dispatchers that look at the same depth would ring twice as much."""

CHOOSE_NEXT = text(
    "SELECT pg_advisory_xact_lock(hashtext('milpa admit')), set_config('synchronous_commit', 'off', true)"
)
"""The same, for a transaction that does nothing else: it need not wait for the disk, for what a crash of PostgreSQL
takes back of it is only that a bell was rung, and ringing twice does no harm."""

ADMIT = text("""
WITH RECURSIVE
outstanding AS MATERIALIZED (  -- rung or running, by queue and tenant
    SELECT priority, tenant_id, count(*) AS jobs
    FROM jobs WHERE rung_at IS NOT NULL AND state IN ('queued', 'running')
    GROUP BY priority, tenant_id
),
room AS MATERIALIZED (  -- how many more each open queue takes: twice its slots, less what is outstanding
    SELECT queues.name AS priority,
        2 * (SELECT coalesce(sum(CASE queues.name WHEN 'batch' THEN batch_slots ELSE interactive_slots END), 0)
             FROM workers WHERE seen_at > now() - make_interval(secs => :alive))
        - (SELECT coalesce(sum(jobs), 0) FROM outstanding WHERE outstanding.priority = queues.name) AS free
    FROM queues WHERE paused_at IS NULL
),
waiting (priority, tenant_id) AS (  -- tenants with something to ring: one step of the index each, however much waits
    SELECT room.priority, first.tenant_id
    FROM room CROSS JOIN LATERAL (
        SELECT tenant_id FROM jobs
        WHERE state = 'queued' AND rung_at IS NULL AND priority = room.priority
        ORDER BY tenant_id LIMIT 1
    ) AS first
    WHERE room.free > 0
    UNION ALL
    SELECT waiting.priority, next.tenant_id
    FROM waiting CROSS JOIN LATERAL (
        SELECT tenant_id FROM jobs
        WHERE state = 'queued' AND rung_at IS NULL AND priority = waiting.priority
            AND tenant_id > waiting.tenant_id
        ORDER BY tenant_id LIMIT 1
    ) AS next
),
candidates AS (  -- the oldest of each tenant; turn: which of the tenant's jobs in the queue it would be
    SELECT waiting.priority, waiting.tenant_id, job.id, job.run_at, room.free, tenants.max_running,
        coalesce(outstanding.jobs, 0)
            + row_number() OVER (PARTITION BY waiting.priority, waiting.tenant_id ORDER BY job.run_at, job.id) AS turn
    FROM waiting
    JOIN room ON room.priority = waiting.priority
    JOIN tenants ON tenants.id = waiting.tenant_id
    LEFT JOIN outstanding
        ON outstanding.priority = waiting.priority AND outstanding.tenant_id = waiting.tenant_id
    CROSS JOIN LATERAL (
        SELECT jobs.id, jobs.run_at FROM jobs
        WHERE jobs.state = 'queued' AND jobs.rung_at IS NULL AND jobs.priority = waiting.priority
            AND jobs.tenant_id = waiting.tenant_id AND jobs.run_at <= now()
        ORDER BY jobs.run_at, jobs.id LIMIT room.free
    ) AS job
),
capped AS (  -- each tenant within its cap over both queues, people first
    SELECT * FROM (
        SELECT candidates.*,
            (SELECT coalesce(sum(jobs), 0) FROM outstanding WHERE outstanding.tenant_id = candidates.tenant_id)
                + row_number() OVER (PARTITION BY tenant_id ORDER BY priority DESC, turn) AS would_run
        FROM candidates
    ) AS numbered
    WHERE max_running IS NULL OR would_run <= max_running
),
chosen AS (  -- everybody's first before anybody's second
    SELECT tenant_id, id, priority, turn, run_at FROM (
        SELECT capped.*, row_number() OVER (PARTITION BY priority ORDER BY turn, run_at, id) AS place FROM capped
    ) AS ranked
    WHERE place <= free
    ORDER BY priority DESC, place LIMIT :limit
),
still_waiting AS (
    SELECT jobs.tenant_id, jobs.id, chosen.turn
    FROM jobs JOIN chosen ON chosen.tenant_id = jobs.tenant_id AND chosen.id = jobs.id
    WHERE jobs.state = 'queued' AND jobs.rung_at IS NULL
    FOR UPDATE OF jobs SKIP LOCKED
),
rung AS (
    UPDATE jobs SET rung_at = now()
    FROM still_waiting WHERE jobs.tenant_id = still_waiting.tenant_id AND jobs.id = still_waiting.id
    RETURNING jobs.tenant_id, jobs.id AS job_id, jobs.dispatch_no, jobs.priority, still_waiting.turn, jobs.run_at
),
rung_for_files AS (  -- files made later are few, and quickly made: the oldest requests first
    UPDATE file_requests SET rung_at = now()
    WHERE (tenant_id, job_id) IN (
        SELECT tenant_id, job_id FROM file_requests WHERE rung_at IS NULL
        ORDER BY requested_at LIMIT :files FOR UPDATE SKIP LOCKED
    )
    RETURNING tenant_id, job_id, dispatch_no
)
SELECT tenant_id, job_id, dispatch_no, priority, task,
    1000 * CAST(extract(epoch FROM statement_timestamp()) AS float8) AS at
FROM (
    SELECT tenant_id, job_id, dispatch_no, priority, 'run_job' AS task, turn, run_at FROM rung
    UNION ALL
    SELECT tenant_id, job_id, dispatch_no, 'interactive', 'make_files', NULL, NULL FROM rung_for_files
) AS ring
ORDER BY priority DESC, turn, run_at, job_id
""")
