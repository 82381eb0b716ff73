"""Bytes or plain values in, a typed problem or every issue out."""

from typing import Any, Generic, TypeVar

import msgspec

from milpa.errors import UsageError
from solvers.issues import Issue

T = TypeVar("T")

MAX_DEPTH = 64
MAX_ISSUES = 1000


class MalformedJSON(UsageError):  # noqa: N818 (the name that the API's problem type bears)
    """The bytes are not JSON at all; the message says where, by line and column as far as known."""

    def __init__(self, message: str) -> None:
        super().__init__("malformed_json", message)


class Decoded(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A value, or what is wrong with it: `value` is None as soon as there is one issue.

    issues: the first ones in document order, pointers from the document's root. total: how many there are in all.
    """

    value: T | None
    issues: list[Issue] = []
    total: int = 0


def decode(data: bytes, type_: type[T], *, max_depth: int = MAX_DEPTH, max_issues: int = MAX_ISSUES) -> Decoded[T]:
    """Decode JSON to `type_`, strictly, or list all that keeps it from being one."""
    try:
        return Decoded(value=msgspec.json.decode(data, type=type_))
    except msgspec.ValidationError as error:
        return Decoded(value=None, issues=[Issue(code="wrong_type", pointer="", message=str(error))], total=1)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedJSON(str(error)) from None


def convert(value: Any, type_: type[T], *, max_issues: int = MAX_ISSUES) -> Decoded[T]:
    """Turn plain values (after merging rows or a patch) into `type_`, as `decode` does."""
    try:
        return Decoded(value=msgspec.convert(value, type_, str_keys=True))
    except msgspec.ValidationError as error:
        return Decoded(value=None, issues=[Issue(code="wrong_type", pointer="", message=str(error))], total=1)
