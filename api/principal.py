"""Who asks, what each role may do, and what a route may ask of its caller."""

from collections.abc import Mapping
from enum import StrEnum
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

SCOPES = GRANTS[Role.ADMIN] - _KNOWN
"""Permissions that a key may be narrowed to."""


class PrincipalKind(StrEnum):
    """What showed who is asking."""

    API_KEY = "api_key"
    JWT = "jwt"


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who is asking. subject: an API key's id, or the `sub` of a JWT; the same for each of its requests.

    name: for people; it says nothing of who may do what. scopes: permissions that narrow the role; none narrow nothing.
    """

    tenant: UUID
    kind: PrincipalKind
    subject: str
    name: str
    role: Role
    scopes: frozenset[str] = frozenset()

    @property
    def permissions(self) -> frozenset[Permission]:
        """What the role, narrowed by the scopes, grants."""
        granted = GRANTS[self.role]
        return granted & (_KNOWN | self.scopes) if self.scopes else granted
