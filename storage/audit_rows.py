"""What the audit takes and gives: who asked for what, from where, and what became of it."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec


class ActorKind(StrEnum):
    """What showed who acts: a key, a token, a signed link; or nobody asked, and the house itself acts."""

    API_KEY = "api_key"
    JWT = "jwt"
    LINK = "link"
    SYSTEM = "system"


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Who acts for a tenant, and how to find the request in the logs.

    subject: a key's id, a token's `sub`, or the name of the part of the house. address: where the request came from.
    """

    tenant_id: UUID
    kind: ActorKind
    subject: str
    role: str | None = None
    address: str | None = None
    request_id: str | None = None


class NewAudit(msgspec.Struct, frozen=True, kw_only=True):
    """One deed for the audit. targets: ids of what it was done to. status: HTTP's; None: no request was answered.

    age_seconds: how long ago it was done.
    """

    actor: Actor
    action: str
    targets: Sequence[str] = ()
    status: int | None = None
    age_seconds: float = 0.0

    def columns(self) -> dict[str, Any]:
        """Return it as columns hold it, its age beside them."""
        return {
            **msgspec.structs.asdict(self.actor),
            "action": self.action,
            "targets": list(self.targets),
            "status": self.status,
            "age": self.age_seconds,
        }


class AuditRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the audit. at: when it was done, by the database's clock."""

    id: UUID
    at: datetime
    kind: ActorKind
    subject: str
    role: str | None
    action: str
    targets: list[str]
    address: str | None
    request_id: str | None
    status: int | None

    @property
    def created_at(self) -> datetime:
        """When it was done: what pages of lists go by."""
        return self.at


class AuditFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows to list; None does not filter. since, until: from the first on, and before the second."""

    subject: str | None = None
    action: str | None = None
    target: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class Trail:
    """One request on its way into the audit.

    status: what it is answered with when it succeeds. targets: ids of what it is about; what it makes is added. kept:
    whether a committed transaction holds its row.
    """

    def __init__(self, actor: Actor, action: str, status: int, targets: Sequence[str]) -> None:
        self.actor = actor
        self.action = action
        self.status = status
        self.targets = list(targets)
        self.kept = False

    @property
    def columns(self) -> dict[str, Any]:
        """Return it as columns hold it, for the statement that makes what it is about."""
        return {name: value for name, value in self.deed(self.status).columns().items() if name != "age"}

    def deed(self, status: int) -> NewAudit:
        """Return it as a row that says how it was answered."""
        return NewAudit(actor=self.actor, action=self.action, targets=self.targets, status=status)
