"""Addresses in answers, and a job as the outside sees it. Links lead only to what exists."""

import re
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from api.bodies import AnyRequest
from milpa.jobs import Job, JobState
from storage.rows import JobRow

_HOST = re.compile(r"([A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?")


class JobWithResult(Job, frozen=True, kw_only=True):
    """An ended job, with its result inside when it has succeeded."""

    result: msgspec.Raw | UnsetType = UNSET


def base_url(request: AnyRequest) -> str:
    """Return what links start with: the public address by setting, else the one that the request names.

    Nothing where that is no address: links begin with `/` then.
    """
    public: str = request.app.state.settings.public_url
    if public:
        return public.rstrip("/")
    host = request.headers.get("host", "")
    return f"{request.scope['scheme']}://{host}" if _HOST.fullmatch(host) else ""


def job_links(row: JobRow, base: str) -> dict[str, str]:
    """Return where a job and its parts are; a part that is not there yet has no link."""
    self = f"{base}/v1/jobs/{row.id}"
    parts = ["events", "problem"]
    if row.state is JobState.SUCCEEDED:
        parts += ["result", "report", "files"]
    if row.state.ended:
        parts.append("log")
    return {"self": self, **{part: f"{self}/{part}" for part in parts}}


def show_job(row: JobRow, base: str, result: bytes | None = None) -> Any:
    """Return a job as answers hold it, with its result inside when given."""
    job = row.public(job_links(row, base))
    if result is None:
        return job
    fields = {name: getattr(job, name) for name in Job.__struct_fields__}
    return JobWithResult(**fields, result=msgspec.Raw(result))
