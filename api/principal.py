"""Who asks, what each role may do, and what a route may ask of its caller."""

from collections.abc import Collection, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Literal
from uuid import UUID

import msgspec

from storage.rows import Role


class Permission(StrEnum):
    """What a route asks of its caller. `PUBLIC` asks nothing: there is no secret, or the address itself is signed.

    `KNOWN` asks only for someone we know.
    """

    PUBLIC = "public"
    KNOWN = "known"
    READ = "read"
    SUBMIT = "submit"
    MANAGE = "manage"
    ADMINISTER = "administer"


_KNOWN = frozenset({Permission.KNOWN})
_VIEWER = _KNOWN | {Permission.READ}
_PLANNER = _VIEWER | {Permission.SUBMIT}
_MANAGER = _PLANNER | {Permission.MANAGE}

GRANTS: Mapping[Role, frozenset[Permission]] = {
    Role.VIEWER: _VIEWER,
    Role.PLANNER: _PLANNER,
    Role.MANAGER: _MANAGER,
    Role.ADMIN: _MANAGER | {Permission.ADMINISTER},
    Role.TEACHER: _KNOWN,
    Role.STUDENT: _KNOWN,
}
"""What each role may do; from viewer to admin each includes the one before."""

Scope = Literal["read", "submit", "manage", "administer"]
"""A permission that an API key may be narrowed to."""


class PrincipalKind(StrEnum):
    """What showed who is asking."""

    API_KEY = "api_key"
    JWT = "jwt"


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who is asking. subject: the API key's id or the JWT's `sub`, the same at each request of one person or program.

    name: for people. permissions: what the role, narrowed by a key's scopes, grants. expires_at: the end of an API key.
    """

    tenant: UUID
    kind: PrincipalKind
    subject: str
    name: str
    role: Role
    permissions: frozenset[Permission]
    expires_at: datetime | None = None


def granted(role: Role, scopes: Collection[str] = ()) -> frozenset[Permission]:
    """Return what a role may do, narrowed by scopes; none narrow nothing."""
    return GRANTS[role] & (_KNOWN | frozenset(scopes)) if scopes else GRANTS[role]
