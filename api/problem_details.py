"""The only place where an error becomes HTTP: RFC 9457 `application/problem+json`, always."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException

from api.request_id import request_id
from milpa.errors import MilpaError, TransientError, UsageError
from milpa.logging import told
from solvers.decode import MAX_ISSUES
from solvers.issues import Issue, Severity

MEDIA_TYPE = "application/problem+json"
_log = structlog.get_logger("milpa.api")


class ProblemDetails(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What an error answer holds. type: what sort of problem, for programs; detail: this one, for people.

    issues: with 422, all that is wrong, at most 1,000 of the `issues_total`.
    """

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    issues: list[Issue] = []
    issues_total: int | None = None


class ProblemError(Exception):
    """An answer other than success, decided by a route. slug: the last part of the problem's `type`.

    A 422 without issues of its own has one all the same: its detail, pointing `at` what is wrong (the whole body).
    """

    def __init__(
        self,
        status: int,
        slug: str,
        detail: str,
        *,
        issues: list[Issue] | None = None,
        issues_total: int | None = None,
        at: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(slug)
        self.status = status
        self.slug = slug
        self.detail = detail
        self.issues = issues or []
        self.issues_total = issues_total
        if status == HTTPStatus.UNPROCESSABLE_ENTITY and not issues:
            self.issues = [Issue(code=slug.replace("-", "_"), pointer=at, message=detail)]
            self.issues_total = 1
        self.headers = dict(headers or {})


def not_found(what: str = "resource") -> ProblemError:
    """Return a 404 that reads the same whether the thing is missing or another tenant's."""
    return ProblemError(404, "not-found", f"There is no such {what}.")


def invalid(issues: Iterable[Issue], total: int | None = None) -> ProblemError:
    """Return a 422 with every issue, errors before warnings and each part in its order."""
    listed = sorted(issues, key=lambda issue: issue.severity is not Severity.ERROR)
    total = max(total or 0, len(listed))
    detail = "One thing is wrong; see issues." if total == 1 else f"{total} things are wrong; see issues."
    return ProblemError(422, "validation", detail, issues=listed[:MAX_ISSUES], issues_total=total)


def too_large(limit: int) -> ProblemError:
    """Return a 413 that names the limit, in bytes."""
    return ProblemError(413, "body-too-large", f"The body is larger than {limit:,} bytes, unpacked.")


def unsupported(detail: str, **headers: str) -> ProblemError:
    """Return a 415."""
    return ProblemError(415, "unsupported-media-type", detail, headers=headers)


def malformed(detail: str) -> ProblemError:
    """Return a 400 for a body that cannot be read at all."""
    return ProblemError(400, "malformed-body", detail)


_USAGE_STATUS: Mapping[str, int] = {
    "malformed_json": 400,
    "job_ended": 409,
    "job_not_ended": 409,
    "not_retryable": 409,
    "nothing_to_retry": 409,
    "webhook_disabled": 409,
    "too_many_webhooks": 409,
    "too_many_api_keys": 409,
    "input_gone": 409,
    "report_gone": 409,
    "job_without_report": 409,
}
"""Which status a UsageError's code has; others are 422."""

_USAGE_POINTERS: Mapping[str, str] = {
    "idempotency_conflict": "/headers/Idempotency-Key",
    "bad_position": "/headers/Last-Event-ID",
}
"""What the issue of a 422 points at; others are about the whole body."""

_HTTP_SLUGS: Mapping[int, str] = {
    400: "bad-request",
    401: "unauthorized",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    413: "body-too-large",
    415: "unsupported-media-type",
    429: "too-many-requests",
    503: "unavailable",
}

_HTTP_DETAILS: Mapping[int, str] = {
    400: "The request cannot be understood.",
    404: "There is nothing at this address.",
    405: "This address does not take that method; see the Allow header.",
}


def to_problem(error: Exception) -> ProblemError:
    """Decide what an exception is to the caller; whatever is not known is a fault of ours."""
    match error:
        case ProblemError():
            return error
        case UsageError():
            status, at = _USAGE_STATUS.get(error.code, 422), _USAGE_POINTERS.get(error.code, "")
            return ProblemError(status, error.code.replace("_", "-"), error.message, at=at)
        case TransientError():
            detail = "A part that Milpa needs is away for the moment; nothing was accepted. Try again."
            return ProblemError(503, "unavailable", detail, headers={"Retry-After": "2"})
        case HTTPException() if error.status_code in _HTTP_SLUGS:
            status = error.status_code
            detail = _HTTP_DETAILS.get(status, HTTPStatus(status).phrase + ".")
            return ProblemError(status, _HTTP_SLUGS[status], detail, headers=error.headers or {})
        case _:
            return ProblemError(500, "internal", "Milpa made a mistake; it was logged with this request's id.")


def answer_error(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer an exception as a problem; log faults (5xx that no route decided on) once, with the request's id."""
    problem = to_problem(error)
    identity = request_id(request.scope)
    if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR and problem is not error:
        route = request.scope.get("path_template", "")
        log_fault("request failed", error, request_id=identity, status=problem.status, route=route)
    return Response(
        content=problem_body(problem, identity),
        status_code=problem.status,
        media_type=MEDIA_TYPE,
        headers=problem.headers,
    )


def problem_body(problem: ProblemError, identity: str) -> bytes:
    """Return the JSON of a problem; identity: the request's id."""
    details = ProblemDetails(
        type=f"/problems/{problem.slug}",
        title=HTTPStatus(problem.status).phrase,
        status=problem.status,
        detail=problem.detail,
        request_id=identity,
        issues=problem.issues,
        issues_total=problem.issues_total,
    )
    return msgspec.json.encode(details)


def log_fault(what: str, error: BaseException, **more: object) -> None:
    """Log what broke and where, without the exception's text: it may quote the caller's data in it."""
    known = {"code": error.code} if isinstance(error, MilpaError) else {}
    log = _log.warning if isinstance(error, TransientError) else _log.error
    log(
        what,
        **told(error),
        **known,
        **more,
    )
