"""Requests and answers without a network: what to send, when to send it again, and what an answer means.

A call is a generator: it yields requests and pauses, is sent the answers, and returns its value. The clients drive it,
one blocking and one asynchronous, so that there is one logic for both.
"""

import random
from collections.abc import Generator, Mapping
from http import HTTPStatus
from typing import Any, TypeAlias, TypeVar

import msgspec

from milpa.errors import FatalError, MilpaError, TransientError, UsageError
from milpa.issues import Issue

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
"""Seconds between attempts: doubled each time, with full jitter."""
_SHOWN_ISSUES = 20


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP request. repeatable: sending it twice does no harm. parts: of a multipart form, instead of `body`."""

    method: str
    path: str
    query: Mapping[str, str | list[str]] = {}
    headers: Mapping[str, str] = {}
    body: bytes | None = None
    parts: Mapping[str, tuple[str, bytes, str]] | None = None
    repeatable: bool = True


class Pause(msgspec.Struct, frozen=True):
    """Wait before going on."""

    seconds: float


class Answer(msgspec.Struct, frozen=True):
    """What came back. headers: by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def read(self, type_: type[T]) -> T:
        """Return the body as that type; unknown fields are ignored, so that older clients read newer servers."""
        return msgspec.json.decode(self.body, type=type_)


Call: TypeAlias = Generator[Request | Pause, Any, T]


class LostError(Exception):
    """The connection failed. maybe_done: the request may have reached the server before."""

    def __init__(self, reason: str, *, maybe_done: bool) -> None:
        super().__init__(reason)
        self.maybe_done = maybe_done


class RefusedError(UsageError):
    """The API refused a request. issues: all that is wrong with it, up to 1,000; issues_total: how many there are."""

    def __init__(self, code: str, message: str, *, status: int, issues: list[Issue], issues_total: int) -> None:
        super().__init__(code, message)
        self.status = status
        self.issues = issues
        self.issues_total = issues_total

    def __str__(self) -> str:
        more = self.issues_total - _SHOWN_ISSUES
        lines = [f"  {issue}" for issue in self.issues[:_SHOWN_ISSUES]]
        return "\n".join([self.message, *lines, *([f"  … and {more:,} more"] if more > 0 else [])])


class _Problem(msgspec.Struct, kw_only=True):
    type: str = "/problems/unknown"
    title: str = ""
    detail: str = ""
    request_id: str = ""
    issues: list[Issue] = []
    issues_total: int | None = None


def send(request: Request) -> Call[Answer]:
    """Send one request and return its answer."""
    answer: Answer = yield request
    return answer


def persistent(call: Call[T], retries: int) -> Call[T]:
    """Do the call, sending again what may be sent again, and raising what an answer means."""
    try:
        step = next(call)
        while True:
            step = call.send((yield step) if isinstance(step, Pause) else (yield from _attempts(step, retries)))
    except StopIteration as stop:
        value: T = stop.value
        return value


def _attempts(request: Request, retries: int) -> Call[Answer]:
    attempt = 0
    while True:
        try:
            answer: Answer = yield request
        except LostError as lost:
            if attempt == retries or (lost.maybe_done and not request.repeatable):
                raise TransientError("unreachable", f"Milpa can't be reached at {lost}.") from lost
            pause = back_off(attempt)
        else:
            if attempt == retries or not may_repeat(answer, repeatable=request.repeatable):
                return good(answer)
            pause = max(retry_after(answer), back_off(attempt))
        attempt += 1
        yield Pause(pause)


def may_repeat(answer: Answer, *, repeatable: bool) -> bool:
    """Tell whether sending again may help: the server said so, or something between us and it failed."""
    if answer.status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        return True
    return repeatable and answer.status in {HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT}


def back_off(attempt: int) -> float:
    """Return the seconds to wait after that many failures: full jitter below a doubling bound."""
    return random.uniform(0, min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt))  # noqa: S311 - jitter, not a secret


def retry_after(answer: Answer) -> float:
    """Return the seconds the server asks us to wait; 0 when it doesn't say."""
    text = answer.headers.get("retry-after", "")
    return min(float(text), LONGEST_PAUSE) if text.isdecimal() else 0.0


def good(answer: Answer) -> Answer:
    """Return the answer if it is a success, and raise what it means otherwise."""
    if answer.status < HTTPStatus.BAD_REQUEST:
        return answer
    raise _error(answer)


def _error(answer: Answer) -> MilpaError:
    try:
        problem = answer.read(_Problem)
    except msgspec.MsgspecError:
        problem = _Problem(detail=f"The server answered {answer.status} without saying why.")
    code = problem.type.rpartition("/")[2].replace("-", "_")
    message = problem.detail or problem.title
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        away = answer.status in {HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}
        named = f"{message} (request {problem.request_id})" if problem.request_id else message
        return TransientError(code, named) if away else FatalError(code, named)
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        return TransientError(code, message)
    total = problem.issues_total or len(problem.issues)
    return RefusedError(code, message, status=answer.status, issues=problem.issues, issues_total=total)
