"""Structured logs: one line per fact, with the job and the request it belongs to, and nothing of the caller's data.

What may be shown is listed; all other text is masked. An exception is told by its types and places, never by its text,
and a library's line by where it was written, and what stands before the first value where values are put in by the
logger: all else may quote anything.
"""

import logging
import re
import sys
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any, TextIO
from uuid import UUID

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

MASK = "***"

SHOWN = frozenset({
    "event", "level", "at", "logger",
    "request_id", "job", "delivery", "schedule", "export", "worker", "process", "queue", "route", "step",
    "code", "reason", "error", "where", "answer", "blame", "state",
})  # fmt: skip
"""Keys whose text is ours: names from the code, ids, and the sentences of errors that nobody's data can be in."""

_FIRST_VALUE = re.compile(r"%|\n")


def configure(level: str = "info", *, json: bool = True, to: TextIO | None = None) -> None:
    """Send structlog, the standard library's loggers and uncaught errors to stderr or `to`, as JSON or for people."""
    stream = to or sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        tell_error,
        mask,
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer(colors=stream.isatty())
    )
    number = logging.getLevelName(level.upper())
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_foreign, *shared],
            pass_foreign_args=True,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(number, logging.WARNING), force=True)
    sys.excepthook = _log_uncaught


def bind_job(job_id: UUID, **more: object) -> None:
    """Put the job's id on every further log line of this task."""
    structlog.contextvars.bind_contextvars(job=str(job_id), **more)


def told(error: BaseException) -> dict[str, list[str]]:
    """Return what may be said of an exception: its types and its places, those of its causes included."""
    links = list(_chain(error))
    return {
        "error": [type(link).__qualname__ for link in links],
        "where": [
            f"{frame.filename}:{frame.lineno} {frame.name}"
            for link in links
            for frame in traceback.extract_tb(link.__traceback__)
        ],
    }


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        error = error.__cause__ or error.__context__


def tell_error(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Put types and places of an exception in place of the exception."""
    found = event.pop("exc_info", None)
    if found is True:
        found = sys.exc_info()
    error = found[1] if isinstance(found, tuple) else found
    return {**event, **told(error)} if isinstance(error, BaseException) else event


def mask(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Mask all text but that of the keys which may be shown."""
    return {key: value if key in SHOWN or _is_plain(value) else MASK for key, value in event.items()}


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | UUID | logging.LogRecord)


def _foreign(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    record: logging.LogRecord = event["_record"]
    said = _FIRST_VALUE.split(str(record.msg))[0].strip() if event.get("positional_args") else MASK
    where = [f"{record.pathname}:{record.lineno} {record.funcName}"]
    kept: dict[str, Any] = {"event": said, "logger": record.name, "where": where, "exc_info": event.get("exc_info")}
    return {**kept, "_record": record, "_from_structlog": False}


def _log_uncaught(type_: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(type_, KeyboardInterrupt):
        sys.__excepthook__(type_, error, trace)
    else:
        structlog.get_logger().critical("uncaught", **told(error))
