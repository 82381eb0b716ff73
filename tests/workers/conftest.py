"""A worker's context inside the test process: real database, real Redis, real children that serve probes."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest
from arq.connections import ArqRedis
from sqlalchemy import text

from deploy.local.servers import Servers
from milpa.jobs import FileFormat, JobOptions, JobState, Priority, new_id
from milpa.settings import Settings
from storage.dispatch import Dispatcher
from storage.objects import ObjectStore
from storage.queue import Queue
from storage.rows import JobRow, NewJob
from storage.transaction import Database
from tests.conftest import database, redis, servers, settings, stack, tenant
from tests.support.planted import NAME
from tests.support.stack import settings_of
from workers.compute_pool import ComputePool
from workers.context import WorkerContext
from workers.run_job import run_job

__all__ = ["database", "redis", "servers", "settings", "stack", "tenant"]
"""Imported, fixtures are new ones here: servers of their own, because workers take whatever job they find."""


@pytest.fixture(scope="session")
def quick(stack: Servers) -> Settings:
    """Settings of the migrated stack, with short leases and little patience."""
    return msgspec.structs.replace(
        settings_of(stack),
        lease_seconds=2.0,
        heartbeat_seconds=0.3,
        sweep_seconds=0.3,
        interactive_slots=1,
        batch_slots=1,
        stop_grace_seconds=0.4,
        child_memory_bytes=800_000_000,
        render_seconds=30.0,
    )


@pytest.fixture(scope="module")
async def house_pool(quick: Settings) -> AsyncIterator[ComputePool]:
    """Warm children that serve probes."""
    pool = ComputePool(quick, kinds="tests.workers.kinds")
    await pool.start()
    yield pool
    await pool.close()


@pytest.fixture
async def rings(quick: Settings) -> AsyncIterator[ArqRedis]:
    """A client of the queue."""
    client = ArqRedis.from_url(quick.redis_url.reveal())
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
async def context(quick: Settings, rings: ArqRedis, house_pool: ComputePool) -> AsyncIterator[WorkerContext]:
    """A worker's context with an object store of its own; nobody else admits or sweeps."""
    database = await Database.connect(quick)
    with tempfile.TemporaryDirectory(prefix="milpa-objects-") as folder:
        yield WorkerContext(
            id=new_id(),
            settings=quick,
            database=database,
            objects=ObjectStore(msgspec.structs.replace(quick, object_store_url=Path(folder).as_uri())),
            dispatcher=Dispatcher(database, Queue(rings)),
            pool=house_pool,
        )
    await database.close()


@pytest.fixture
async def owner(quick: Settings) -> AsyncIterator[asyncpg.Connection]:
    """A connection that no row-level security binds."""
    connection = await asyncpg.connect(quick.database_owner_url.reveal())
    yield connection
    await connection.close()


class Desk:
    """Submits probes of one tenant, has two workers compete for them, and looks at what became of them."""

    def __init__(self, context: WorkerContext, tenant: UUID) -> None:
        self.context = context
        self.workers = context, replace(context, id=new_id())
        self.tenant = tenant

    async def submit(
        self,
        act: str,
        *,
        limit: float = 30.0,
        files: tuple[FileFormat, ...] = (),
        name: str | None = None,
        priority: Priority = Priority.INTERACTIVE,
        parent: UUID | None = None,
        options: JobOptions | None = None,
        **problem: Any,
    ) -> JobRow:
        new = NewJob(
            kind="probe",
            kind_version=1,
            input=msgspec.json.encode({"act": act, "text": NAME, **problem}),
            options=options or JobOptions(time_limit_seconds=limit),
            files=files,
            name=name,
            priority=priority,
            parent_id=parent,
        )
        async with self.context.database.transaction(self.tenant) as tenant:
            return (await tenant.jobs.submit(new)).job

    async def run(self, job: JobRow) -> JobRow:
        """Have both workers answer a ring for the job, and return it as it is then."""
        ring = str(self.tenant), str(job.id), job.dispatch_no
        await asyncio.gather(*(run_job({"worker": worker}, *ring) for worker in self.workers))
        return await self.now(job)

    async def now(self, job: JobRow) -> JobRow:
        async with self.context.database.transaction(self.tenant) as tenant:
            found = await tenant.jobs.get(job.id)
        assert found is not None
        return found

    async def reaches(self, job: JobRow, *states: JobState) -> JobRow:
        """Wait until the job is in one of these states."""
        now = job
        try:
            async with asyncio.timeout(60):
                while (now := await self.now(job)).state not in states:  # noqa: ASYNC110  another process changes it
                    await asyncio.sleep(0.01)
        except TimeoutError:
            pytest.fail(f"not {states} within a minute, but {now}; told: {await self.events(job)}")
        return now

    async def payload(self, job: JobRow, name: Any) -> bytes | None:
        async with self.context.database.transaction(self.tenant) as tenant:
            return await tenant.jobs.payload(job.id, name)

    async def solution(self, job: JobRow) -> dict[str, Any]:
        payload = await self.payload(job, "result")
        assert payload is not None
        return dict(msgspec.json.decode(payload)["solution"])

    async def events(self, job: JobRow) -> list[str]:
        async with self.context.database.transaction(self.tenant) as tenant:
            return [event.type.value for event in await tenant.events.after(job.id, 0, 1000)]


@pytest.fixture
async def desk(context: WorkerContext, database: Database, tenant: UUID) -> AsyncIterator[Desk]:
    """A desk for a fresh tenant. No job of its is left to the workers of the tests that follow."""
    yield Desk(context, tenant)
    async with database.transaction(tenant) as mine:
        await mine.connection.execute(text("DELETE FROM schedules"))
        await mine.connection.execute(text("DELETE FROM jobs"))
