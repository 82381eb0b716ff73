"""Schedules that are due become batches. Any number of schedulers may look at once: each due time is one's alone."""

import asyncio
import random
import time

import structlog

from milpa.errors import TransientError
from milpa.settings import Settings
from storage.schedule_rows import DueSchedule
from storage.transaction import Database

PRUNE_SECONDS = 60.0

log = structlog.get_logger(__name__)


class Nightly:
    """Submits what is due by the database's clock, and forgets old runs."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._pruned_at = time.monotonic()

    async def run(self) -> None:
        """Look for ever. What does not answer now is tried again next time; until it commits, nothing is done."""
        while True:
            try:
                await self.start_due()
                await self._prune()
            except TransientError as error:
                log.warning("schedules_unanswered", code=error.code)
            except Exception:
                log.exception("schedules_broke")
            await asyncio.sleep(self._settings.sweep_seconds * random.uniform(0.8, 1.2))  # noqa: S311  no secret

    async def start_due(self) -> None:
        """Do all that is due, one due time of each schedule after the other.

        A schedule that can't be run holds no other up. TransientError: PostgreSQL is away.
        """
        moving = True
        while moving:
            async with self._database.fleet() as fleet:
                due = await fleet.schedules.due()
            moving = any([await self._step(schedule) for schedule in due])

    async def _step(self, schedule: DueSchedule) -> bool:
        try:
            async with self._database.transaction(schedule.tenant_id) as tenant:
                return await tenant.schedules.run_due(schedule.id)
        except TransientError:
            raise
        except Exception:
            log.exception("schedule_broke", schedule=str(schedule.id))
            return False

    async def _prune(self) -> None:
        if time.monotonic() - self._pruned_at >= PRUNE_SECONDS:
            self._pruned_at = time.monotonic()
            async with self._database.fleet() as fleet:
                await fleet.schedules.prune(self._settings.retention_days)
