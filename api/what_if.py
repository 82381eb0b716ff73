"""What if: the problem of a job with other figures, up to twenty cases at once."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Response, post
from litestar.params import FromPath

from api.bodies import AnyRequest, decode_asked, read_json
from api.children import Change, ChildrenMade, find_parent, read_children, submit_children
from api.operations import Answer, Operation
from api.principal import Permission
from api.services import settings_for
from api.submissions import LINE_LENGTH, Line, Text
from solvers.issues import pointer

ACCEPTED = Answer("The jobs, in the order asked for.", ChildrenMade, headers=("Location", "Idempotency-Replayed"))


class Case(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One change to solve. A suggestion of an explanation, of its `what_if` or `repairs`, is a case as it stands.

    patch: JSON merge patch of the problem; a list whose entries have ids may be patched as `{id: patch or null}`.
    name: of the new job; the label when left out. label, expected_change, cost, valid_from, valid_to: what a suggestion
    says of itself; it changes nothing.
    """

    patch: dict[str, Any]
    name: Line | None = None
    label: Text = ""
    expected_change: float | None = None
    cost: float | None = None
    valid_from: float | None = None
    valid_to: float | None = None


class WhatIfRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cases to solve. options: those that differ from the parent job's."""

    cases: Annotated[list[Case], msgspec.Meta(min_length=1, max_length=20)]
    options: dict[str, Any] = {}


@post(
    "/v1/jobs/{job_id:uuid}/what-if",
    requires=Permission.SUBMIT,
    operation=Operation(
        tag="Questions",
        body=WhatIfRequest,
        headers=("Idempotency-Key",),
        answers={202: ACCEPTED},
        problems=(409,),
        limited=True,
    ),
)
async def ask_what_if(request: AnyRequest, job_id: FromPath[UUID]) -> Response[bytes]:
    """Solve the problem of a job with changes, each case as a job of its own.

    All cases, or none, become one batch; each starts from the solution of the job that was asked about, which must
    have succeeded. An issue points to `/cases/3/patch/…` where the patch made it, else to `/cases/3/problem/…`, a place
    in the patched problem.
    """
    settings = settings_for(request)
    body = await read_json(request)
    asked = await decode_asked(body, WhatIfRequest, settings)
    parent = await find_parent(request, job_id)
    changes = [
        Change(
            patch=case.patch,
            at=pointer("cases", index),
            name=case.name or case.label[:LINE_LENGTH] or None,
            written=True,
        )
        for index, case in enumerate(asked.cases)
    ]
    jobs = await read_children(parent, changes, asked.options, settings, size=len(body))
    return await submit_children(request, parent, f"What if: {parent.label}", jobs)


ROUTES = [ask_what_if]
