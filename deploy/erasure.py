"""`milpa erase-tenant`: a tenant gone from the database, from object storage and from Redis, for good."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from uuid import UUID

import asyncpg
import msgspec
from redis.asyncio import Redis

from deploy.keyring import opened
from milpa.errors import UsageError
from milpa.jobs import JobState
from milpa.settings import Settings
from storage.objects import ObjectStore
from storage.outage import told_apart
from storage.queue import Queue
from storage.redis_client import redis_client
from storage.rows import JobFilter
from storage.transaction import Database

Tell = Callable[[str], None]
"""Hears what is being done."""

PATIENCE_SECONDS = 60.0
"""How long running jobs may take to end before the tenant is erased under them: what they write then goes nowhere."""

_BITE = 200
_LOOK_SECONDS = 0.2


class ErasedTenant(msgspec.Struct, frozen=True, kw_only=True):
    """What is gone."""

    name: str
    jobs: int
    objects: int
    redis_keys: int


async def erase_tenant(settings: Settings, name_or_id: str, tell: Tell) -> ErasedTenant:
    """Erase a tenant. Cut short, it goes on where it was when called again: once its row has gone, by its id.

    UsageError (`no_such_tenant`): there is nothing of that name or id. (`not_the_owner`): the owner's login is needed.
    """
    objects = ObjectStore(settings)
    redis = redis_client(settings, Redis)
    try:
        async with opened(settings) as database:
            id_, name = await _find(database, name_or_id)
            tell(f"Ending keys, schedules and jobs of the tenant {id_}")
            await _shut(database, id_)
            tell("Erasing jobs and their files")
            jobs = await _jobs(database, id_)
            keys = await Queue(redis).forget(map(str, jobs))  # before they, and so their ids, are erased
            await _erase_jobs(database, objects, id_)
            deleted = await _erase_objects(objects, id_)
            tell("Erasing everything else")
            await _erase_rows(settings, id_)
            deleted += await _erase_objects(objects, id_)  # what was just being uploaded
            keys += await Queue(redis).forget([str(id_), *map(str, jobs)])
    finally:
        await redis.aclose()
    if name is None and not deleted + keys:
        raise UsageError("no_such_tenant", f"There is no tenant {name_or_id!r}, and nothing is left of one.")
    return ErasedTenant(name=name or str(id_), jobs=len(jobs), objects=deleted, redis_keys=keys)


async def _find(database: Database, name_or_id: str) -> tuple[UUID, str | None]:
    """Return a tenant's id and its name; no name: the id is of none, or of one whose erasure was cut short."""
    try:
        asked: str | UUID = UUID(name_or_id)
    except ValueError:
        asked = name_or_id
    async with database.fleet() as fleet:
        tenant = await fleet.tenants.get(asked)
    if tenant is not None:
        return tenant.id, tenant.name
    if isinstance(asked, UUID):
        return asked, None
    raise UsageError("no_such_tenant", f"There is no tenant called {name_or_id!r}.")


async def _shut(database: Database, tenant: UUID) -> None:
    """Let nothing new begin, and wait a while for what runs."""
    async with database.fleet() as fleet:
        await fleet.tenants.set_max_running(tenant, 0)
        await fleet.audit.operator("erase_tenant", [], tenant)  # goes with the rest, but tells who began it until then
    async with database.transaction(tenant) as transaction:
        for key in await transaction.api_keys.good():
            await transaction.api_keys.revoke(key.id)
        for schedule in await transaction.schedules.list(10_000):
            await transaction.schedules.delete(schedule.id)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while await _cancel_all(database, tenant) and time.monotonic() < deadline:  # noqa: ASYNC110  others change it
        await asyncio.sleep(_LOOK_SECONDS)


async def _cancel_all(database: Database, tenant: UUID) -> int:
    going = JobFilter(states=[JobState.SCHEDULED, JobState.QUEUED, JobState.RUNNING])
    async with database.transaction(tenant) as transaction:
        jobs = await transaction.jobs.list(going, _BITE)
        for job in jobs:
            if job.cancel_requested_at is None:
                with contextlib.suppress(UsageError):  # it has just ended
                    await transaction.jobs.request_cancel(job.id)
    return len(jobs)


async def _jobs(database: Database, tenant: UUID) -> Sequence[UUID]:
    found: list[UUID] = []
    after = None
    while True:
        async with database.transaction(tenant) as transaction:
            jobs = await transaction.jobs.list(None, _BITE, after)
        found += [job.id for job in jobs]
        if len(jobs) < _BITE:
            return found
        after = (jobs[-1].created_at, jobs[-1].id)


async def _erase_jobs(database: Database, objects: ObjectStore, tenant: UUID) -> None:
    """Erase what has ended, job by job in small transactions; what has not goes with the tenant."""
    after = None
    while True:
        async with database.transaction(tenant) as transaction:
            jobs = await transaction.jobs.list(None, _BITE, after)
            ended = [job.id for job in jobs if job.state.ended]
            keys = [key for job in ended for key in await transaction.jobs.delete(job) or ()]
        await objects.delete(keys)
        if len(jobs) < _BITE:
            return
        after = (jobs[-1].created_at, jobs[-1].id)


async def _erase_objects(objects: ObjectStore, tenant: UUID) -> int:
    keys = [found.key async for found in objects.list(f"{tenant}/")]
    await objects.delete(keys)
    return len(keys)


async def _erase_rows(settings: Settings, tenant: UUID) -> None:
    url = settings.database_owner_url.reveal() or settings.database_url.reveal()
    with told_apart(OSError):
        owner = await asyncpg.connect(url)
    try:
        await owner.execute("SELECT erase_tenant($1)", tenant)
    except asyncpg.InsufficientPrivilegeError:
        raise UsageError("not_the_owner", "Erasing a tenant needs MILPA_DATABASE_OWNER_URL.") from None
    finally:
        await owner.close()
