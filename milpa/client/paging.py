"""Lists that come in pages."""

from typing import Any
from urllib.parse import parse_qsl, urlsplit

from milpa.client.answers import Page
from milpa.client.exchange import Call, Request, send

_PAGE = 200


def pages(path: str, limit: int, type_: Any, **query: str) -> Call[list[Any]]:
    """Return the first entries of a list, at most `limit`, over as many pages as it takes. query: filters."""
    request: Request | None = Request(method="GET", path=path, query={"limit": str(min(limit, _PAGE)), **query})
    found: list[Any] = []
    while request is not None and len(found) < limit:
        page = (yield from send(request)).read(Page[type_])
        found += page.items
        following = urlsplit(page.next or "")
        more = dict(parse_qsl(following.query))
        request = Request(method="GET", path=following.path, query=more) if page.next else None
    return found[:limit]
