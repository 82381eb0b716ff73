"""`milpa check`: whether the database keeps the promise that no job is lost and none ends twice."""

import asyncio

from deploy.local.environment import settings_at_hand
from milpa.settings import Settings
from storage.ledger import LedgerReport, check_ledger
from storage.transaction import Database


def check() -> LedgerReport:
    """Check every job in the database of the settings, else of the `milpa up` in this folder."""
    return asyncio.run(_check(settings_at_hand()))


async def _check(settings: Settings) -> LedgerReport:
    database = await Database.connect(settings)
    try:
        return await check_ledger(database)
    finally:
        await database.close()
