"""Telling what passes (PostgreSQL away, overloaded, or in conflict) from what the caller or we got wrong."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from milpa.errors import TransientError, UsageError

_PASSING_STATES = ("08", "53", "57", "40", "25P03", "55P03")
"""SQLSTATE prefixes: connection, resources, operator's shutdown, conflict, timeouts."""

_NOT_A_CHARACTER = "22021"

_PASSING_ERRORS = (
    PoolTimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InterfaceError,
)


@contextmanager
def told_apart(*also: type[Exception]) -> Iterator[None]:
    """Raise TransientError (`database_unavailable`) for what passes, and for the errors `also` named.

    UsageError (`bad_text`): a text holds the character U+0000, which PostgreSQL keeps in no text.
    """
    try:
        yield
    except (DBAPIError, asyncpg.PostgresError) as error:
        if _passes(error):
            raise unavailable() from error
        if _state(error) == _NOT_A_CHARACTER:
            raise UsageError("bad_text", "A text holds the character U+0000, which can't be stored.") from None
        raise
    except (*_PASSING_ERRORS, *also) as error:
        raise unavailable() from error


def unavailable() -> TransientError:
    """Return the error that says: the database is away, try again."""
    return TransientError("database_unavailable", "The database does not answer; try again shortly.")


def _passes(error: DBAPIError | asyncpg.PostgresError) -> bool:
    lost = isinstance(error, DBAPIError) and (error.connection_invalidated or isinstance(error, InterfaceError))
    return lost or _state(error).startswith(_PASSING_STATES)


def _state(error: DBAPIError | asyncpg.PostgresError) -> str:
    return getattr(error.orig if isinstance(error, DBAPIError) else error, "sqlstate", None) or ""
