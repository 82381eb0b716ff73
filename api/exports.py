"""Exports: everything of the tenant, or of one person, as a zip that a worker makes."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Stream

from api.bodies import AnyRequest, answer, decode_asked, read_json
from api.downloads import follow_link, hand_out, lead_to
from api.links import base_url
from api.operations import Answer, Operation
from api.pages import PageQuery, page_of, page_start
from api.principal import Permission
from api.problem_details import ProblemError, not_found
from api.queries import read_query
from api.services import services_of, settings_for
from api.trails import note_made, note_person, transaction_of
from storage.export_rows import ExportRow, ExportState
from storage.rows import Subject

_MEDIA_TYPE = "application/zip"


class ExportSubject(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person: the kind, such as `student` or `user`, and the id among them."""

    kind: Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[^\x00]*$")]
    id: Annotated[str, msgspec.Meta(min_length=1, max_length=500, pattern=r"^[^\x00]*$")]


class ExportRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to export. subject: one person; everything when left out."""

    subject: ExportSubject | None = None


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """An export. subject_kind: of the person it is of. size: bytes. expires_at: until when. reason: why it failed."""

    id: UUID
    state: ExportState
    subject_kind: str | None
    size: int | None
    sha256: str | None
    reason: str | None
    created_at: datetime
    finished_at: datetime | None
    expires_at: datetime | None
    links: dict[str, str]


class ExportPage(msgspec.Struct, frozen=True):
    """Exports, newest first; next: the address of the page after this one."""

    items: list[Export]
    next: str | None


class ExportLink(msgspec.Struct, frozen=True, array_like=True):
    """What a signed link holds: one export of one tenant, until a time (seconds since the epoch)."""

    tenant: UUID
    export_id: UUID
    until: int


@post(
    "/v1/exports",
    requires=Permission.ADMINISTER,
    operation=Operation(
        tag="Privacy",
        body=ExportRequest,
        answers={202: Answer("The export.", Export, headers=("Location", "Retry-After"))},
    ),
    status_code=202,
)
async def create_export(request: AnyRequest) -> Response[bytes]:
    """Have everything of the tenant, or of one person, packed into a zip.

    Problems, results, reports, logs, events, files, batches, schedules, webhooks, keys and the audit, but no secret. Of
    a person: the parts of each job that name them.
    """
    asked = await decode_asked(await read_json(request), ExportRequest, settings_for(request))
    subject = Subject(asked.subject.kind, asked.subject.id) if asked.subject else None
    async with transaction_of(request) as transaction:
        row = await transaction.exports.request(request.user.subject, subject)
        note_made(request, row.id)
        if subject is not None:
            note_person(request, subject)
    shown = _show(request, row)
    return answer(shown, 202, {"Location": shown.links["self"], "Retry-After": "5"})


@get(
    "/v1/exports",
    requires=Permission.ADMINISTER,
    operation=Operation(tag="Privacy", query=PageQuery, answers={200: Answer("A page of exports.", ExportPage)}),
)
async def list_exports(request: AnyRequest) -> Response[bytes]:
    """List exports, newest first."""
    query = read_query(request, PageQuery)
    start = page_start(request, query)
    async with transaction_of(request) as transaction:
        rows = await transaction.exports.list(query.limit + 1, start)
    page, following = page_of(request, query, rows)
    return answer(ExportPage([_show(request, row) for row in page], following))


@get(
    "/v1/exports/{export_id:uuid}",
    requires=Permission.ADMINISTER,
    operation=Operation(tag="Privacy", answers={200: Answer("The export.", Export)}),
)
async def show_export(request: AnyRequest, export_id: FromPath[UUID]) -> Response[bytes]:
    """Show an export: whether it is ready, and until when."""
    return answer(_show(request, await _get(request, export_id)))


@get(
    "/v1/exports/{export_id:uuid}/file",
    requires=Permission.ADMINISTER,
    operation=Operation(
        tag="Privacy",
        personal=True,
        answers={302: Answer("Where the zip is, for 15 minutes.", headers=("Location",))},
        problems=(409,),
        limited=True,
    ),
)
async def fetch_export(request: AnyRequest, export_id: FromPath[UUID]) -> Response[bytes]:
    """Lead to an export's zip by a signed link that ends."""
    row = await _get(request, export_id)
    if row.object_key is None:
        raise ProblemError(409, "export-not-ready", f"The export is {row.state}.")
    sign, tenant = services_of(request).export_links.sign, request.user.tenant
    return await lead_to(request, row.object_key, lambda until: f"exports/{sign(ExportLink(tenant, row.id, until))}")


@get(
    "/v1/downloads/exports/{token:str}",
    requires=Permission.PUBLIC,
    operation=Operation(
        tag="Privacy",
        personal=True,
        answers={200: Answer("The zip.", media_type=_MEDIA_TYPE)},
        problems=(403, 503),
    ),
)
async def download_export(request: AnyRequest, token: FromPath[str]) -> Stream:
    """Fetch an export by a signed link: whoever has the link may, until it ends."""
    services = services_of(request)
    link = services.export_links.open(token, ExportLink)
    if link is None:
        raise not_found("file")
    follow_link(request, link.tenant, link.export_id, link.until)
    async with services.database.transaction(link.tenant) as transaction:
        row = await transaction.exports.get(link.export_id)
    if row is None or row.object_key is None or row.size is None:
        raise not_found("file")
    name = f"milpa-export-{row.created_at:%Y-%m-%d}.zip"
    return await hand_out(request, row.object_key, name=name, media_type=_MEDIA_TYPE, size=row.size)


async def _get(request: AnyRequest, export_id: UUID) -> ExportRow:
    async with transaction_of(request) as transaction:
        row = await transaction.exports.get(export_id)
    if row is None:
        raise not_found("export")
    return row


def _show(request: AnyRequest, row: ExportRow) -> Export:
    self = f"{base_url(request)}/v1/exports/{row.id}"
    links = {"self": self, **({"file": f"{self}/file"} if row.state is ExportState.READY else {})}
    return Export(**{name: getattr(row, name) for name in Export.__struct_fields__ if name != "links"}, links=links)


ROUTES = [create_export, list_exports, show_export, fetch_export, download_export]
