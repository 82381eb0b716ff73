"""A job's files: list them, ask for one more, fetch one through a link that ends."""

from datetime import datetime
from typing import Annotated
from urllib.parse import quote
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Stream

from api.bodies import AnyRequest, answer, decode_asked, read_json
from api.downloads import follow_link, hand_out, lead_to
from api.links import base_url
from api.operations import Answer, Operation
from api.principal import Permission
from api.problem_details import not_found
from api.services import services_of, settings_for
from api.trails import transaction_of
from milpa.jobs import FileFormat
from storage.rows import FileRow


class JobFileLink(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a job and where to fetch it. size: bytes; sha256: hex digest of the content."""

    name: str
    format: FileFormat
    media_type: str
    size: int
    sha256: str
    created_at: datetime
    url: str


class FileList(msgspec.Struct, frozen=True, kw_only=True):
    """The files there are, and the formats still being made; `next` is always null."""

    items: list[JobFileLink]
    pending: list[FileFormat] = []
    next: str | None = None


class FilesRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Formats to make of an ended job."""

    formats: Annotated[list[FileFormat], msgspec.Meta(min_length=1, max_length=8)]


class FileLink(msgspec.Struct, frozen=True, array_like=True):
    """What a signed link holds: one file of one tenant, until a time (seconds since the epoch)."""

    tenant: UUID
    job_id: UUID
    name: str
    until: int


async def _list(request: AnyRequest, job_id: UUID) -> FileList:
    async with transaction_of(request) as transaction:
        if await transaction.jobs.get(job_id) is None:
            raise not_found("job")
        rows = await transaction.files.list(job_id)
        wanted = await transaction.files.requested(job_id)
    base = f"{base_url(request)}/v1/jobs/{job_id}/files"
    return FileList(items=[_link(row, base) for row in rows], pending=wanted.formats if wanted else [])


def _link(row: FileRow, base: str) -> JobFileLink:
    return JobFileLink(**msgspec.structs.asdict(row.public()), url=f"{base}/{quote(row.name)}")


@get(
    "/v1/jobs/{job_id:uuid}/files",
    requires=Permission.READ,
    operation=Operation(tag="Files", personal=True, answers={200: Answer("The files.", FileList)}),
)
async def list_files(request: AnyRequest, job_id: FromPath[UUID]) -> Response[bytes]:
    """List a job's files."""
    return answer(await _list(request, job_id))


@post(
    "/v1/jobs/{job_id:uuid}/files",
    requires=Permission.SUBMIT,
    operation=Operation(
        tag="Files",
        body=FilesRequest,
        answers={202: Answer("The files, and what is pending.", FileList)},
        problems=(409,),
    ),
)
async def make_files(request: AnyRequest, job_id: FromPath[UUID]) -> Response[bytes]:
    """Make more files of a succeeded job; formats that are there already are not made again."""
    asked = await decode_asked(await read_json(request), FilesRequest, settings_for(request))
    async with transaction_of(request) as transaction:
        if await transaction.jobs.get(job_id) is None:
            raise not_found("job")
        await transaction.files.request(job_id, list(dict.fromkeys(asked.formats)))
    return answer(await _list(request, job_id), 202, {"Retry-After": "1"})


@get(
    "/v1/jobs/{job_id:uuid}/files/{name:str}",
    requires=Permission.READ,
    operation=Operation(
        tag="Files",
        personal=True,
        answers={302: Answer("Where the file is, for 15 minutes.", headers=("Location",))},
        limited=True,
    ),
)
async def fetch_file(request: AnyRequest, job_id: FromPath[UUID], name: FromPath[str]) -> Response[bytes]:
    """Lead to a file by a signed link that ends."""
    tenant: UUID = request.user.tenant
    if "\x00" in name:  # which PostgreSQL does not take as text
        raise not_found("file")
    async with transaction_of(request) as transaction:
        row = await transaction.files.get(job_id, name)
    if row is None:
        raise not_found("file")
    sign = services_of(request).file_links.sign
    return await lead_to(request, row.object_key, lambda until: sign(FileLink(tenant, job_id, name, until)))


@get(
    "/v1/downloads/{token:str}",
    requires=Permission.PUBLIC,
    operation=Operation(
        tag="Files",
        personal=True,
        answers={200: Answer("The file, of its own media type.", media_type="*/*")},
        problems=(403, 503),
    ),
)
async def download(request: AnyRequest, token: FromPath[str]) -> Stream:
    """Fetch a file by a signed link: whoever has the link may, until it ends."""
    services = services_of(request)
    link = services.file_links.open(token, FileLink)
    if link is None:
        raise not_found("file")
    follow_link(request, link.tenant, link.job_id, link.until)
    async with services.database.transaction(link.tenant) as transaction:
        row = await transaction.files.get(link.job_id, link.name)
    if row is None:
        raise not_found("file")
    return await hand_out(request, row.object_key, name=row.name, media_type=row.media_type, size=row.size)


ROUTES = [list_files, make_files, fetch_file, download]
