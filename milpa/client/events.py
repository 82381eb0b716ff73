"""Server-sent events without a network: parsing, and resuming where a lost stream ended."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from milpa.client.calls import JobRef, job_id
from milpa.client.exchange import Answer, Request, back_off, good, may_repeat
from milpa.errors import TransientError
from milpa.jobs import EventType, JobEvent

SILENCE_SECONDS = 45.0
"""A stream that is silent for longer is lost: the server sends a comment every 15 s."""
_TYPES = frozenset(type_.value for type_ in EventType)
_HEAD = frozenset({"job_id", "seq", "at", "type"})


class Message(msgspec.Struct, frozen=True):
    """One message of an event stream."""

    event: str
    data: str


class Parser:
    """Makes messages of bytes as they come, cut anywhere (WHATWG HTML, server-sent events)."""

    def __init__(self) -> None:
        self._rest = b""
        self._event = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> Iterator[Message]:
        """Yield the messages that are complete by now."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            message = self._line(line.removesuffix(b"\r").decode(errors="replace"))
            if message is not None:
                yield message

    def _line(self, line: str) -> Message | None:
        if not line:
            message = Message(self._event or "message", "\n".join(self._data)) if self._data else None
            self._event, self._data = "", []
            return message
        field, _, value = line.partition(":")
        if field == "event":
            self._event = value.removeprefix(" ")
        elif field == "data":
            self._data.append(value.removeprefix(" "))
        return None


class Follower:
    """Follows one job's log to its end over as many connections as it takes; each event is told once, in order."""

    def __init__(self, job: JobRef, after: int, retries: int) -> None:
        self._path = f"/v1/jobs/{job_id(job)}/events"
        self._after = after
        self._retries = retries
        self._failures = 0
        self._parser = Parser()
        self.ended = False

    def request(self) -> Request:
        """Return the request that opens the stream after the last event told."""
        self._parser = Parser()
        headers = {"Accept": "text/event-stream"}
        if self._after:
            headers["Last-Event-ID"] = str(self._after)
        return Request(method="GET", path=self._path, headers=headers)

    def refused(self, answer: Answer) -> None:
        """Take an answer that is no stream: raise what it means, unless trying again may help."""
        if not may_repeat(answer, repeatable=True):
            good(answer)

    def feed(self, chunk: bytes) -> Iterator[JobEvent]:
        """Yield the events that are complete by now."""
        self._failures = 0
        for message in self._parser.feed(chunk):
            if message.event == "end":
                self.ended = True
                return
            event = _event(message)
            if event is not None and event.seq > self._after:
                self._after = event.seq
                yield event

    def pause(self) -> float:
        """Return the seconds to wait before connecting again. TransientError: it failed too often in a row."""
        self._failures += 1
        if self._failures > self._retries:
            raise TransientError("unreachable", "The stream of events was lost, and Milpa can't be reached.")
        return back_off(self._failures)


def _event(message: Message) -> JobEvent | None:
    if message.event not in _TYPES:
        return None
    data: dict[str, Any] = msgspec.json.decode(message.data)
    return JobEvent(
        job_id=UUID(data["job_id"]),
        seq=data["seq"],
        type=EventType(message.event),
        data={field: value for field, value in data.items() if field not in _HEAD},
        at=msgspec.convert(data["at"], datetime),
    )
