"""What a route says of itself beside its code: what it reads and answers. `openapi.json` is made of these."""

from enum import StrEnum
from typing import Any

import msgspec


class KindPart(StrEnum):
    """A JSON that each kind has its own type for."""

    PROBLEM = "problem"
    SOLUTION = "solution"


class Answer(msgspec.Struct, frozen=True):
    """One success. body: the type of the JSON, several of which it is one, or None where we do not describe it.

    or_media_type: what else the caller may ask for by Accept.
    """

    description: str
    body: Any = None
    media_type: str = "application/json"
    headers: tuple[str, ...] = ()
    or_media_type: str = ""


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """What one route reads and answers; the tag groups it.

    problems: statuses beside those that follow from the rest (401, 403, 500, 503 and 504; 404 with an id in the path;
    400, 413, 415 and 422 with a body; 422 with a query; 429 where limited). summary: the first line of the handler's
    docstring when left out. personal: shows what may be personal data, so that each reading is kept in the audit, as
    every write is. limited: whether it is counted against limits, and says so.
    """

    tag: str
    answers: dict[int, Answer]
    summary: str = ""
    personal: bool = False
    problems: tuple[int, ...] = ()
    query: type[msgspec.Struct] | None = None
    headers: tuple[str, ...] = ()
    body: Any = None
    limited: bool = False
