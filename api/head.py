"""HEAD of every address that GET has (RFC 9110, 9.3.2): the same answer without its content, a stream's at once."""

from typing import cast

from litestar import Litestar
from litestar.types import (
    HTTPDisconnectEvent,
    HTTPReceiveMessage,
    HTTPScope,
    LifeSpanReceive,
    LifeSpanScope,
    LifeSpanSend,
    Message,
    Receive,
    Scope,
    Send,
)

_NOTHING: Message = {"type": "http.response.body", "body": b"", "more_body": False}
_GONE: HTTPDisconnectEvent = {"type": "http.disconnect"}


class HeadToo(Litestar):
    """An app whose routes for GET answer HEAD as well."""

    async def __call__(
        self, scope: Scope | LifeSpanScope, receive: Receive | LifeSpanReceive, send: Send | LifeSpanSend
    ) -> None:
        """Take one request, or the app's own beginning and end."""
        if scope["type"] == "lifespan":
            await super().__call__(scope, receive, send)
            return
        request = cast("HTTPScope", scope)  # the server takes no websockets
        receiving, sending = cast("Receive", receive), _allowing_head(cast("Send", send))
        if request["method"] == "HEAD":
            request = {**request, "method": "GET"}
            receiving, sending = _without_content(receiving, sending)
        await super().__call__(request, receiving, sending)


def _without_content(receive: Receive, send: Send) -> tuple[Receive, Send]:
    """Let the answer end with its head; whoever goes on is told that nobody listens."""
    ended = False

    async def receiving() -> HTTPReceiveMessage:
        return _GONE if ended else cast("HTTPReceiveMessage", await receive())

    async def sending(message: Message) -> None:
        nonlocal ended
        if message["type"] == "http.response.start":
            await send(message)
            await send(_NOTHING)
            ended = True

    return cast("Receive", receiving), sending


def _allowing_head(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [_with_head(name, value) for name, value in message["headers"]]
        await send(message)

    return sending


def _with_head(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    return name, value.replace(b"GET", b"GET, HEAD") if name.lower() == b"allow" else value
