"""What the routes of webhooks read and find."""

from typing import Any

import msgspec

from api.bodies import AnyRequest, decode_body, off_loop, read_json
from api.kinds import unknown_kind
from api.problem_details import invalid, not_found
from api.services import settings_for
from api.web_addresses import address_issues
from milpa.settings import Settings
from solvers.decode import Decoded
from solvers.issues import Issue, pointer
from solvers.registry import all_kinds


class _Loose(msgspec.Struct, frozen=True):
    """The parts of a webhook that have rules of their own, whatever is wrong with the types of the others."""

    url: Any = None
    kinds: Any = None


async def read_webhook(request: AnyRequest, type_: Any) -> Any:
    """Read a webhook, or changes to one: 422 with every issue, an address that nothing is sent to among them."""
    body, settings = await read_json(request), settings_for(request)
    return await off_loop(len(body), lambda: _read(body, type_, settings))


def _read(body: bytes, type_: Any, settings: Settings) -> Any:
    decoded: Decoded[Any] = decode_body(body, type_, settings)
    loose = decode_body(body, _Loose, settings).value or _Loose()
    further = _issues(loose, {issue.pointer for issue in decoded.issues}, settings)
    if decoded.issues or further:
        raise invalid([*decoded.issues, *further], decoded.total + len(further))
    return decoded.value


def _issues(said: _Loose, refused: set[str], settings: Settings) -> list[Issue]:
    """Return what is wrong beyond the types, which have refused what is at these pointers."""
    at_all = isinstance(said.url, str) and "/url" not in refused
    issues = address_issues(said.url, settings, "/url") if at_all else []
    kinds = said.kinds if isinstance(said.kinds, list) and "/kinds" not in refused else []
    for index, kind in enumerate(kinds):
        if isinstance(kind, str) and kind not in all_kinds():
            issues.append(Issue(code="unknown_kind", pointer=pointer("kinds", index), message=unknown_kind(kind)))
    return issues


def found_or_404(found: Any, what: str = "webhook") -> Any:
    """Return what was found; nothing is 404."""
    if found is None:
        raise not_found(what)
    return found
