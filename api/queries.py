"""Query parameters and request headers as types: every mistake at once, as 422 with `/query/<name>` pointers."""

import re
from contextlib import suppress
from functools import cache
from typing import Annotated, Any, TypeVar, get_args, get_origin
from urllib.parse import parse_qsl

import msgspec

from api.bodies import AnyRequest
from api.problem_details import ProblemError, invalid
from api.times import beyond_utc
from solvers.issues import Issue, pointer
from solvers.type_issues import find_issues


def described(text: str) -> msgspec.Meta:
    """Return what a parameter's type says of itself in the API's description."""
    return msgspec.Meta(description=text)


Q = TypeVar("Q", bound=msgspec.Struct)
MAX_WAIT_SECONDS = 30.0
_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,9})\"?\s*(?:$|[,;])", re.IGNORECASE)
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@cache
def _fields(type_: type[msgspec.Struct]) -> dict[str, Any]:
    return {field.encode_name: field.type for field in msgspec.structs.fields(type_)}


def read_query(request: AnyRequest, type_: type[Q]) -> Q:
    """Read the query string as `type_`. Tuples take commas and repeats; an unknown parameter is an issue too."""
    given: dict[str, list[str]] = {}
    for name, text in parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True):
        given.setdefault(name, []).append(text)
    fields = _fields(type_)
    values: dict[str, Any] = {}
    issues: list[Issue] = []
    for name, texts in given.items():
        try:
            values[name] = _convert(texts, fields[name])
        except KeyError:
            issues.append(_issue("unknown_field", name, f"There is no parameter {name!r} here."))
        except msgspec.ValidationError as error:
            issues.append(_issue("bad_value", name, _in_words(name, texts, type_) or str(error)))
    if issues:
        raise invalid(issues)
    return msgspec.convert(values, type_)


def _convert(texts: list[str], type_: Any) -> Any:
    if any("\x00" in text for text in texts):
        raise msgspec.ValidationError("The character NUL is not allowed")
    if _is_tuple(type_):
        return msgspec.convert([part for text in texts for part in text.split(",")], type_, strict=False)
    if len(texts) > 1:
        raise msgspec.ValidationError("Given more than once")
    value = msgspec.convert(texts[0], type_, strict=False)
    if beyond_utc(value):
        raise msgspec.ValidationError("Before the first or after the last time that there is in UTC")
    return value


def _in_words(name: str, texts: list[str], type_: type[msgspec.Struct]) -> str:
    """Return what is wrong with a parameter as it would be said of a field of a body; "" where its type is content."""
    given: Any = texts if _is_tuple(_fields(type_)[name]) else texts[0]
    with suppress(msgspec.DecodeError):
        number = msgspec.json.decode(texts[0])
        given = number if type(number) in {int, float} and given == texts[0] else given
    issues, _ = find_issues({name: given}, type_, max_issues=len(_fields(type_)) + len(texts), ordinary=False)
    return next((issue.message for issue in issues if f"{issue.pointer}/".startswith(f"{pointer(name)}/")), "")


def _is_tuple(type_: Any) -> bool:
    bare = get_args(type_)[0] if get_origin(type_) is Annotated else type_
    return get_origin(bare) is tuple


def bad_parameter(name: str, message: str, code: str = "bad_value") -> ProblemError:
    """Return a 422 for one query parameter."""
    return invalid([_issue(code, name, message)])


def _issue(code: str, name: str, message: str) -> Issue:
    return Issue(code=code, pointer=pointer("query", name), message=message)


def listed(request: AnyRequest, header: str) -> str:
    """Return a header that is a list, all of its lines as one (RFC 9110, 5.3); empty when there is none."""
    return ", ".join(request.headers.getall(header, []))


def preferred_wait(request: AnyRequest) -> float | None:
    """Return the seconds of `Prefer: wait=…` (RFC 7240), 30 at most; None when the caller would not wait."""
    found = _WAIT.search(listed(request, "prefer"))
    return min(float(found[1]), MAX_WAIT_SECONDS) if found else None


def idempotency_key(request: AnyRequest) -> str | None:
    """Return the Idempotency-Key: 1 to 255 visible ASCII characters, or 422."""
    key: str | None = request.headers.get("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        message = "Idempotency-Key is 1 to 255 visible ASCII characters."
        raise invalid([Issue(code="bad_value", pointer="/headers/Idempotency-Key", message=message)])
    return key
