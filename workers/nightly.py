"""Schedules that are due become batches. Any number of schedulers may look at once: each due time is one's alone."""

import time
from collections.abc import Sequence
from uuid import UUID

import structlog

from milpa.errors import TransientError
from milpa.repeating import repeat
from milpa.settings import Settings
from storage.schedule_rows import DueSchedule
from storage.transaction import Database

PRUNE_SECONDS = 60.0
DUE_AT_ONCE = 100
"""How many schedules are looked up together."""

log = structlog.get_logger(__name__)


class Nightly:
    """Submits what is due by the database's clock, and forgets old runs."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._pruned_at = time.monotonic()

    async def run(self) -> None:
        """Look for ever. What does not answer now is tried again next time; until it commits, nothing is done."""
        await repeat(self._settings.sweep_seconds, self.start_due, self._prune)

    async def start_due(self) -> None:
        """Do all that is due, one due time of each schedule after the other.

        A schedule that can't be run, or not in time, holds no other up. TransientError: PostgreSQL is away.
        """
        stuck: set[UUID] = set()
        while due := await self._due(stuck):
            stuck |= {schedule.id for schedule in due if not await self._step(schedule)}

    async def _due(self, stuck: set[UUID]) -> Sequence[DueSchedule]:
        async with self._database.fleet() as fleet:
            return await fleet.schedules.due(DUE_AT_ONCE, but=stuck)

    async def _step(self, schedule: DueSchedule) -> bool:
        try:
            async with self._database.transaction(schedule.tenant_id) as tenant:
                return await tenant.schedules.run_due(schedule.id)
        except TransientError as error:
            await self._database.ping()  # away for all, or for what this one asks?
            log.warning("schedule_unanswered", schedule=str(schedule.id), code=error.code)
        except Exception:
            log.exception("schedule_broke", schedule=str(schedule.id))
        return False

    async def _prune(self) -> None:
        if time.monotonic() - self._pruned_at >= PRUNE_SECONDS:
            self._pruned_at = time.monotonic()
            async with self._database.fleet() as fleet:
                await fleet.schedules.prune(self._settings.retention_days)
