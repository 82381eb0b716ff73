"""Each request's way into the audit: in the transaction that writes, else by itself once it is answered."""

from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import UUID

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.types import Message, Scope

from api.operations import Operation
from api.origin import address_of
from api.principal import Principal
from api.request_id import request_id
from api.services import services_of
from milpa.errors import TransientError
from storage.audit_buffer import AuditBuffer
from storage.audit_rows import Actor, ActorKind, Trail
from storage.rows import Subject
from storage.transaction import Transaction

Connection = ASGIConnection[Any, Any, Any, Any]
_READS = frozenset({"GET", "HEAD"})
_FORBIDDEN = 403
_TRAIL, _BUFFER = "audit_trail", "audit_buffer"


def begin_trail(connection: Connection, handler: BaseRouteHandler, principal: Principal, *, allowed: bool) -> None:
    """Note who asks for what. TransientError: the audit can take nothing more for now, and this needs it.

    allowed: whether they may; what is refused is kept whatever it is.
    """
    actor = Actor(
        tenant_id=principal.tenant,
        kind=ActorKind(principal.kind),
        subject=principal.subject,
        role=principal.role,
        address=address_of(connection) or None,
        request_id=request_id(connection.scope),
    )
    targets = [str(id_) for id_ in connection.path_params.values() if isinstance(id_, UUID)]
    _begin(connection, handler, actor, targets, must=not allowed or _is_audited(connection.scope))


def begin_link_trail(connection: Connection, tenant: UUID, target: UUID) -> None:
    """Note that someone came by a signed link: whoever has it may."""
    address, id_ = address_of(connection) or None, request_id(connection.scope)
    actor = Actor(tenant_id=tenant, kind=ActorKind.LINK, subject="link", address=address, request_id=id_)
    _begin(connection, connection.scope["route_handler"], actor, [str(target)], must=True)


def _begin(connection: Connection, handler: BaseRouteHandler, actor: Actor, targets: list[str], *, must: bool) -> None:
    services = services_of(connection)
    if services.audit.full and must:  # and without a trail, so that this answer does not wait there too
        raise TransientError("audit_full", "Nothing can be written to the audit for now.")
    operation: Operation | None = handler.opt.get("operation")
    status = next(iter(operation.answers)) if operation else 0
    trail = Trail(actor, handler.name or handler.handler_name, status, targets)
    state: dict[str, Any] = connection.scope["state"]
    state[_TRAIL], state[_BUFFER] = trail, services.audit


def transaction_of(request: Connection) -> AbstractAsyncContextManager[Transaction]:
    """Open a transaction of whoever asks; what a request writes is kept in the audit with it."""
    trail = None if request.scope.get("method") in _READS else _trail_of(request)
    tenant: UUID = request.user.tenant
    return services_of(request).database.transaction(tenant, trail)


def note_made(request: Connection, id_: UUID) -> None:
    """Name what the request has made in its row of the audit; to be called inside its transaction."""
    _trail_of(request).targets.append(str(id_))


def note_person(request: Connection, subject: Subject) -> None:
    """Name a person in the request's row of the audit: by a keyed hash, for the audit outlives an erasure."""
    name = services_of(request).database.pseudonym(subject)
    _trail_of(request).targets.append(f"{subject.kind}:{name}")


def _trail_of(request: Connection) -> Trail:
    trail: Trail = request.scope["state"][_TRAIL]
    return trail


async def keep_trail(message: Message, scope: Scope) -> None:
    """As an answer's head goes out, send what no transaction holds to the audit: reads, and what was refused."""
    if message["type"] != "http.response.start":
        return
    trail: Trail | None = scope["state"].get(_TRAIL)
    if trail is not None and not trail.kept and (_is_audited(scope) or message["status"] == _FORBIDDEN):
        buffer: AuditBuffer = scope["state"][_BUFFER]
        buffer.put(trail.deed(message["status"]))


def _is_audited(scope: Scope) -> bool:
    """Tell whether every request of the route is kept: it writes, or it shows what may be personal data."""
    handler = scope.get("route_handler")
    operation = handler.opt.get("operation") if isinstance(handler, HTTPRouteHandler) else None
    return scope.get("method") not in _READS or bool(operation and operation.personal)
