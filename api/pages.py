"""Pages of a list, newest first: the cursor is signed, and only fits the list it came from, with its filters."""

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Annotated, Protocol, TypeVar
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

import msgspec

from api.bodies import AnyRequest
from api.links import base_url
from api.queries import bad_parameter, described
from api.services import services_of


class Row(Protocol):
    """What a page is made of."""

    @property
    def id(self) -> UUID:
        """Its id."""

    @property
    def created_at(self) -> datetime:
        """When it was made."""


R = TypeVar("R", bound=Row)


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """The last row of a page, and a hash of the list it belongs to."""

    created_at: datetime
    row_id: UUID
    of: bytes


class PageQuery(msgspec.Struct, frozen=True):
    """Which page of a list."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=200), described("How many at most.")] = 50
    cursor: Annotated[str, described("From `next`, with the same filters.")] | None = None


def page_start(request: AnyRequest, query: PageQuery) -> tuple[datetime, UUID] | None:
    """Return the row that the page comes after; None: it is the first page. A cursor of another list is 422."""
    if query.cursor is None:
        return None
    cursor = services_of(request).cursors.open(query.cursor, Cursor)
    if cursor is None or cursor.of != _list_hash(request, query):
        raise bad_parameter("cursor", "This cursor was not made for this list.", "bad_cursor")
    return cursor.created_at, cursor.row_id


def page_of(request: AnyRequest, query: PageQuery, rows: Sequence[R]) -> tuple[Sequence[R], str | None]:
    """Return the page of `limit` rows, and the next one's address; rows: one more than the page, if there are."""
    page = rows[: query.limit]
    if len(rows) <= query.limit:
        return page, None
    cursor = Cursor(page[-1].created_at, page[-1].id, _list_hash(request, query))
    return page, _next_address(request, services_of(request).cursors.sign(cursor))


def _list_hash(request: AnyRequest, query: PageQuery) -> bytes:
    filters = msgspec.structs.replace(query, cursor=None, limit=1)
    return sha256(msgspec.json.encode((request.user.tenant, request.scope["path"], filters))).digest()[:8]


def _next_address(request: AnyRequest, cursor: str) -> str:
    """Return this request's address with another cursor."""
    pairs = parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True)
    kept = [(name, value) for name, value in pairs if name != "cursor"]
    return f"{base_url(request)}{request.scope['path']}?{urlencode([*kept, ('cursor', cursor)])}"
