"""HTTP/1.1 with an end to patience: uvicorn's protocol, which by itself waits for slow clients for ever.

A head or a body that does not arrive in time is answered 408, a head that is too large 431, a connection too many 503;
whoever does not take its answer is cut off.
"""

from asyncio import Transport
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from api.answer_headers import AnswerHeaders, Header
from api.problem_details import MEDIA_TYPE, ProblemError, problem_body
from milpa.jobs import new_id
from milpa.settings import Settings

MALFORMED = ProblemError(400, "bad-request", "This is not an HTTP request that can be understood.")
HEAD_TOO_LARGE = ProblemError(431, "head-too-large", "The request line and the headers are too large.")
HEAD_TOO_SLOW = ProblemError(408, "too-slow", "The headers took too long to arrive.")
BODY_TOO_SLOW = ProblemError(408, "too-slow", "The body took too long to arrive.")
TOO_MANY = ProblemError(
    503, "too-many-connections", "Too many connections are open here.", headers={"Retry-After": "5"}
)


def patient_protocol(settings: Settings) -> type[HttpToolsProtocol]:
    """Return the protocol with the patience of these settings."""
    return type("Protocol", (PatientProtocol,), {"settings": settings, "answer_headers": AnswerHeaders(settings)})


class PatientProtocol(HttpToolsProtocol):
    """One connection."""

    settings: Settings
    answer_headers: AnswerHeaders

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._deadline: Any = None
        self._stalled: Any = None
        self._head_bytes: int | None = 0  # that have arrived of a head not whole yet; None: there is none
        self._fields_bytes = 0  # of the address, the headers and the trailers of a request
        self._body_began = 0.0
        self._body_bytes = 0
        self._why_malformed = MALFORMED

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Greet the client, or send it away when there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self.settings.max_connections:
            self._refuse(TOO_MANY)
        else:
            self._expect(self.settings.head_seconds, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        self._expect_nothing()
        self._resume()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what has arrived, of a head not more than fits."""
        if self.transport.is_closing():
            return
        if self._head_bytes is not None:
            self._head_bytes += len(data)
        if self.timeout_keep_alive_task is not None:
            self._expect(self.settings.head_seconds, self._head_is_late)
        super().data_received(data)
        if self._head_bytes is not None and self._head_bytes > self.settings.max_head_bytes:
            self._refuse(HEAD_TOO_LARGE)

    # What the parser tells

    def on_message_begin(self) -> None:
        """Note that a request begins."""
        super().on_message_begin()
        self._fields_bytes = 0
        if self._head_bytes is None:
            self._head_bytes = 0
            self._expect(self.settings.head_seconds, self._head_is_late)

    def on_url(self, url: bytes) -> None:
        """Take a piece of the address, of all fields together not more than fits."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header or trailer, of all fields together not more than fits."""
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def _count(self, size: int) -> None:
        self._fields_bytes += size
        if self._fields_bytes > self.settings.max_head_bytes:
            self._why_malformed = HEAD_TOO_LARGE
            raise httptools.HttpParserError

    def on_headers_complete(self) -> None:
        """Hand the request over to the app, and expect its body."""
        self._head_bytes = None
        self._body_began, self._body_bytes = self.loop.time(), 0
        self._expect(self.settings.body_seconds, self._body_may_be_late)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Count what arrives of the body."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that the request is there."""
        self._expect_nothing()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser does not take."""
        del msg
        self._refuse(self._why_malformed)

    # Slow clients

    def _expect(self, seconds: float, late: Callable[[], None]) -> None:
        self._expect_nothing()
        self._deadline = self.loop.call_later(seconds, late)

    def _expect_nothing(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _head_is_late(self) -> None:
        self._refuse(HEAD_TOO_SLOW)

    def _body_may_be_late(self) -> None:
        allowed = self.settings.body_seconds + self._body_bytes / self.settings.body_bytes_per_second
        left = self._body_began + allowed - self.loop.time()
        if self.flow.read_paused:  # the app is slow, not the client
            self._expect(self.settings.body_seconds, self._body_may_be_late)
        elif left > 0:
            self._expect(left, self._body_may_be_late)
        else:
            self._refuse(BODY_TOO_SLOW)

    def pause_writing(self) -> None:
        """Note that the client does not take what is sent."""
        super().pause_writing()
        self._stalled = self.loop.call_later(self.settings.stalled_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Note that it does again."""
        self._resume()
        super().resume_writing()

    def _resume(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    # Refusals

    def _refuse(self, problem: ProblemError) -> None:
        """Answer with the problem where no answer has begun, and close."""
        self._expect_nothing()
        if self.transport.is_closing():
            return
        cycle = self.cycle
        answering = cycle is not None and not cycle.response_complete
        if answering:
            cycle.disconnected = True
            cycle.message_event.set()
        if not self.pipeline and not (answering and cycle.response_started):
            self.transport.write(_answer(problem, self.answer_headers.of(self.scheme or "http")))
        self.transport.close()


def _answer(problem: ProblemError, always: Sequence[Header]) -> bytes:
    identity = str(new_id())
    body = problem_body(problem, identity)
    headers = {
        "Content-Type": MEDIA_TYPE,
        "Content-Length": str(len(body)),
        "Connection": "close",
        "X-Request-ID": identity,
        **problem.headers,
    }
    lines = [STATUS_LINE[HTTPStatus(problem.status)]]
    lines += [b"%b: %b\r\n" % header for header in always]
    lines += [f"{name}: {value}\r\n".encode() for name, value in headers.items()]
    return b"".join([*lines, b"\r\n", body])
