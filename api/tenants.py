"""Who I am."""

from uuid import UUID

import msgspec
from litestar import Response, get

from api.bodies import AnyRequest, answer
from api.operations import Answer, Operation
from api.principal import Permission, PrincipalKind
from api.quotas import Quota, quotas_of
from api.services import settings_for
from storage.rows import Role


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one request may be.

    In bytes: bodies, unpacked, and tables; in seconds: time limits of a solve; in levels and characters: JSON.
    """

    body_bytes: int
    upload_bytes: int
    time_limit_seconds: float
    json_depth: int
    number_length: int


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """Who is asking, what they may do here, and the limits that hold.

    subject: the id of the API key, or the `sub` of the JWT. quotas: those without a limit are not listed.
    """

    tenant_id: UUID
    kind: PrincipalKind
    subject: str
    name: str
    role: Role
    permissions: list[Permission]
    limits: Limits
    quotas: list[Quota]


@get(
    "/v1/me",
    requires=Permission.KNOWN,
    operation=Operation(tag="Service", answers={200: Answer("You.", Me)}),
)
async def show_me(request: AnyRequest) -> Response[bytes]:
    """Tell who is asking, and what they may do."""
    principal = request.user
    settings = settings_for(request)
    limits = Limits(
        body_bytes=settings.max_body_bytes,
        upload_bytes=settings.max_upload_bytes,
        time_limit_seconds=settings.max_time_limit_seconds,
        json_depth=settings.max_json_depth,
        number_length=settings.max_number_length,
    )
    me = Me(
        tenant_id=principal.tenant,
        kind=principal.kind,
        subject=principal.subject,
        name=principal.name,
        role=principal.role,
        permissions=sorted(principal.permissions - {Permission.KNOWN}),
        limits=limits,
        quotas=await quotas_of(request),
    )
    return answer(me)


ROUTES = [show_me]
