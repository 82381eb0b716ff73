"""One id per request: on the answer, in every problem and on every log line."""

import re
from typing import Any

from litestar.types import Message, Scope

from milpa.jobs import new_id

HEADER = "X-Request-ID"
_ACCEPTABLE = re.compile(rb"[A-Za-z0-9._-]{8,128}")


def request_id(scope: Scope) -> str:
    """Return the request's id: the caller's own when it is safe to repeat, else a fresh one."""
    state: dict[str, Any] = scope.setdefault("state", {})
    found: str | None = state.get("request_id")
    if found is None:
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        found = given.decode() if _ACCEPTABLE.fullmatch(given) else str(new_id())
        state["request_id"] = found
    return found


async def stamp(message: Message, scope: Scope) -> None:
    """Put the id on the head of every answer."""
    if message["type"] == "http.response.start":
        message["headers"] = [*message.get("headers", []), (b"x-request-id", request_id(scope).encode())]
