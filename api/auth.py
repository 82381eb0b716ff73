"""Who is asking, and whether they may. Every route declares `requires=Permission…`; one guard holds all of it."""

import re
import time
from hashlib import sha256
from typing import Any

import structlog
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from api.metrics import start_clock
from api.principal import Permission, Principal, PrincipalKind
from api.problem_details import ProblemError
from api.request_id import request_id
from api.services import services_of
from api.trails import begin_trail
from storage.rows import ApiKeyRow

Connection = ASGIConnection[Any, Any, Any, Any]
KNOWN_SECONDS = 1.0
"""How long a key that was good is taken for good without asking again."""
_MOST_KNOWN = 10_000
_BEARER = re.compile(r"bearer +(mlp_\w{1,200})", re.IGNORECASE | re.ASCII)


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
        tenant=row.tenant_id,
        kind=PrincipalKind.API_KEY,
        subject=str(row.id),
        name=row.name,
        role=row.role,
        scopes=frozenset(row.scopes),
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
    begin_trail(connection, handler, principal)
    if requires not in principal.permissions:
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
