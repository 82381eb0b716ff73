"""Addresses that callers want to be told at: refused here where it can be seen, and again when connecting."""

from typing import Annotated

import msgspec

from milpa.settings import Settings
from milpa.web_addresses import MAX_LENGTH, wrong_with
from solvers.issues import Issue

WebAddress = Annotated[
    str, msgspec.Meta(max_length=MAX_LENGTH, pattern=r"^https?://[^\s\x00]+$", description="An http or https URL.")
]


def address_issues(url: str | None, settings: Settings, at: str = "/webhook_url") -> list[Issue]:
    """Return what is wrong with the address, at most one issue; None is no address."""
    ports, private = settings.webhook_ports, settings.webhook_private_targets
    wrong = url and wrong_with(url, ports, private_targets=private)
    return [Issue(code="bad_address", pointer=at, message=wrong)] if wrong else []
