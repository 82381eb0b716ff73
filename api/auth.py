"""Who is asking, and whether they may. Every route declares `requires=Permission…`; one guard holds all of it."""

import re
import time
from collections.abc import Mapping
from enum import StrEnum
from hashlib import sha256
from typing import Any
from uuid import UUID

import msgspec
import structlog
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from api.metrics import start_clock
from api.problem_details import ProblemError
from api.request_id import request_id
from api.services import services_of
from storage.rows import ApiKeyRow, Role

Connection = ASGIConnection[Any, Any, Any, Any]
KNOWN_SECONDS = 1.0
"""How long a key that was good is taken for good without asking again."""
_MOST_KNOWN = 10_000
_BEARER = re.compile(r"bearer +(mlp_\w{1,200})", re.IGNORECASE | re.ASCII)


class Permission(StrEnum):
    """What a route asks of its caller. `PUBLIC` asks nothing: there is no secret, or the address itself is signed."""

    PUBLIC = "public"
    READ = "read"
    SUBMIT = "submit"
    MANAGE = "manage"
    ADMINISTER = "administer"


GRANTS: Mapping[Role, frozenset[Permission]] = {
    Role.VIEWER: frozenset({Permission.READ}),
    Role.PLANNER: frozenset({Permission.READ, Permission.SUBMIT}),
    Role.MANAGER: frozenset({Permission.READ, Permission.SUBMIT, Permission.MANAGE}),
    Role.ADMIN: frozenset({Permission.READ, Permission.SUBMIT, Permission.MANAGE, Permission.ADMINISTER}),
}
"""What each role may do; from viewer to admin each includes the one before. Others may nothing here."""


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who is asking. subject: the API key's id. scopes: permissions that narrow the role; none narrow nothing."""

    tenant: UUID
    subject: str
    name: str
    role: Role
    scopes: frozenset[str] = frozenset()

    def may(self, permission: Permission) -> bool:
        """Tell whether the role, narrowed by the scopes, grants the permission."""
        granted = permission in GRANTS.get(self.role, frozenset())
        return granted and (not self.scopes or permission.value in self.scopes)


class KnownKeys:
    """Principals of keys that were good a moment ago, so that a burst of requests asks the database once."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[float, Principal]] = {}

    async def authenticate(self, connection: Connection, secret: str) -> Principal | None:
        """Return who holds this key, or None."""
        name = sha256(secret.encode()).digest()
        until, principal = self._known.get(name, (0.0, None))
        if principal is not None and time.monotonic() < until:
            return principal
        async with services_of(connection).database.fleet() as fleet:
            row = await fleet.tenants.authenticate(secret)
        if row is None:
            self._known.pop(name, None)
            return None
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        principal = _principal(row)
        self._known[name] = (time.monotonic() + KNOWN_SECONDS, principal)
        return principal


def _principal(row: ApiKeyRow) -> Principal:
    return Principal(
        tenant=row.tenant_id, subject=str(row.id), name=row.name, role=row.role, scopes=frozenset(row.scopes)
    )


async def authorize(connection: Connection, handler: BaseRouteHandler) -> None:
    """Let the request through, with its Principal as `request.user`, or refuse it: 401, 403."""
    start_clock(connection.scope)
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=request_id(connection.scope))
    if connection.scope.get("method") == "OPTIONS":  # which methods an address takes is no secret
        return
    requires: Permission = handler.opt["requires"]
    if requires is Permission.PUBLIC:
        return
    principal = await _authenticate(connection)
    if not principal.may(requires):
        raise ProblemError(403, "forbidden", f"This needs the permission '{requires}', which your key does not have.")
    connection.scope["user"] = principal


async def _authenticate(connection: Connection) -> Principal:
    bearer = _BEARER.fullmatch(connection.headers.get("authorization", ""))
    if bearer is not None:
        known: KnownKeys = connection.app.state.known_keys
        principal = await known.authenticate(connection, bearer[1])
        if principal is not None:
            return principal
    detail = "Say who is asking: Authorization: Bearer mlp_…, with a key that is good."
    raise ProblemError(401, "unauthorized", detail, headers={"WWW-Authenticate": 'Bearer realm="milpa"'})
