"""Going through all rows of a tenant, in order, a piece at a time, as they may leave the house: without secrets."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Column, Select, Table, select, tuple_

from storage import tables
from storage.audit_tables import audit_log
from storage.privacy_tables import exports
from storage.session import Session
from storage.webhook_tables import webhook_attempts, webhook_deliveries, webhook_endpoints

PIECE = 500

LISTED: Mapping[str, Table] = {
    "batches": tables.batches,
    "schedules": tables.schedules,
    "schedule_runs": tables.schedule_runs,
    "webhooks": webhook_endpoints,
    "webhook_deliveries": webhook_deliveries,
    "webhook_attempts": webhook_attempts,
    "api_keys": tables.api_keys,
    "audit": audit_log,
    "exports": exports,
}
"""What an export lists beside jobs and their parts: the name of the list, and where it comes from."""

HELD_BACK = frozenset({"tenant_id", "key_hash", "secret", "input_hash", "object_key", "written_by"})
"""Columns that are secrets, or say how things are kept."""


class Everything:
    """One tenant's rows for an export."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def rows(self, table: Table, after: Sequence[Any] | None = None) -> Sequence[Mapping[str, Any]]:
        """Return the next rows of a table in the order of its key; after: the key of the last one."""
        return [dict(row) for row in await self._session.all(_next(table, after))]


def key_of(table: Table, row: Mapping[str, Any]) -> Sequence[Any]:
    """Return what the next piece comes after."""
    return [row[column.name] for column in _key(table)]


def shown(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a row as it may leave the house; what is bytes stays."""
    return {name: value for name, value in row.items() if name not in HELD_BACK and not isinstance(value, bytes)}


def _key(table: Table) -> Sequence[Column[Any]]:
    return [column for column in table.primary_key.columns if column.name != "tenant_id"]


def _next(table: Table, after: Sequence[Any] | None) -> Select[Any]:
    key = _key(table)
    rows = select(table).order_by(*key).limit(PIECE)
    return rows if after is None else rows.where(tuple_(*key) > tuple(after))
