"""The schema as promised: what the migrations make, and what each role may do with it."""

import asyncio

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.ext.asyncio import create_async_engine

from milpa.settings import Settings
from storage.migrate import migrate
from storage.tables import metadata


async def test_migrations_make_the_tables_that_the_code_declares(stack, settings):
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(settings.database_owner_url.reveal())
    )
    async with engine.connect() as connection:
        drift = await connection.run_sync(lambda sync: compare_metadata(MigrationContext.configure(sync), metadata))
    await engine.dispose()
    assert drift == []


async def test_migrating_again_does_nothing(stack, settings):
    assert await migrate(settings) is False
