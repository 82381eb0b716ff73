"""Retention: what has outlived its time is dropped, in the database first, then in the object store."""

from datetime import timedelta

from storage.objects import ObjectStore
from storage.transaction import Database

_BITE = 1000


async def prune(database: Database, objects: ObjectStore) -> int:
    """Drop payloads and files of jobs that ended longer ago than the retention time; returns how many jobs.

    An object that outlives this process between the commit and its deletion is an orphan, collected later.
    """
    jobs = 0
    while True:
        async with database.fleet() as fleet:
            pruned = await fleet.jobs.prune(database.settings.retention_days)
        await objects.delete(pruned.object_keys)
        jobs += pruned.jobs
        if not pruned.jobs:
            return jobs


async def collect_orphans(database: Database, objects: ObjectStore, older_than: timedelta = timedelta(days=1)) -> int:
    """Delete objects that no file row names; returns how many.

    older_than: must be longer than an attempt may take, whose objects are written before their rows.
    """
    collected = 0
    keys: list[str] = []
    async for found in objects.list():
        if found.age > older_than:
            keys.append(found.key)
        if len(keys) == _BITE:
            collected += await _collect(database, objects, keys)
            keys = []
    return collected + await _collect(database, objects, keys)


async def _collect(database: Database, objects: ObjectStore, keys: list[str]) -> int:
    async with database.fleet() as fleet:
        orphans = await fleet.jobs.unnamed(keys)
    await objects.delete(orphans)
    return len(orphans)
