"""Server-sent events without a network: parsing, and resuming where a lost stream ended."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Generic, TypeVar
from urllib.parse import quote
from uuid import UUID

import msgspec

from milpa.client.answers import BatchProgress
from milpa.client.calls import JobRef, job_id
from milpa.client.exchange import Answer, Request, back_off, good, may_repeat
from milpa.errors import TransientError
from milpa.jobs import EventType, JobEvent

T = TypeVar("T")

SILENCE_SECONDS = 45.0
"""A stream that is silent for longer is lost: the server sends a comment every 15 s."""
_TYPES = frozenset(type_.value for type_ in EventType)
_COUNTS = frozenset({"progress", "finished"})
_HEAD = frozenset({"job_id", "seq", "at", "type"})


class Message(msgspec.Struct, frozen=True):
    """One message of an event stream."""

    event: str
    data: str


class Parser:
    """Makes messages of bytes as they come, cut anywhere (WHATWG HTML, server-sent events).

    last_id: of the newest message that was complete, or what was given: where a lost stream is to be resumed.
    """

    def __init__(self, last_id: str = "") -> None:
        self.last_id = last_id
        self._rest = b""
        self._id = last_id
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
            self.last_id, self._event, self._data = self._id, "", []
            return message
        field, _, value = line.partition(":")
        if field == "event":
            self._event = value.removeprefix(" ")
        elif field == "data":
            self._data.append(value.removeprefix(" "))
        elif field == "id":
            self._id = value.removeprefix(" ")
        return None


class Follower(Generic[T]):
    """Follows one stream to its end over as many connections as it takes; each message is told once, in order."""

    def __init__(self, path: str, retries: int, *, last_id: str = "", query: Mapping[str, str] | None = None) -> None:
        self._path = path
        self._query = query or {}
        self._retries = retries
        self._failures = 0
        self._parser = Parser(last_id)
        self.ended = False

    def read(self, message: Message) -> T | None:
        """Return what a message tells; None: nothing new."""
        raise NotImplementedError

    def request(self) -> Request:
        """Return the request that opens the stream after the last message told."""
        self._parser = Parser(self._parser.last_id)
        headers = {"Accept": "text/event-stream"}
        if self._parser.last_id:
            headers["Last-Event-ID"] = self._parser.last_id
        return Request(method="GET", path=self._path, query=self._query, headers=headers)

    def refused(self, answer: Answer) -> None:
        """Take an answer that is no stream: raise what it means, unless trying again may help."""
        if not may_repeat(answer, repeatable=True):
            good(answer)

    def feed(self, chunk: bytes) -> Iterator[T]:
        """Yield what is told by now."""
        self._failures = 0
        for message in self._parser.feed(chunk):
            if message.event == "end":
                self.ended = True
                return
            told = self.read(message)
            if told is not None:
                yield told

    def pause(self) -> float:
        """Return the seconds to wait before connecting again. TransientError: it failed too often in a row."""
        self._failures += 1
        if self._failures > self._retries:
            raise TransientError("unreachable", "The stream of events was lost, and Milpa can't be reached.")
        return back_off(self._failures)


class JobFollower(Follower[JobEvent]):
    """Follows one job's log behind the seq `after`."""

    def __init__(self, job: JobRef, after: int, retries: int) -> None:
        super().__init__(f"/v1/jobs/{job_id(job)}/events", retries, last_id=str(after or ""))
        self._after = after

    def read(self, message: Message) -> JobEvent | None:
        """Return the next event of the log."""
        event = _event(message)
        if event is None or event.seq <= self._after:
            return None
        self._after = event.seq
        return event


class TenantFollower(Follower[JobEvent]):
    """Follows the state changes of all jobs, or of those of a kind, from now on."""

    def __init__(self, kind: str | None, retries: int) -> None:
        super().__init__("/v1/events", retries, query={} if kind is None else {"kind": kind})

    def read(self, message: Message) -> JobEvent | None:
        """Return the next change of any job; `data["kind"]` is the job's."""
        return _event(message)


class BatchFollower(Follower[BatchProgress]):
    """Follows the counts of a batch until all its jobs have ended."""

    def __init__(self, batch_id: UUID | str, retries: int) -> None:
        super().__init__(f"/v1/batches/{quote(str(batch_id), safe='')}/events", retries)
        self._told: BatchProgress | None = None

    def read(self, message: Message) -> BatchProgress | None:
        """Return the counts when they have changed: a stream that is opened again begins with those of now."""
        if message.event not in _COUNTS:
            return None
        counts = msgspec.json.decode(message.data, type=BatchProgress)
        told, self._told = self._told, counts
        return counts if counts != told else None


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
