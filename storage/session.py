"""One open transaction as the stores see it: its connection, its keys, and what to tell after the commit."""

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar, cast
from uuid import UUID

import msgspec
from asyncpg import Connection, InterfaceError, InternalClientError, PostgresError
from sqlalchemy import TextClause
from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import Executable

from milpa.settings import Settings
from storage.audit_rows import Trail
from storage.outage import told_apart
from storage.rows import JobRow, PayloadName, Ring
from storage.seal import Seal

T = TypeVar("T")
Row = Mapping[str, Any]
"""One row of an answer by its columns."""

_UNDO_SECONDS = 2.0
_DIALECT = dialect()  # type: ignore[no-untyped-call]

_JSON_COLUMNS = frozenset({"options", "warnings", "error", "progress", "data", "limits"})


class Outbox:
    """What to tell once the transaction is committed; a rolled back one tells nothing."""

    def __init__(self) -> None:
        self.events: dict[tuple[UUID, UUID], int] = {}
        self.closed: set[tuple[UUID, UUID]] = set()
        self.controls: set[UUID] = set()
        self.waiting = False
        self.rings: list[Ring] = []
        self.deliveries = False

    def event(self, tenant_id: UUID, job_id: UUID, seq: int) -> None:
        """Note that the job's log has grown up to seq."""
        self.events[tenant_id, job_id] = max(seq, self.events.get((tenant_id, job_id), 0))

    def ended(self, tenant_id: UUID, job_id: UUID, seq: int) -> None:
        """Note that the job's log was closed by seq: its place is free, and there may be webhooks to deliver."""
        self.event(tenant_id, job_id, seq)
        self.closed.add((tenant_id, job_id))
        self.waiting = True
        self.deliveries = True


Permit = Callable[[int], Awaitable[None]]
"""Asked for so many jobs before they are made; raises when they may not be."""


class Session:
    """What every store needs of the transaction it works in."""

    def __init__(self, connection: AsyncConnection, settings: Settings, seal: Seal, hash_key: bytes) -> None:
        self.connection = connection
        self.settings = settings
        self.seal = seal
        self.hash_key = hash_key
        self.outbox = Outbox()
        self.trail: Trail | None = None  # of the request that this is for
        self.audited = False  # whether a statement of this transaction has kept it already
        self.permit: Permit | None = None
        self.rings = False  # whether what is in `outbox.rings` is rung after the commit
        self.patience: float | None = None  # seconds that a statement may take; None: as many as any other

    async def all(self, statement: Executable, **values: Any) -> Sequence[Row]:
        """Run it and return its rows."""
        if isinstance(statement, TextClause):
            return cast("Sequence[Row]", await self._ask(Connection.fetch, statement, values))
        with told_apart(OSError):
            return cast("Sequence[Row]", (await self.connection.execute(statement, values)).mappings().all())

    async def first(self, statement: Executable, **values: Any) -> Row | None:
        """Run it and return its first row, or None."""
        return next(iter(await self.all(statement, **values)), None)

    async def one(self, statement: Executable, **values: Any) -> Row:
        """Run it and return its only row."""
        (row,) = await self.all(statement, **values)
        return row

    async def run(self, statement: TextClause, **values: Any) -> int:
        """Run it and return how many rows it touched."""
        status: str = await self._ask(Connection.execute, statement, values)
        return int(status.rpartition(" ")[2])

    async def run_many(self, statement: Executable, values: Sequence[dict[str, Any]]) -> None:
        """Run it once for each set of values, in one go."""
        with told_apart(OSError):
            await self.connection.execute(statement, values)

    @property
    def driver(self) -> Any:
        """Asyncpg's own connection, which SQLAlchemy's is about."""
        sync = self.connection.sync_connection
        return sync and sync.connection.driver_connection

    async def undo(self, reason: BaseException) -> None:
        """Roll back what was begun; reason: why it may not be kept. A connection that can't is thrown away.

        So is one whose work was cancelled: it may be amid an answer, and a server that hangs must hold nobody up.
        """
        if self.connection.invalidated or self.driver.is_closed():
            return
        if not isinstance(reason, Exception):
            await self._throw_away()
            return
        try:
            await self.driver.execute("ROLLBACK", timeout=_UNDO_SECONDS)
        except BaseException as error:  # a cancellation too: what would go back is bound to a tenant still
            await self._throw_away()
            if not isinstance(error, (PostgresError, InterfaceError, InternalClientError, OSError)):
                raise

    async def _throw_away(self) -> None:
        self.driver.terminate()  # at once; the pool's own way says good-bye first
        await self.connection.invalidate()

    async def _ask(self, how: Callable[..., Awaitable[Any]], statement: TextClause, values: dict[str, Any]) -> Any:
        """Give a text to asyncpg: SQLAlchemy has nothing to add to it, and takes longer over it than PostgreSQL does.

        A connection that was lost, or left amid an answer, is thrown away as SQLAlchemy would.
        """
        sql, names = _written(statement)
        driver = self.driver
        with told_apart(OSError):
            try:
                return await how(driver, sql, *map(values.__getitem__, names), timeout=self.patience)
            except BaseException as error:
                if driver.is_closed() or not isinstance(error, Exception):
                    await self._throw_away()
                raise

    def digest(self, purpose: str, *parts: bytes) -> bytes:
        """Return a keyed hash (HMAC-SHA256) of the parts: equal for equal content, and tells nothing of it."""
        return digest(purpose, self.hash_key, *parts)


def digest(purpose: str, key: bytes, *parts: bytes) -> bytes:
    """Return HMAC-SHA256 of the parts, for one purpose."""
    keyed = hmac.new(key, purpose.encode() + b"\0", hashlib.sha256)
    for part in parts:
        keyed.update(part)
    return keyed.digest()


@cache
def _written(statement: TextClause) -> tuple[str, Sequence[str]]:
    """Return a statement as PostgreSQL takes it, and the names of its values in their order."""
    compiled = statement.compile(dialect=_DIALECT)
    return str(compiled), tuple(compiled.positiontup or ())


def read(row: Row, type_: type[T]) -> T:
    """Convert a row, its JSON columns as text, to a struct; columns the struct does not name are dropped."""
    values = {
        str(name): msgspec.json.decode(value) if name in _JSON_COLUMNS and isinstance(value, str) else value
        for name, value in row.items()
    }
    return msgspec.convert(values, type_)


def read_job(row: Row) -> JobRow:
    """Convert a row of `jobs`."""
    return read(row, JobRow)


def to_json(value: Any) -> str | None:
    """Return the value as JSON text for jsonb, which cannot hold NUL: it becomes U+FFFD. None stays null."""
    return None if value is None else msgspec.json.encode(value).decode().replace("\\u0000", "\\ufffd")


def payload_context(tenant_id: UUID, job_id: UUID, name: PayloadName) -> str:
    """Name the one row in which a sealed payload opens."""
    return f"{tenant_id}/{job_id}/{name}"
