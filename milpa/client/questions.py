"""Calls that ask about a job that has succeeded: what if, why not, compare, frontier."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

import msgspec

from milpa.client.answers import Children, Comparison, Frontier, WhyNot
from milpa.client.calls import JobRef, job_id, wait
from milpa.client.exchange import Call, Request, send
from milpa.jobs import Job, JobOptions

Options = JobOptions | Mapping[str, Any] | None


def what_if(
    job: JobRef,
    cases: Sequence[Mapping[str, Any]],
    *,
    options: Options = None,
    idempotency_key: str | None = None,
) -> Call[Children]:
    """Solve the job's problem with changes, 1 to 20 cases, each as a job of its own; return those jobs.

    cases: `{"name", "patch"}`; a suggestion of the result's explanation is one as it stands. patch: JSON merge patch of
    the problem, in which lists of entries with ids may be patched as `{id: patch or None}`. options: those that differ
    from the job's.
    """
    asked = {"cases": [dict(case) for case in cases]}
    return (yield from send(_ask(job, "what-if", asked, options, idempotency_key))).read(Children)


def why_not(
    job: JobRef,
    force: Mapping[str, Any],
    *,
    name: str | None = None,
    options: Options = None,
    timeout: float | None = None,
    idempotency_key: str | None = None,
) -> Call[WhyNot]:
    """Force something into the answer, wait for it, and return what it costs and what it breaks.

    force: as the kind has it, such as `{"deal_id": "D"}`. timeout: in seconds; TransientError `not_ended` after that.
    RefusedError (409): the new job failed or was cancelled.
    """
    asked = {"force": dict(force), **({} if name is None else {"name": name})}
    child = (yield from send(_ask(job, "why-not", asked, options, idempotency_key))).read(Job)
    yield from wait(child, timeout)
    return (yield from send(Request(method="GET", path=f"/v1/jobs/{child.id}/why-not"))).read(WhyNot)


def frontier(
    job: JobRef,
    against: str,
    *,
    points: int = 10,
    first: float | None = None,
    last: float | None = None,
    options: Options = None,
    timeout: float | None = None,
    idempotency_key: str | None = None,
) -> Call[Frontier]:
    """Solve the job's problem at several values of one of its limits, wait for all, and return the curve.

    against: a field that the kind names in its `frontier`. points: 2 to 20. first, last: the ends; worth looking at by
    the problem and its solution when left out. timeout: in seconds, for each of the jobs.
    """
    ends = {name: end for name, end in (("from", first), ("to", last)) if end is not None}
    asked = {"against": against, "points": points, **ends}
    made = (yield from send(_ask(job, "frontier", asked, options, idempotency_key))).read(Children)
    for child in made.jobs:
        yield from wait(child, timeout)
    return (yield from frontier_of(made.batch_id))


def frontier_of(batch_id: UUID | str) -> Call[Frontier]:
    """Return the curve of a frontier's batch. RefusedError (409): not all of its jobs have ended."""
    return (yield from send(Request(method="GET", path=f"/v1/batches/{batch_id}/frontier"))).read(Frontier)


def compare(jobs: Sequence[JobRef], *, baseline: JobRef | None = None) -> Call[Comparison]:
    """Return 2 to 10 ended jobs of one kind side by side. baseline: the one to measure against; else the first."""
    query = {"ids": ",".join(job_id(job) for job in jobs)}
    if baseline is not None:
        query["baseline"] = job_id(baseline)
    return (yield from send(Request(method="GET", path="/v1/jobs/compare", query=query))).read(Comparison)


def _ask(job: JobRef, question: str, asked: Mapping[str, Any], options: Options, key: str | None) -> Request:
    body = {**asked, **({"options": options} if options else {})}
    return Request(
        method="POST",
        path=f"/v1/jobs/{job_id(job)}/{question}",
        headers={"Content-Type": "application/json", "Idempotency-Key": key or str(uuid4())},
        body=msgspec.json.encode(body),
    )
