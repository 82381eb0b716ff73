"""Sealing anew under the first key of the ring, row by row, while everything else goes on."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import Column, ColumnElement, Table, and_, bindparam, func, select, tuple_, update

from storage import tables
from storage.exports import export_context
from storage.privacy_tables import exports
from storage.schedules import schedule_context
from storage.session import Row, Session, payload_context
from storage.webhook_tables import webhook_secrets
from storage.webhooks import secret_context

BITE_ROWS = 100
BITE_BYTES = 8_000_000
"""What one transaction seals anew at most; one row may be larger."""


class _Place(NamedTuple):
    """Where something sealed is. context: what its seal is bound to, from the tenant and the row's key."""

    table: Table
    key: Sequence[Column[Any]]
    column: Column[Any]
    context: Callable[..., str]


_SECRETS, _SCHEDULES, _PAYLOADS = webhook_secrets.c, tables.schedules.c, tables.payloads.c
PLACES = (
    _Place(webhook_secrets, [_SECRETS.id], _SECRETS.secret, secret_context),
    _Place(tables.schedules, [_SCHEDULES.id], _SCHEDULES.jobs, schedule_context),
    _Place(exports, [exports.c.id], exports.c.subject, export_context),
    _Place(tables.payloads, [_PAYLOADS.job_id, _PAYLOADS.name], _PAYLOADS.data, payload_context),
)
"""Everything that is sealed."""


class Resealed(msgspec.Struct, frozen=True):
    """What a bite has done: how many rows, and where to go on; after None: nothing is left in this place."""

    rows: int
    after: tuple[Any, ...] | None


class Resealing:
    """One tenant's sealed rows."""

    def __init__(self, session: Session, tenant: UUID) -> None:
        self._session = session
        self._tenant = tenant

    async def left(self) -> int:
        """Return how many rows are sealed under another key than the first."""
        counts = [await self._count(place) for place in PLACES]
        return sum(counts)

    async def _count(self, place: _Place) -> int:
        rows = select(func.count().label("rows")).select_from(place.table).where(self._is_old(place))
        return int((await self._session.one(rows))["rows"])

    async def bite(self, place: _Place, after: tuple[Any, ...] | None = None) -> Resealed:
        """Seal anew the next rows of a place, in the order of their keys; after: where the bite before has ended."""
        old = select(*place.key, func.octet_length(place.column).label("bytes")).where(self._is_old(place))
        if after is not None:
            old = old.where(tuple_(*place.key) > after)
        chosen = _few(await self._session.all(old.order_by(*place.key).limit(BITE_ROWS)))
        if not chosen:
            return Resealed(0, None)
        keys = [tuple(row[column.name] for column in place.key) for row in chosen]
        return Resealed(await self._reseal(place, keys), keys[-1])

    async def _reseal(self, place: _Place, keys: list[tuple[Any, ...]]) -> int:
        """Rows that were erased meanwhile, or sealed anew by another, are left alone."""
        mine = select(*place.key, place.column).where(tuple_(*place.key).in_(keys), self._is_old(place))
        rows = await self._session.all(mine.with_for_update(key_share=True))
        sealed = await asyncio.to_thread(lambda: [self._sealed(place, row) for row in rows])
        this = and_(*(column == bindparam(f"key_{column.name}") for column in place.key))
        if sealed:
            change = update(place.table).where(this).values({place.column.name: bindparam("sealed")})
            await self._session.run_many(change, sealed)
        return len(sealed)

    def _sealed(self, place: _Place, row: Row) -> dict[str, Any]:
        key = {column.name: row[column.name] for column in place.key}
        context = place.context(self._tenant, *key.values())
        opened = self._session.seal.open(row[place.column.name], context)
        return {
            **{f"key_{name}": value for name, value in key.items()},
            "sealed": self._session.seal.seal(opened, context),
        }

    def _is_old(self, place: _Place) -> ColumnElement[bool]:
        mark = self._session.seal.mark
        return func.substring(place.column, 1, len(mark)) != mark


def _few(rows: Sequence[Row]) -> Sequence[Row]:
    """Return the first rows that are not too many bytes together, at least one."""
    total, few = 0, list[Row]()
    for row in rows:
        total += row["bytes"]
        if few and total > BITE_BYTES:
            break
        few.append(row)
    return few
