"""Bringing the database's schema up to date, in this process; safe when two do it at once."""

from importlib import resources
from pathlib import Path

import asyncpg
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine

from milpa.errors import UsageError
from milpa.settings import Settings
from storage.outage import told_apart

_LOCK = text("SELECT pg_advisory_lock(hashtext('milpa migrate'))")
_CONNECT_SECONDS = 10.0
_KEEP_AUDIT = """
INSERT INTO audit_retention (days) VALUES ($1)
ON CONFLICT (one) DO UPDATE SET days = excluded.days WHERE audit_retention.days <> excluded.days
"""


async def migrate(settings: Settings) -> bool:
    """Bring the schema, and how long the audit is kept, up to date as the owner; True: something was done.

    TransientError: PostgreSQL is away. UsageError: no database address is set, or no audit would be kept.
    """
    url = settings.database_owner_url.reveal() or settings.database_url.reveal()
    if not url:
        raise UsageError("bad_setting", "MILPA_DATABASE_URL is not set.")
    if settings.audit_retention_days < 1:
        raise UsageError("bad_setting", "MILPA_AUDIT_RETENTION_DAYS is less than one day.")
    with told_apart(OSError):
        connection = await asyncpg.connect(url, timeout=_CONNECT_SECONDS)
    try:
        old = await _revision(connection) != newest_revision()
        if old:
            await _upgrade(url)
        kept = await connection.execute(_KEEP_AUDIT, settings.audit_retention_days)
    finally:
        await connection.close()
    return old or kept != "INSERT 0 0"


def newest_revision() -> str:
    """Return the newest revision: the number that the newest file's name starts with."""
    return max(path.name.split("_")[0] for path in (_folder() / "versions").glob("[0-9]*_*.py"))


def _folder() -> Path:
    with resources.as_file(resources.files("migrations")) as folder:
        return folder


async def _revision(connection: asyncpg.Connection) -> str | None:
    if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
        return None
    revision: str | None = await connection.fetchval("SELECT version_num FROM alembic_version")
    return revision


async def _upgrade(url: str) -> None:
    async def connect(*_args: object, **_kwargs: object) -> asyncpg.Connection:
        return await asyncpg.connect(url, timeout=_CONNECT_SECONDS)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect)
    try:
        async with engine.connect() as connection:
            await connection.execute(_LOCK)  # held until the connection closes
            await connection.commit()
            await connection.run_sync(_run_alembic)
            await connection.commit()
    finally:
        await engine.dispose()


def _run_alembic(connection: Connection) -> None:
    from alembic import command  # loaded only when there is something to do
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_folder()))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
