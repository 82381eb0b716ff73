"""The ledger's second half: whether everyone who asked was told once, batches close, and each due time has one run."""

from sqlalchemy import text

TOLD = text("""
WITH ended AS (  -- what there was to tell of, as far back as deliveries are kept
    SELECT event.tenant_id, event.job_id AS about, 'job.' || event.type AS type, event.at, job.kind, job.tags,
        job.webhook_url
    FROM job_events AS event JOIN jobs AS job ON job.tenant_id = event.tenant_id AND job.id = event.job_id
    WHERE event.type IN ('succeeded', 'failed', 'cancelled')
    UNION ALL
    SELECT tenant_id, id, 'batch.finished', finished_at, NULL, NULL, webhook_url
    FROM batches WHERE finished_at IS NOT NULL
), due AS (  -- the changes of an endpoint may be under way for a lease before they are seen
    SELECT ended.tenant_id, about, type, at, endpoint.id AS endpoint_id
    FROM ended JOIN webhook_endpoints AS endpoint ON endpoint.tenant_id = ended.tenant_id
        AND endpoint.disabled_at IS NULL AND ended.at > endpoint.updated_at + make_interval(secs => :lease)
        AND (endpoint.events = '{}' OR ended.type = ANY (endpoint.events))
        AND (ended.kind IS NULL OR endpoint.kinds = '{}' OR ended.kind = ANY (endpoint.kinds))
        AND (ended.tags IS NULL OR endpoint.tags = '{}' OR endpoint.tags && ended.tags)
    UNION ALL
    SELECT tenant_id, about, type, at, NULL FROM ended WHERE webhook_url IS NOT NULL
), made AS (
    SELECT tenant_id, coalesce(job_id, batch_id) AS about, type, endpoint_id, count(*) AS times
    FROM webhook_deliveries WHERE coalesce(job_id, batch_id) IS NOT NULL
    GROUP BY tenant_id, coalesce(job_id, batch_id), type, endpoint_id
), open AS (
    SELECT tenant_id, batch_id, count(*) AS jobs FROM jobs
    WHERE batch_id IS NOT NULL AND finished_at IS NULL GROUP BY tenant_id, batch_id
), alive AS (
    SELECT FROM workers WHERE seen_at > now() - make_interval(secs => :lease)
)
SELECT (
    SELECT count(*) FROM due
    LEFT JOIN made ON made.tenant_id = due.tenant_id AND made.about = due.about AND made.type = due.type
        AND made.endpoint_id IS NOT DISTINCT FROM due.endpoint_id
    WHERE made.about IS NULL AND at > now() - make_interval(secs => :retention)
) AS untold, (
    SELECT count(*) FROM made WHERE times > 1
) AS told_twice, (
    SELECT count(*) FROM webhook_deliveries AS delivery
    WHERE state = 'pending' AND next_at < now() - 3 * make_interval(secs => CAST(:timeout AS float) + :lease)
        AND EXISTS (SELECT FROM alive) AND NOT EXISTS (
            SELECT FROM webhook_deliveries AS other
            WHERE other.tenant_id = delivery.tenant_id AND other.target = delivery.target AND other.lease_until > now())
) AS deliveries_stuck, (
    SELECT count(*) FROM webhook_deliveries AS delivery
    LEFT JOIN webhook_endpoints AS endpoint
        ON endpoint.tenant_id = delivery.tenant_id AND endpoint.id = delivery.endpoint_id
    WHERE state = 'failed' AND failures = 0 AND (endpoint.id IS NULL
        OR (endpoint.disabled_at IS NULL AND ended_at > endpoint.updated_at))
) AS given_up_untried, (
    SELECT count(*) FROM batches LEFT JOIN open ON open.tenant_id = batches.tenant_id AND open.batch_id = batches.id
    WHERE ended + coalesce(jobs, 0) <> size OR (finished_at IS NULL) <> (ended < size)
) AS batches_miscounted, (
    SELECT count(*) FROM (
        SELECT FROM schedule_runs WHERE due_at IS NOT NULL
        GROUP BY tenant_id, schedule_id, due_at HAVING count(*) > 1) AS doubled
) AS runs_doubled, (
    SELECT count(*) FROM schedules
    WHERE next_due_at < now() - 3 * make_interval(secs => :lease) AND EXISTS (SELECT FROM alive)
) AS schedules_late
""")
"""One row of counts; see `LedgerReport`. In seconds: lease, timeout of one attempt at a delivery, retention."""
