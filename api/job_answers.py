"""Jobs as answers: with Location and Retry-After when accepted, with ETag when looked at."""

from collections.abc import Mapping
from hashlib import blake2b

from litestar import Response

from api.bodies import AnyRequest, answer
from api.links import base_url, show_job
from api.queries import listed
from storage.rows import JobRow

_RETRY_AFTER_SECONDS = "1"


def answer_job(
    request: AnyRequest,
    row: JobRow,
    status: int,
    headers: Mapping[str, str] | None = None,
    result: bytes | None = None,
) -> Response[bytes]:
    """Answer with a job; one that still goes on says when to ask again."""
    base = base_url(request)
    all_headers = {"Location": f"{base}/v1/jobs/{row.id}", **(headers or {})}
    if not row.state.ended:
        all_headers["Retry-After"] = _RETRY_AFTER_SECONDS
    return answer(show_job(row, base, result), status, all_headers)


def answer_if_changed(request: AnyRequest, body: bytes) -> Response[bytes]:
    """Answer with the body, or 304 when the caller has it already."""
    etag = f'"{blake2b(body, digest_size=12).hexdigest()}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    known = [tag.strip().removeprefix("W/") for tag in listed(request, "if-none-match").split(",")]
    if etag in known or "*" in known:
        return Response(content=b"", status_code=304, headers=headers)
    return answer(body, headers=headers)
