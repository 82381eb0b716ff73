"""Requests as bytes, straight into the app: no client mends them, no server hides what the app does with them."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from itertools import cycle
from urllib.parse import unquote, urlsplit

import httpx
from litestar import Litestar
from litestar.types import Message, Scope

from tests.api.conftest import BASE

Headers = Sequence[tuple[str, str]]
PATIENCE = 10.0


class Wire:
    """The apps that answer in turn."""

    def __init__(self, *apps: Litestar) -> None:
        self._turns = cycle(apps)

    async def ask(self, method: str, url: str, headers: Headers = (), body: bytes = b"") -> httpx.Response:
        """Return the answer; of a stream, its head and its first piece. Whatever the app raises comes out here."""
        pieces, left = [{"type": "http.request", "body": body, "more_body": False}], asyncio.Event()
        heard: list[Message] = []

        async def receive() -> Message:
            if pieces:
                return pieces.pop()  # type: ignore[return-value]
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            heard.append(message)
            if message["type"] == "http.response.body" and (_streams(heard[0]) or not message["more_body"]):
                left.set()

        scope = _scope(method, url, [*headers, *_length(headers, body)])
        try:
            await asyncio.wait_for(next(self._turns)(scope, receive, send), PATIENCE)  # type: ignore[arg-type]
        finally:
            left.set()
        return _answer(httpx.Request(method, BASE, headers=[]), heard)


def _scope(method: str, url: str, headers: Headers) -> Scope:
    """Build the scope as uvicorn does."""
    target = urlsplit(url)
    return {  # type: ignore[return-value]
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("milpa.test", 80),
        "client": ("192.0.2.7", 40000),
        "scheme": "http",
        "method": method,
        "root_path": "",
        "path": unquote(target.path),
        "raw_path": target.path.encode(),
        "query_string": target.query.encode(),
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        "state": {},
    }


def _length(headers: Headers, body: bytes) -> Headers:
    names = {name.lower() for name, _ in headers}
    host = [] if "host" in names else [("host", "milpa.test")]
    return host if "content-length" in names or not body else [*host, ("content-length", str(len(body)))]


def _streams(head: Message) -> bool:
    return any(value.startswith(b"text/event-stream") for name, value in head["headers"] if name == b"content-type")  # type: ignore[typeddict-item]


def _answer(request: httpx.Request, heard: list[Message]) -> httpx.Response:
    head, *parts = heard
    content = b"".join(part.get("body", b"") for part in parts)  # type: ignore[misc]
    answer = httpx.Response(head["status"], headers=list(head["headers"]), content=content, request=request)  # type: ignore[typeddict-item]
    answer.elapsed = timedelta()
    return answer
