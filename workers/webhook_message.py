"""What a webhook says, and how it is signed: Standard Webhooks 1.0."""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from milpa.jobs import JobError, JobState, LimitReached, Outcome, Priority
from storage.rows import BatchRow, JobRow
from storage.webhook_rows import Parcel, WebhookEvent
from storage.webhooks import SECRET_PREFIX

USER_AGENT = "Milpa-Webhooks/1"

_LONGEST_ERROR = 1000
"""Characters kept of an error's message: the whole body stays under 20 kB."""


class ThinJob(msgspec.Struct, frozen=True, kw_only=True):
    """An ended job as webhooks tell of it: what is worth knowing before asking for the rest."""

    id: UUID
    kind: str
    kind_version: int
    name: str | None
    tags: list[str]
    state: JobState
    outcome: Outcome | None
    limit_reached: LimitReached | None
    attempt: int
    priority: Priority
    parent_id: UUID | None
    batch_id: UUID | None
    reused_from: UUID | None
    verified: bool | None
    objective: float | None
    error: JobError | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    solve_seconds: float | None
    links: dict[str, str]


class ThinBatch(msgspec.Struct, frozen=True, kw_only=True):
    """A finished batch as webhooks tell of it, its jobs counted by state."""

    id: UUID
    name: str | None
    size: int
    counts: dict[JobState, int]
    created_at: datetime
    finished_at: datetime | None
    links: dict[str, str]


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a webhook. timestamp: when it happened, the same in every attempt."""

    type: WebhookEvent
    timestamp: datetime
    data: Any


_JOB_FIELDS = tuple(name for name in ThinJob.__struct_fields__ if name not in {"links", "error"})
_BATCH_FIELDS = tuple(name for name in ThinBatch.__struct_fields__ if name != "links")


def body_of(parcel: Parcel, public_url: str) -> bytes:
    """Return the body, under 20 kB. Its links start with the public address; without one they start with the path."""
    return msgspec.json.encode(
        Message(type=parcel.type, timestamp=parcel.event_at, data=_data(parcel, public_url.rstrip("/")))
    )


def _data(parcel: Parcel, base: str) -> Any:
    if parcel.job is not None:
        return _thin_job(parcel.job, base)
    if parcel.batch is not None:
        return _thin_batch(parcel.batch, base)
    return parcel.data


def _thin_job(job: JobRow, base: str) -> ThinJob:
    fields = {name: getattr(job, name) for name in _JOB_FIELDS}
    error = job.error and JobError(job.error.code, job.error.message[:_LONGEST_ERROR])
    self = f"{base}/v1/jobs/{job.id}"
    result = {"result": f"{self}/result"} if job.state is JobState.SUCCEEDED else {}
    return ThinJob(**fields, error=error, links={"self": self, **result})


def _thin_batch(batch: BatchRow, base: str) -> ThinBatch:
    fields = {name: getattr(batch, name) for name in _BATCH_FIELDS}
    links = {"self": f"{base}/v1/batches/{batch.id}", "jobs": f"{base}/v1/jobs?batch_id={batch.id}"}
    return ThinBatch(**fields, links=links)


def headers_of(parcel: Parcel, body: bytes) -> Mapping[str, str]:
    """Return the headers of this attempt. Each secret that is good now signs; without any there is no signature."""
    message_id, timestamp = str(parcel.ref.delivery_id), str(int(parcel.now.timestamp()))
    headers = {
        "content-type": "application/json",
        "user-agent": USER_AGENT,
        "accept-encoding": "identity",
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
    }
    if parcel.secrets:
        signed = f"{message_id}.{timestamp}.".encode() + body
        headers["webhook-signature"] = " ".join(_signature(secret, signed) for secret in parcel.secrets)
    return headers


def _signature(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
