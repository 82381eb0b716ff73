"""The files of jobs: rows that say where the bytes are, and requests for files to be made later."""

from collections.abc import Sequence
from uuid import UUID

from milpa.jobs import FileFormat
from storage.rows import FileRequest, FileRow, NewFile
from storage.session import Session


class FileStore:
    """One tenant's files."""

    def __init__(self, session: Session, tenant: UUID) -> None:
        self._session = session
        self._tenant = tenant

    async def list(self, job_id: UUID) -> Sequence[FileRow]:
        """Return the job's files by name."""
        ...

    async def get(self, job_id: UUID, name: str) -> FileRow | None:
        """Return the file of that name, or None."""
        ...

    async def request(self, job_id: UUID, formats: Sequence[FileFormat]) -> FileRequest | None:
        """Ask for files of an ended job in formats that it has not yet; returns what is still to be made, or None.

        UsageError (`job_not_succeeded`): only a succeeded job has a report to render. (`job_pruned`): it is gone.
        """
        ...

    async def requested(self, job_id: UUID) -> FileRequest | None:
        """Return what is still to be made for the job, or None."""
        ...

    async def finish(self, request: FileRequest, files: Sequence[NewFile]) -> bool:
        """Keep the files made and close the request. False: the request was taken over, and nothing was written."""
        ...

    async def fail(self, request: FileRequest) -> bool:
        """Count an error of the request; the last one allowed (a setting) closes it. False: it was taken over."""
        ...
