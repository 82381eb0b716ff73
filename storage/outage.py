"""Telling what passes (PostgreSQL away, overloaded, or in conflict) from what the caller or we got wrong."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from asyncpg import InterfaceError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import InterfaceError as SqlalchemyInterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from milpa.errors import TransientError, UsageError

_PASSING_STATES = ("08", "53", "57", "40", "25P03", "25006", "55P03")
"""SQLSTATE prefixes: connection, resources, operator's shutdown, conflict, timeouts; read-only, as after a failover."""

_CLOSED = "connection is closed"
"""Asyncpg has one class of errors for a closed connection and for mistakes of ours, such as too few arguments. Only the
text tells, and SQLAlchemy goes by the same."""

_REFUSED_STATES = ("28", "3D")
"""SQLSTATE prefixes: no such login or a wrong password; no such database."""

_NOT_A_CHARACTER = "22021"

_CONFUSED = asyncpg.InternalClientError
"""Asyncpg's own, and none of ours: what it is asked in the moment in which the server cuts the connection."""


@contextmanager
def told_apart(*also: type[Exception]) -> Iterator[None]:
    """Raise TransientError (`database_unavailable`) for what passes, and for the errors `also` named.

    UsageError (`bad_text`): a text holds the character U+0000, which PostgreSQL keeps in no text.
    """
    try:
        yield
    except (DBAPIError, asyncpg.PostgresError, InterfaceError) as error:
        if _passes(error):
            raise unavailable() from error
        if _state(error) == _NOT_A_CHARACTER:
            raise UsageError("bad_text", "A text holds the character U+0000, which can't be stored.") from None
        raise
    except (PoolTimeoutError, _CONFUSED, *also) as error:
        raise unavailable() from error


@contextmanager
def login_told_apart() -> Iterator[None]:
    """Raise UsageError (`bad_setting`) when there is no such login or database, or the password is wrong."""
    try:
        yield
    except (DBAPIError, asyncpg.PostgresError) as error:
        if not _state(error).startswith(_REFUSED_STATES):
            raise
        reason = "MILPA_DATABASE_URL names a login or a database that PostgreSQL refuses; did `milpa migrate` run?"
        raise UsageError("bad_setting", reason) from None


def unavailable() -> TransientError:
    """Return the error that says: the database is away, try again."""
    return TransientError("database_unavailable", "The database does not answer; try again shortly.")


def _passes(error: Exception) -> bool:
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    closed = isinstance(error, (InterfaceError, SqlalchemyInterfaceError)) and _CLOSED in str(error)
    return lost or closed or _state(error).startswith(_PASSING_STATES)


def _state(error: Exception) -> str:
    return getattr(error.orig if isinstance(error, DBAPIError) else error, "sqlstate", None) or ""
