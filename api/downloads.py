"""Handing out what object storage holds: by a link that ends, to whoever has the link."""

import time
from collections.abc import Callable
from urllib.parse import quote
from uuid import UUID

from litestar import Response
from litestar.response import Stream

from api.bodies import AnyRequest
from api.limits import take_download
from api.links import base_url
from api.problem_details import ProblemError, not_found
from api.services import services_of, settings_for
from api.trails import begin_link_trail


async def lead_to(request: AnyRequest, object_key: str, sign: Callable[[int], str]) -> Response[bytes]:
    """Lead to an object, at the store itself where it signs links, else here; it counts as a download.

    sign: makes what follows `/v1/downloads/` of the time at which the link ends, in seconds since the epoch.
    """
    await take_download(request)
    services, seconds = services_of(request), settings_for(request).link_seconds
    address = await services.objects.presigned(object_key, seconds)
    if address is None:
        address = f"{base_url(request)}/v1/downloads/{sign(int(time.time()) + seconds)}"
    return Response(content=b"", status_code=302, headers={"Location": address, "Cache-Control": "no-store"})


def follow_link(request: AnyRequest, tenant: UUID, target: UUID, until: int) -> None:
    """Note in the audit that a link is followed, and refuse one that has ended: 403."""
    begin_link_trail(request, tenant, target)
    if until < time.time():
        raise ProblemError(403, "link-expired", "This link has ended; ask for the file again.")


async def hand_out(request: AnyRequest, object_key: str, *, name: str, media_type: str, size: int) -> Stream:
    """Answer with an object, as a file to save under that name, which no browser shows as a page of ours."""
    try:
        content = await services_of(request).objects.stream(object_key)
    except FileNotFoundError:
        raise not_found("file") from None
    headers = {
        "Content-Disposition": _disposition(name),
        "Content-Length": str(size),
        "Cache-Control": "private, no-store",
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    }
    return Stream(content, media_type=media_type, headers=headers)


def _disposition(name: str) -> str:
    """Name the file for saving: plain for old clients, UTF-8 for all others (RFC 6266)."""
    plain = "".join(char if char.isascii() and (char.isalnum() or char in "-_. ") else "_" for char in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
