"""Who is asking, and whether they may. Every route declares `requires=Permission…`; one guard holds all of it.

A key is looked for in the database at each request, so that one revoked anywhere is refused everywhere from then on.
"""

import re
from typing import Any
from uuid import UUID

import structlog
from litestar import Litestar
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.routes import HTTPRoute

from api.metrics import start_clock
from api.principal import Permission, Principal, PrincipalKind, granted
from api.problem_details import ProblemError
from api.request_id import request_id
from api.services import services_of
from api.tokens import Tokens
from api.trails import begin_trail
from milpa.errors import FatalError, TransientError
from storage.transaction import Database

Connection = ASGIConnection[Any, Any, Any, Any]
_BEARER = re.compile(r"bearer +([\w.~+/=-]{1,8192})", re.IGNORECASE | re.ASCII)
_KEY_PREFIX = "mlp_"


def declared_routes(app: Litestar) -> list[tuple[str, str, Permission]]:
    """Return method, path and permission of every route. FatalError (`undeclared_route`): one declares none."""
    found: list[tuple[str, str, Permission]] = []
    for route in app.routes:
        for handler in route.route_handlers if isinstance(route, HTTPRoute) else [route.route_handler]:
            methods = handler.http_methods if isinstance(handler, HTTPRouteHandler) else {"ANY"}
            requires = handler.opt.get("requires")
            if methods == {"OPTIONS"}:  # Litestar's own, of every address
                continue
            if not isinstance(requires, Permission):
                raise FatalError("undeclared_route", f"The route {route.path} declares no permission.")
            found += [(str(method), route.path_format, requires) for method in methods]
    return sorted(found)


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
    principal = await identify(connection)
    if principal is None:
        detail = "Say who is asking: Authorization: Bearer …, with an API key or a token that is good."
        raise ProblemError(401, "unauthorized", detail, headers={"WWW-Authenticate": 'Bearer realm="milpa"'})
    allowed = requires in principal.permissions
    begin_trail(connection, handler, principal, allowed=allowed)
    if not allowed:
        raise ProblemError(403, "forbidden", f"This needs the permission '{requires}', which you do not have.")
    connection.scope["user"] = principal
    connection.scope["state"]["settings"] = await services_of(connection).tenant_settings.of(principal.tenant)


async def identify(connection: Connection) -> Principal | None:
    """Return who is asking, or None: nobody we know."""
    bearer = _BEARER.fullmatch(connection.headers.get("authorization", ""))
    if bearer is None:
        return None
    database = services_of(connection).database
    if bearer[1].startswith(_KEY_PREFIX):
        return await _holder_of_key(database, bearer[1])
    return await _holder_of_token(database, connection.app.state.tokens, bearer[1])


async def still_known(connection: Connection) -> bool:
    """Tell whether whoever opened this stream may still hear it. While that can't be told, it goes on."""
    try:
        return await identify(connection) is not None
    except TransientError:
        return True


async def _holder_of_key(database: Database, secret: str) -> Principal | None:
    async with database.lookups() as tenants:
        row = await tenants.authenticate(secret)
    if row is None:
        return None
    return Principal(
        tenant=row.tenant_id,
        kind=PrincipalKind.API_KEY,
        subject=str(row.id),
        name=row.name,
        role=row.role,
        permissions=granted(row.role, row.scopes),
        expires_at=row.expires_at,
    )


async def _holder_of_token(database: Database, tokens: Tokens, token: str) -> Principal | None:
    claims = await tokens.read(token)
    if claims is None:
        return None
    async with database.lookups() as tenants:
        tenant = await tenants.get(_id_or_name(claims.tenant))
    if tenant is None:
        return None
    return Principal(
        tenant=tenant.id,
        kind=PrincipalKind.JWT,
        subject=claims.sub,
        name=claims.sub,
        role=claims.role,
        permissions=granted(claims.role),
    )


def _id_or_name(tenant: str) -> UUID | str:
    try:
        return UUID(tenant)
    except ValueError:
        return tenant
