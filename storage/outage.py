"""Telling what passes (PostgreSQL away, overloaded, or in conflict) from what is wrong."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from milpa.errors import TransientError

_PASSING_STATES = ("08", "53", "57", "40", "25P03", "55P03")
"""SQLSTATE prefixes: connection, resources, operator's shutdown, conflict, timeouts."""

_PASSING_ERRORS = (
    PoolTimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InterfaceError,
)


@contextmanager
def told_apart(*also: type[Exception]) -> Iterator[None]:
    """Raise TransientError (`database_unavailable`) for what passes, and for the errors `also` named."""
    try:
        yield
    except DBAPIError as error:
        if not _passes(error):
            raise
        raise unavailable() from error
    except (*_PASSING_ERRORS, *also) as error:
        raise unavailable() from error


def unavailable() -> TransientError:
    """Return the error that says: the database is away, try again."""
    return TransientError("database_unavailable", "The database does not answer; try again shortly.")


def _passes(error: DBAPIError) -> bool:
    state = getattr(error.orig, "sqlstate", None) or ""
    return error.connection_invalidated or isinstance(error, InterfaceError) or state.startswith(_PASSING_STATES)
