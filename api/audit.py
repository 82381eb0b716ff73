"""The audit: who did what to the tenant's data, when and from where, as JSON pages or as one CSV."""

import csv
import io
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Response, get
from litestar.response import Stream

from api.bodies import AnyRequest, answer
from api.operations import Answer, Operation
from api.pages import PageQuery, page_of, page_start
from api.principal import Permission
from api.queries import described, listed, read_query
from api.services import services_of
from api.times import Time
from api.trails import transaction_of
from milpa.spreadsheets import defused
from storage.audit_rows import ActorKind, AuditFilter, AuditRow

CSV = "text/csv"
_PIECE = 1000
_COLUMNS = ("id", "at", "kind", "subject", "role", "action", "targets", "address", "request_id", "status")


class AuditQuery(PageQuery, frozen=True):
    """Which rows of the audit; all filters hold together."""

    subject: Annotated[str, described("Done by this API key's id or token's `sub`.")] | None = None
    action: Annotated[str, described("This operation, by its `operationId`.")] | None = None
    target: Annotated[str, described("Done to the thing with this id.")] | None = None
    since: Annotated[Time, described("Done at this time or later.")] | None = None
    until: Annotated[Time, described("Done before this time.")] | None = None


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One deed. kind: what showed who it was; `system`: Milpa itself, whose part is the subject then.

    action: the operation, by its `operationId`. targets: ids of what it was done to, and of what it made. status: how
    the request was answered; null where none was.
    """

    id: UUID
    at: datetime
    kind: ActorKind
    subject: str
    role: str | None
    action: str
    targets: list[str]
    address: str | None
    request_id: str | None
    status: int | None


class AuditPage(msgspec.Struct, frozen=True):
    """Deeds, newest first; next: the address of the page after this one."""

    items: list[AuditEntry]
    next: str | None


@get(
    "/v1/audit",
    requires=Permission.ADMINISTER,
    operation=Operation(
        tag="Privacy",
        personal=True,
        query=AuditQuery,
        answers={200: Answer("A page of the audit.", AuditPage, or_media_type=CSV)},
    ),
)
async def list_audit(request: AnyRequest) -> Response[Any]:
    """List who did what, newest first.

    With `Accept: text/csv` all that fits the filters comes as one table, whatever the limit.
    """
    query = read_query(request, AuditQuery)
    where = AuditFilter(
        subject=query.subject, action=query.action, target=query.target, since=query.since, until=query.until
    )
    start = page_start(request, query)
    if CSV in listed(request, "accept"):
        headers = {"Content-Disposition": 'attachment; filename="audit.csv"'}
        return Stream(_table(request, where, start), media_type=CSV, headers=headers)
    async with transaction_of(request) as transaction:
        rows = await transaction.audit.list(where, query.limit + 1, start)
    page, following = page_of(request, query, rows)
    return answer(AuditPage([_show(row) for row in page], following))


def _show(row: AuditRow) -> AuditEntry:
    return AuditEntry(**msgspec.structs.asdict(row))


async def _table(request: AnyRequest, where: AuditFilter, before: tuple[datetime, UUID] | None) -> AsyncIterator[bytes]:
    yield _csv([_COLUMNS])
    tenant: UUID = request.user.tenant
    while True:
        async with services_of(request).database.transaction(tenant) as transaction:
            rows = await transaction.audit.list(where, _PIECE, before)
        yield _csv([_cells(row) for row in rows])
        if len(rows) < _PIECE:
            return
        before = (rows[-1].at, rows[-1].id)


def _cells(row: AuditRow) -> Sequence[str]:
    values = (getattr(row, name) for name in _COLUMNS)
    return [defused(_text(value)) for value in values]


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case datetime():
            return value.astimezone(UTC).isoformat()
        case list():
            return " ".join(value)
        case _:
            return str(value)


def _csv(rows: Sequence[Sequence[str]]) -> bytes:
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue().encode()


ROUTES = [list_audit]
