"""Bringing the database's schema up to date, in this process; safe when two do it at once."""

from milpa.settings import Settings


async def migrate(settings: Settings) -> bool:
    """Bring the schema to the newest revision as the owner; True: something was done.

    TransientError: PostgreSQL is away. UsageError: no database address is set.
    """
    ...
