"""The files of jobs: rows that say where the bytes are, and requests for files to be made later."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text

from milpa.errors import UsageError
from milpa.jobs import FileFormat
from storage.rows import FileRequest, FileRow, NewFile
from storage.session import Session, read, to_json

_LIST = text("SELECT * FROM files WHERE job_id = :job ORDER BY name")
_GET = text("SELECT * FROM files WHERE job_id = :job AND name = :name")
_REPORT = text("""
SELECT state = 'succeeded' AS succeeded, pruned_at IS NOT NULL AS pruned,
    EXISTS (SELECT FROM payloads WHERE job_id = id AND name = 'report') AS has_report
FROM jobs WHERE id = :job FOR UPDATE
""")
_REQUEST = text("""
INSERT INTO file_requests (tenant_id, job_id, formats)
SELECT :tenant, :job, formats FROM (
    SELECT array_agg(DISTINCT format ORDER BY format) AS formats FROM unnest(CAST(:formats AS text[])) AS asked (format)
    WHERE format NOT IN (SELECT format FROM files WHERE job_id = :job)
) AS missing
WHERE formats IS NOT NULL
ON CONFLICT (job_id) DO UPDATE
SET formats = ARRAY(SELECT DISTINCT unnest(file_requests.formats || excluded.formats) ORDER BY 1),
    dispatch_no = file_requests.dispatch_no + 1, rung_at = NULL, lease_until = NULL, error_count = 0
RETURNING *
""")
_REQUESTED = text("SELECT * FROM file_requests WHERE job_id = :job")
_CLAIM = text("""
UPDATE file_requests SET lease_until = now() + make_interval(secs => :lease)
WHERE job_id = :job AND dispatch_no = :dispatch_no AND coalesce(lease_until <= now(), true)
RETURNING *
""")
_FINISH = text("""
WITH request AS (
    DELETE FROM file_requests WHERE job_id = :job AND dispatch_no = :dispatch_no RETURNING tenant_id, job_id
), listed AS (
    INSERT INTO files (tenant_id, job_id, name, format, media_type, size, sha256, object_key)
    SELECT tenant_id, job_id, name, format, media_type, size, sha256, object_key
    FROM request, jsonb_to_recordset(CAST(:files AS jsonb))
        AS file (name text, format text, media_type text, size bigint, sha256 text, object_key text)
    ON CONFLICT (job_id, name) DO NOTHING
)
SELECT true FROM request
""")
_FAIL = text("""
WITH closed AS (
    DELETE FROM file_requests
    WHERE job_id = :job AND dispatch_no = :dispatch_no AND error_count + 1 >= :max_errors
    RETURNING true AS found
), again AS (
    UPDATE file_requests
    SET error_count = error_count + 1, dispatch_no = dispatch_no + 1, rung_at = NULL, lease_until = NULL
    WHERE job_id = :job AND dispatch_no = :dispatch_no AND error_count + 1 < :max_errors
    RETURNING true AS found
)
SELECT found FROM closed UNION ALL SELECT found FROM again
""")
_RELEASE = text("""
UPDATE file_requests SET dispatch_no = dispatch_no + 1, rung_at = NULL, lease_until = NULL
WHERE job_id = :job AND dispatch_no = :dispatch_no
""")

_LEASE_MARGIN_SECONDS = 30.0


class FileStore:
    """One tenant's files."""

    def __init__(self, session: Session, tenant: UUID) -> None:
        self._session = session
        self._tenant = tenant

    async def list(self, job_id: UUID) -> Sequence[FileRow]:
        """Return the job's files by name."""
        return [read(row, FileRow) for row in await self._session.all(_LIST, job=job_id)]

    async def get(self, job_id: UUID, name: str) -> FileRow | None:
        """Return the file of that name, or None."""
        row = await self._session.first(_GET, job=job_id, name=name)
        return None if row is None else read(row, FileRow)

    async def request(self, job_id: UUID, formats: Sequence[FileFormat]) -> FileRequest | None:
        """Ask for files of an ended job in formats that it has not yet; returns what is still to be made, or None.

        UsageError (`job_without_report`): there is nothing to render. (`report_gone`): it was pruned.
        """
        job = await self._session.first(_REPORT, job=job_id)
        if job is not None and job["pruned"]:
            raise UsageError("report_gone", "The job's report was removed after its retention time.")
        if job is None or not job["succeeded"] or not job["has_report"]:
            raise UsageError("job_without_report", "The job has found nothing to make files of.")
        row = await self._session.first(_REQUEST, tenant=self._tenant, job=job_id, formats=list(formats))
        if row is None:
            return None
        self._session.outbox.waiting = True
        return read(row, FileRequest)

    async def requested(self, job_id: UUID) -> FileRequest | None:
        """Return what is still to be made for the job, or None."""
        row = await self._session.first(_REQUESTED, job=job_id)
        return None if row is None else read(row, FileRequest)

    async def claim(self, job_id: UUID, dispatch_no: int) -> FileRequest | None:
        """Take a request to make its files. None: a stale ring, drop it."""
        lease = self._session.settings.render_seconds + _LEASE_MARGIN_SECONDS
        row = await self._session.first(_CLAIM, job=job_id, dispatch_no=dispatch_no, lease=lease)
        return None if row is None else read(row, FileRequest)

    async def finish(self, request: FileRequest, files: Sequence[NewFile]) -> bool:
        """Keep the files made and close the request. False: the request was taken over, and nothing was written."""
        row = await self._session.first(
            _FINISH, job=request.job_id, dispatch_no=request.dispatch_no, files=to_json(files)
        )
        return row is not None

    async def fail(self, request: FileRequest) -> bool:
        """Count an error of the request; the last one allowed (a setting) closes it. False: it was taken over."""
        row = await self._session.first(
            _FAIL,
            job=request.job_id,
            dispatch_no=request.dispatch_no,
            max_errors=self._session.settings.max_errors,
        )
        self._session.outbox.waiting |= row is not None
        return row is not None

    async def release(self, request: FileRequest) -> bool:
        """Give the request back untried, because this worker shuts down; counts nothing. False: it was taken over."""
        released = await self._session.run(_RELEASE, job=request.job_id, dispatch_no=request.dispatch_no)
        self._session.outbox.waiting |= released > 0
        return released > 0
