"""Calls about API keys: who may ask for what, and until when."""

from collections.abc import Sequence
from datetime import datetime
from typing import TypeAlias
from urllib.parse import quote
from uuid import UUID

import msgspec

from milpa.client.answers import ApiKey
from milpa.client.exchange import Call, Request, send
from milpa.client.paging import pages

ApiKeyRef: TypeAlias = ApiKey | UUID | str


def create_api_key(
    name: str, role: str, *, scopes: Sequence[str] = (), expires_at: datetime | None = None
) -> Call[ApiKey]:
    """Make a key; its `secret` is in this answer only.

    role: "viewer", "planner", "manager", "admin", "teacher" or "student". scopes: of "read", "submit", "manage" and
    "administer" those that the key is narrowed to; none narrow nothing. Not sent again when the answer is lost: look at
    the list.
    """
    body = {"name": name, "role": role, "scopes": list(scopes), "expires_at": expires_at}
    headers = {"Content-Type": "application/json"}
    request = Request(
        method="POST", path="/v1/api-keys", headers=headers, body=msgspec.json.encode(body), repeatable=False
    )
    return (yield from send(request)).read(ApiKey)


def api_keys(limit: int = 50) -> Call[list[ApiKey]]:
    """Return the newest keys, at most `limit`, those that have ended included."""
    return (yield from pages("/v1/api-keys", limit, ApiKey))


def revoke_api_key(key: ApiKeyRef) -> Call[None]:
    """End the key at once, for good. RefusedError (409): it is the last one that may make keys."""
    key_id = str(key.id) if isinstance(key, ApiKey) else quote(str(key), safe="")
    yield from send(Request(method="DELETE", path=f"/v1/api-keys/{key_id}"))
