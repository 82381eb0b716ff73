"""The words between a worker and its child process: length-prefixed msgpack frames over a socket, bytes inside.

The worker sends an `Order`; the child answers with any number of `Progressed` and one `Solved`, `Rendered` or `Failed`.
`Ready` comes once, when the child has done its imports. Stops travel on a pipe of their own, as the number of the order
they mean, so that a late stop never meets the next order.
"""

import struct
from collections.abc import Callable
from enum import StrEnum

import msgspec

from milpa.issues import Issue
from milpa.jobs import FileFormat, JobProgress, LimitReached

LENGTH = struct.Struct("<I")
"""How a frame begins: the number of bytes that follow."""

STOP = struct.Struct("<I")
"""What the control pipe carries: the number of the order to stop."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How long and how hard to solve. seconds: wall time. relative_gap: a fraction of the objective."""

    seconds: float
    relative_gap: float = 1e-4
    threads: int = 1
    seed: int = 0


class Solve(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Solve a problem (JSON) and make its files. warm_start: the result payload of a similar job."""

    kind: str
    problem: bytes
    limits: Limits
    formats: list[FileFormat] = []
    title: str = ""
    warm_start: bytes | None = None


class Render(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Make files of an ended job from its problem and its result payload. limit: why its solve ended early."""

    kind: str
    problem: bytes
    result: bytes
    limit: LimitReached | None = None
    formats: list[FileFormat] = []
    title: str = ""


Task = Solve | Render


class Order(msgspec.Struct, frozen=True):
    """A task and its number, which counts up through the life of a child."""

    number: int
    task: Task


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The child has imported what it needs."""


class Progressed(msgspec.Struct, frozen=True, tag=True):
    """The newest progress of the running task."""

    progress: JobProgress


class File(msgspec.Struct, frozen=True):
    """A file made from a report."""

    name: str
    format: FileFormat
    media_type: str
    data: bytes


class Solved(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The outcome of a solve and what to keep of it. result, report: JSON payloads. solve_seconds: wall time."""

    outcome: str
    limit: LimitReached | None = None
    objective: float | None = None
    bound: float | None = None
    gap: float | None = None
    verified: bool | None = None
    warnings: list[Issue] = []
    solve_seconds: float | None = None
    result: bytes | None = None
    report: bytes | None = None
    files: list[File] = []


class Rendered(msgspec.Struct, frozen=True, tag=True):
    """The files that were asked for."""

    files: list[File]


class Blame(StrEnum):
    """Who is to blame for a failure; it decides what happens to the job next."""

    USAGE = "usage"
    TRANSIENT = "transient"
    FATAL = "fatal"
    CRASH = "crash"


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Why there is no answer. message: for people. detail: for the operator's log, free of the caller's data."""

    blame: Blame
    code: str
    message: str
    detail: str = ""


Answer = Solved | Rendered | Failed
FromChild = Ready | Progressed | Solved | Rendered | Failed

_encoder = msgspec.msgpack.Encoder()
decode_order: Callable[[bytes], Order] = msgspec.msgpack.Decoder(Order).decode
decode_from_child: Callable[[bytes], FromChild] = msgspec.msgpack.Decoder(FromChild).decode


def frame(message: Order | FromChild) -> bytearray:
    """Return the message as one frame, ready to send."""
    buffer = bytearray(LENGTH.size)
    _encoder.encode_into(message, buffer, LENGTH.size)
    LENGTH.pack_into(buffer, 0, len(buffer) - LENGTH.size)
    return buffer
