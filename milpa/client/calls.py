"""Every call of the API as a generator of requests: see `exchange`. The clients' methods are made of these."""

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote
from uuid import UUID, uuid4

import msgspec

from milpa.client.answers import Batch, JobReport, JobResult, KindDetail, KindSummary, Page, SubmittedBatch
from milpa.client.exchange import Answer, Call, Request, send
from milpa.client.paging import pages
from milpa.errors import TransientError
from milpa.issues import Issue
from milpa.jobs import FileFormat, Job, JobFile, JobOptions, JobState, Priority

JobRef: TypeAlias = Job | UUID | str
Rows: TypeAlias = Path | str

_HOLD_SECONDS = 20
"""How long one request waits for a job to end; the API allows 30."""
_MEDIA_TYPES = {
    ".csv": "text/csv",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".parquet": "application/vnd.apache.parquet",
}


class _Issues(msgspec.Struct):
    issues: list[Issue]


def submit(
    kind: str,
    problem: Any = None,
    *,
    rows: Rows | None = None,
    options: JobOptions | Mapping[str, Any] | None = None,
    files: Iterable[FileFormat | str] = (),
    name: str | None = None,
    tags: Sequence[str] = (),
    priority: Priority | str = Priority.INTERACTIVE,
    webhook_url: str | None = None,
    reuse: bool = False,
    wait: float | None = None,
    idempotency_key: str | None = None,
) -> Call[Job]:
    """Submit a job and return it. RefusedError lists all that is wrong with it.

    problem: a mapping or a Struct, as the kind's schema says. rows: a CSV, XLSX or Parquet file with its main table,
    which is left out of `problem` then. options: time_limit_seconds, relative_gap, threads, seed. files: formats to
    make (xlsx, csv, pdf, png). reuse: an earlier answer to the same problem will do. wait: seconds to hold on for the
    end, 30 at most. Sending again after a lost connection never makes a second job: the idempotency key is made here
    when left out.
    """
    more = {"options": options, "files": list(files), "name": name, "tags": list(tags), "webhook_url": webhook_url}
    if priority != Priority.INTERACTIVE:
        more["priority"] = priority
    body = _body(problem, **more, reuse=reuse)
    headers = {"Idempotency-Key": idempotency_key or str(uuid4())}
    if wait is not None:
        headers["Prefer"] = f"wait={wait:g}"
    return (yield from send(_submission(kind, body, rows, {}, headers))).read(Job)


def validate(kind: str, problem: Any = None, *, rows: Rows | None = None, **more: Any) -> Call[list[Issue]]:
    """Return what is wrong or doubtful with a job, and make nothing.

    more: what else `submit` would say of it: options, files, name, tags, priority, webhook_url, reuse.
    """
    request = _submission(kind, _body(problem, **more), rows, {"validate_only": "true"}, {})
    return (yield from send(request)).read(_Issues).issues


def job(job: JobRef) -> Call[Job]:
    """Return the job as it is now."""
    return (yield from send(_get(f"/v1/jobs/{job_id(job)}"))).read(Job)


def wait(job: JobRef, timeout: float | None = None) -> Call[Job]:
    """Return the job once it has ended. timeout: in seconds; TransientError `not_ended` when it has not by then."""
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        left = _HOLD_SECONDS if deadline is None else max(0.0, min(_HOLD_SECONDS, deadline - time.monotonic()))
        answer = yield from send(_get(f"/v1/jobs/{job_id(job)}", wait=f"{left:g}"))
        found = answer.read(Job)
        if found.state.ended:
            return found
        if deadline is not None and time.monotonic() >= deadline:
            raise TransientError("not_ended", f"The job {found.id} is still {found.state} after {timeout:g} s.")


def jobs(
    limit: int = 50,
    *,
    state: JobState | str | None = None,
    kind: str | None = None,
    tag: str | None = None,
    name: str | None = None,
    batch_id: UUID | str | None = None,
) -> Call[list[Job]]:
    """Return the newest jobs, at most `limit`. name: part of the job's name."""
    filters = {"state": state, "kind": kind, "tag": tag, "name": name, "batch_id": batch_id}
    query = {field: str(value) for field, value in filters.items() if value is not None}
    return (yield from pages("/v1/jobs", limit, Job, **query))


def result(job: JobRef) -> Call[JobResult]:
    """Return what the solver found. RefusedError (409): the job has not succeeded."""
    return (yield from send(_get(f"/v1/jobs/{job_id(job)}/result"))).read(JobResult)


def report(job: JobRef) -> Call[JobReport]:
    """Return the figures, tables and charts to show."""
    return (yield from send(_get(f"/v1/jobs/{job_id(job)}/report"))).read(JobReport)


def problem(job: JobRef) -> Call[dict[str, Any]]:
    """Return the problem as solved."""
    return (yield from send(_get(f"/v1/jobs/{job_id(job)}/problem"))).read(dict[str, Any])


def log(job: JobRef) -> Call[str]:
    """Return the solver's log."""
    answer = yield from send(_get(f"/v1/jobs/{job_id(job)}/log"))
    return answer.body.decode(errors="replace")


def stop(job: JobRef) -> Call[Job]:
    """End the job now and keep the best found. RefusedError (409): it has ended already."""
    return (yield from send(_post(f"/v1/jobs/{job_id(job)}/stop"))).read(Job)


def cancel(job: JobRef) -> Call[Job]:
    """End the job now and keep nothing. RefusedError (409): it has ended already."""
    return (yield from send(_post(f"/v1/jobs/{job_id(job)}/cancel"))).read(Job)


def retry(job: JobRef) -> Call[Job]:
    """Submit a failed or cancelled job's input again and return the new job."""
    return (yield from send(_post(f"/v1/jobs/{job_id(job)}/retry", repeatable=False))).read(Job)


def delete(job: JobRef) -> Call[None]:
    """Erase an ended job, its payloads and its files."""
    yield from send(Request(method="DELETE", path=f"/v1/jobs/{job_id(job)}"))


def files(job: JobRef) -> Call[list[JobFile]]:
    """Return the job's files."""
    return (yield from send(_get(f"/v1/jobs/{job_id(job)}/files"))).read(Page[JobFile]).items


def make_files(job: JobRef, formats: Iterable[FileFormat | str]) -> Call[None]:
    """Ask for files of a job that has succeeded; they appear in `files` a little later."""
    asked = msgspec.json.encode({"formats": list(formats)})
    yield from send(_post(f"/v1/jobs/{job_id(job)}/files", asked))


def read_file(job: JobRef, name: str) -> Call[bytes]:
    """Return the content of one file."""
    path = f"/v1/jobs/{job_id(job)}/files/{quote(name, safe='')}"
    answer: Answer = yield from send(_get(path))
    return answer.body


def download(job: JobRef, to: Path | str = ".", names: Iterable[str] | None = None) -> Call[list[Path]]:
    """Write the job's files, or those named, into the folder `to`, made when missing, and return their paths."""
    folder = Path(to)
    wanted = [file.name for file in (yield from files(job))] if names is None else list(names)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in wanted:
        path = folder / Path(name).name
        path.write_bytes((yield from read_file(job, name)))
        paths.append(path)
    return paths


def kinds() -> Call[list[KindSummary]]:
    """Return every kind of job."""
    return (yield from send(_get("/v1/kinds"))).read(Page[KindSummary]).items


def kind(name: str) -> Call[KindDetail]:
    """Return one kind with the JSON Schemas of its problem and solution."""
    return (yield from send(_get(f"/v1/kinds/{quote(name, safe='')}"))).read(KindDetail)


def example(kind: str) -> Call[dict[str, Any]]:
    """Return a problem of that kind which solves in under two seconds."""
    answer = yield from send(_get(f"/v1/kinds/{quote(kind, safe='')}/example"))
    return answer.read(dict[str, dict[str, Any]])["problem"]


def template(kind: str, format: str = "csv") -> Call[bytes]:  # noqa: A002  as the API calls it
    """Return a table of the kind's rows to fill in, as csv or xlsx: its columns with two example rows."""
    path = f"/v1/kinds/{quote(kind, safe='')}/template.{quote(format, safe='')}"
    answer: Answer = yield from send(_get(path))
    return answer.body


def submit_batch(
    jobs: Sequence[Mapping[str, Any]],
    *,
    name: str | None = None,
    webhook_url: str | None = None,
    idempotency_key: str | None = None,
) -> Call[SubmittedBatch]:
    """Submit up to 1,000 jobs at once, all or none. Each is `{"kind", "problem", …}` as the body of a submit."""
    given = {"name": name, "jobs": list(jobs), "webhook_url": webhook_url}
    encoded = msgspec.json.encode({field: value for field, value in given.items() if value is not None})
    headers = {"Idempotency-Key": idempotency_key or str(uuid4())}
    return (yield from send(_post("/v1/batches", encoded, headers=headers))).read(SubmittedBatch)


def batch(batch_id: UUID | str) -> Call[Batch]:
    """Return a batch and its counts by state."""
    return (yield from send(_get(f"/v1/batches/{batch_id}"))).read(Batch)


def cancel_batch(batch_id: UUID | str) -> Call[Batch]:
    """End all jobs of a batch now and keep nothing of them."""
    return (yield from send(_post(f"/v1/batches/{batch_id}/cancel"))).read(Batch)


def retry_batch(batch_id: UUID | str, *, idempotency_key: str | None = None) -> Call[SubmittedBatch]:
    """Submit the inputs of a batch's failed jobs again, as a new batch."""
    headers = {"Idempotency-Key": idempotency_key or str(uuid4())}
    return (yield from send(_post(f"/v1/batches/{batch_id}/retry", headers=headers))).read(SubmittedBatch)


def job_id(job: JobRef) -> str:
    """Return the id of a job that is given as itself or by its id, fit for a path."""
    return str(job.id) if isinstance(job, Job) else quote(str(job), safe="")


def _body(problem: Any, **more: Any) -> bytes:
    said = {field: value for field, value in more.items() if value}
    return msgspec.json.encode({"problem": {} if problem is None else problem, **said})


def _submission(
    kind: str, job: bytes, rows: Rows | None, query: Mapping[str, str], headers: Mapping[str, str]
) -> Request:
    path = f"/v1/{quote(kind, safe='')}/jobs"
    if rows is None:
        return Request(method="POST", path=path, query=query, headers={**_JSON, **headers}, body=job)
    file = Path(rows)
    media_type = _MEDIA_TYPES.get(file.suffix.lower(), "application/octet-stream")
    parts = {"job": ("job.json", job, "application/json"), "rows": (file.name, file.read_bytes(), media_type)}
    return Request(method="POST", path=path, query=query, headers=headers, parts=parts)


_JSON = {"Content-Type": "application/json"}


def _get(path: str, **query: str) -> Request:
    return Request(method="GET", path=path, query=query)


def _post(
    path: str, body: bytes | None = None, *, headers: Mapping[str, str] | None = None, repeatable: bool = True
) -> Request:
    said = {**(_JSON if body is not None else {}), **(headers or {})}
    return Request(method="POST", path=path, headers=said, body=body, repeatable=repeatable)
