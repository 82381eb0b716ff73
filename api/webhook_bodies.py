"""What the routes of webhooks read and find."""

from typing import Any

from msgspec import UNSET

from api.bodies import AnyRequest, decode_asked, read_json
from api.kinds import unknown_kind
from api.problem_details import invalid, not_found
from api.services import settings_for
from api.web_addresses import address_issues
from milpa.settings import Settings
from solvers.issues import Issue, pointer
from solvers.registry import all_kinds


async def read_asked(request: AnyRequest, type_: Any) -> Any:
    """Read a body; 422 with every issue, an address that nothing is sent to and a kind that there is not among them."""
    settings = settings_for(request)
    asked = await decode_asked(await read_json(request), type_, settings)
    issues = _issues(asked, settings)
    if issues:
        raise invalid(issues)
    return asked


def _issues(asked: Any, settings: Settings) -> list[Issue]:
    """Return what is wrong beyond the types: an address that nothing is sent to, a kind that there is not."""
    url, kinds = getattr(asked, "url", UNSET), getattr(asked, "kinds", UNSET)
    issues = [] if url is UNSET else address_issues(url, settings, "/url")
    for index, kind in enumerate([] if kinds is UNSET else kinds):
        if kind not in all_kinds():
            issues.append(Issue(code="unknown_kind", pointer=pointer("kinds", index), message=unknown_kind(kind)))
    return issues


def found_or_404(found: Any, what: str = "webhook") -> Any:
    """Return what was found; nothing is 404."""
    if found is None:
        raise not_found(what)
    return found
