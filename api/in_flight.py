"""What requests under way take of this process: each has an end, and the bodies of all have a sum.

Not counted is the time in which a client sends its body, which has an end of its own, nor an answer that has begun: a
stream goes on, and whoever does not read is cut off (`deploy.patient_protocol`).
"""

import asyncio
from typing import Any

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from api.problem_details import ProblemError, log_fault
from api.request_id import request_id
from milpa.settings import Settings

_BUSY_RETRY_SECONDS = 2
_HELD = "body_bytes_held"


class InFlight:
    """Ends requests that take too long (504), and refuses bodies while there are too many (503)."""

    def __init__(self, settings: Settings) -> None:
        self._seconds = settings.request_seconds
        self._most = settings.max_bytes_in_flight
        self._bytes = 0

    def __call__(self, app: ASGIApp) -> ASGIApp:
        """Return the app, held to this."""

        async def bounded(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                async with asyncio.timeout(self._seconds) as deadline:
                    await app(scope, self._patient(receive, deadline), _final(send, deadline))
            except TimeoutError as error:
                if not deadline.expired():
                    raise
                route = scope.get("path_template", "")
                log_fault("request took too long", error, request_id=request_id(scope), status=504, route=route)
                raise _took_too_long() from None
            finally:
                self._bytes -= scope["state"].pop(_HELD, 0)

        return bounded

    def _patient(self, receive: Receive, deadline: asyncio.Timeout) -> Receive:
        async def receiving() -> Any:
            if deadline.when() is None:  # the answer has begun
                return await receive()
            _move(deadline, None)
            message = await receive()
            _move(deadline, asyncio.get_running_loop().time() + self._seconds)
            return message

        return receiving

    def hold(self, scope: Scope, size: int) -> None:
        """Count so many bytes as this request's body, until it has ended. ProblemError (503): there are too many.

        A body alone always fits, however large it may be by other limits.
        """
        others = self._bytes - scope["state"].get(_HELD, 0)
        if others and others + size > self._most:
            detail = "Too much is being read here at once; nothing was accepted. Try again."
            raise ProblemError(503, "too-busy", detail, headers={"Retry-After": str(_BUSY_RETRY_SECONDS)})
        self._bytes, scope["state"][_HELD] = others + size, size


def _final(send: Send, deadline: asyncio.Timeout) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            _move(deadline, None)
        await send(message)

    return sending


def _move(deadline: asyncio.Timeout, when: float | None) -> None:
    if not deadline.expired():
        deadline.reschedule(when)


def _took_too_long() -> ProblemError:
    detail = (
        "Milpa took too long over this. What it was about to keep was undone, unless it was kept at the last moment: "
        "look, or ask again with the same Idempotency-Key."
    )
    return ProblemError(504, "took-too-long", detail)
