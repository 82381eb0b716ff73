"""Upkeep: what was missed is done again. Any number of sweepers may do it at once: every step is guarded."""

import asyncio
from datetime import timedelta

import structlog

from milpa.repeating import patiently, repeat
from milpa.settings import Settings
from storage.dispatch import Dispatcher
from storage.objects import ObjectStore
from storage.transaction import Database

PRUNE_SECONDS = 60.0
ORPHANS_SECONDS = 3600.0

ORPHAN_AGE = timedelta(hours=1)
"""Files are uploaded just before the row that names them; one older than this without a row has lost its attempt."""

ORPHAN_BATCH = 500

log = structlog.get_logger(__name__)


class Sweeper:
    """Starts what is due, rescues what is stuck, rings what was lost, prunes what is old."""

    def __init__(self, settings: Settings, database: Database, objects: ObjectStore, dispatcher: Dispatcher) -> None:
        self._settings = settings
        self._database = database
        self._objects = objects
        self._dispatcher = dispatcher

    async def run(self) -> None:
        """Sweep for ever, and tidy up beside it: that may take long, and jobs wait for no tidying."""
        await asyncio.gather(
            repeat(self._settings.sweep_seconds, self.sweep),
            repeat(PRUNE_SECONDS, self.prune, at_once=False),
            repeat(ORPHANS_SECONDS, self.collect_orphans, at_once=False),
        )

    async def sweep(self) -> None:
        """Do one round; each step by itself, so that none waits for another to be well."""
        for step in (self.start_due, self.rescue, self.ring):
            await patiently(step)

    async def start_due(self) -> None:
        """Queue the scheduled jobs whose time has come."""
        async with self._database.fleet() as fleet:
            await fleet.jobs.start_due()

    async def rescue(self) -> None:
        """Give back the jobs of workers that let their lease run out; the third crash makes a job poison."""
        async with self._database.fleet() as fleet:
            rescued = await fleet.jobs.rescue()
        for job in rescued:
            log.warning("job_rescued", job=str(job.id), state=job.state, crashes=job.crash_count)

    async def ring(self) -> None:
        """Ring for what waits, and again for what Redis or a dead worker has lost."""
        await self._dispatcher.admit()
        lost = await self._dispatcher.ring_lost(self._settings.sweep_seconds)
        if lost:
            log.warning("rings_lost", count=lost)

    async def prune(self) -> None:
        """Drop payloads and files of jobs that ended long ago, then old rows of webhooks and audit, bite by bite."""
        while True:
            async with self._database.fleet() as fleet:
                pruned = await fleet.jobs.prune(self._settings.retention_days)
            if not pruned.jobs:
                break
            await self._objects.delete(pruned.object_keys)
        while True:
            async with self._database.fleet() as fleet:
                if not await fleet.deliveries.prune(self._settings.retention_days):
                    break
        async with self._database.fleet() as fleet:
            expired = await fleet.exports.expire()
            await fleet.exports.prune(self._settings.retention_days)
        await self._objects.delete(expired)
        while True:
            async with self._database.fleet() as fleet:
                if not await fleet.audit.prune():
                    return

    async def collect_orphans(self) -> None:
        """Delete objects that no row names: what attempts uploaded before they lost their lease."""
        batch: list[str] = []
        async for found in self._objects.list():
            if found.age >= ORPHAN_AGE:
                batch.append(found.key)
            if len(batch) == ORPHAN_BATCH:
                await self._delete_unnamed(batch)
                batch.clear()
        await self._delete_unnamed(batch)

    async def _delete_unnamed(self, keys: list[str]) -> None:
        async with self._database.fleet() as fleet:
            orphans = await fleet.jobs.unnamed(keys)
        if orphans:
            await self._objects.delete(orphans)
            log.info("orphans_deleted", count=len(orphans))
