"""Erasing a tenant: afterwards nothing of it is in any table, in the object store or in Redis; all others are whole."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest
from redis.asyncio import Redis

from deploy import erasure
from milpa.errors import TransientError, UsageError
from milpa.settings import Settings
from storage.objects import ObjectStore, export_key
from storage.queue import Queue
from storage.rows import Role, Subject
from storage.schedule_rows import NewSchedule
from storage.transaction import Database
from storage.webhook_rows import NewEndpoint
from tests.deploy.operator import operators_deeds
from tests.storage.steps import new_job, submit, succeeded
from tests.support.planted import MARK

MILPA = str(Path(sys.executable).with_name("milpa"))


@pytest.fixture
async def owner(settings: Settings, stack: object) -> AsyncIterator[asyncpg.Connection]:
    del stack
    connection = await asyncpg.connect(settings.database_owner_url.reveal())
    yield connection
    await connection.close()


async def fill(database: Database, settings: Settings, redis: Redis, tenant: UUID) -> None:
    """Leave a trace of the tenant everywhere."""
    objects = ObjectStore(settings)
    async with database.transaction(tenant) as tx:
        await tx.webhooks.create(NewEndpoint(url="https://example.org/"))
    job = await succeeded(database, tenant, files=["xlsx"], name=MARK, subjects=[Subject("student", "S1")])
    await objects.put(f"{tenant}/{job.id}/1/deals.xlsx", b"file")
    await objects.put(export_key(tenant, uuid4()), b"zip")
    async with database.transaction(tenant) as tx:
        await tx.api_keys.create(MARK, Role.ADMIN)
        nightly = NewSchedule(name=MARK, cron="0 2 * * *", timezone="UTC", jobs=[new_job()])
        await tx.schedules.run_now((await tx.schedules.create(nightly)).schedule.id)
        await tx.exports.request("someone")
        await tx.files.request(job.id, ["pdf"])
        await tx.audit.system("tests", "fill", [])
    await redis.set(f"milpa:limit:{{{tenant}}}:jobs", 1)
    await submit(database, tenant)
    async with database.fleet() as fleet:  # no dispatcher: it would go on admitting for the tests that follow
        rings = await fleet.jobs.admit()
    await Queue(redis).ring(rings)


async def traces(owner: asyncpg.Connection, settings: Settings, redis: Redis, tenant: UUID) -> dict[str, int]:
    """Return how much there is of the tenant, and where: rows of all tables that hold its id, objects, Redis keys."""
    found: dict[str, int] = {}
    for (table,) in await owner.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
        rows = await owner.fetchval(
            f"SELECT count(*) FROM {table} AS t WHERE to_jsonb(t)::text LIKE $1",  # noqa: S608
            f"%{tenant}%",
        )
        if rows:
            found[table] = rows
    objects = [info.key async for info in ObjectStore(settings).list() if str(tenant) in info.key]
    keys = [key async for key in redis.scan_iter() if str(tenant).encode() in key]
    bodies = [
        key async for key in redis.scan_iter("arq:job:*") if str(tenant).encode() in (await redis.get(key) or b"")
    ]
    return found | {name: len(some) for name, some in (("objects", objects), ("redis", [*keys, *bodies])) if some}


def silent(_: str) -> None:
    pass


@pytest.fixture
async def patient(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(erasure, "PATIENCE_SECONDS", 1.0)
    return settings


async def test_nothing_of_an_erased_tenant_is_found_and_others_are_whole(
    database: Database, patient: Settings, redis: Redis, tenant: UUID, owner: asyncpg.Connection
) -> None:
    async with database.fleet() as fleet:
        other = await fleet.tenants.create(f"other-{uuid4()}")
        await fleet.workers.seen(worker := uuid4(), "test", 50, 50)
        name = (await fleet.tenants.get(tenant)).name  # type: ignore[union-attr]
    for one in (tenant, other.id):
        await fill(database, patient, redis, one)
    before = await traces(owner, patient, redis, other.id)
    mine = await traces(owner, patient, redis, tenant)
    assert set(mine) >= {
        "tenants", "jobs", "payloads", "job_events", "job_subjects", "files", "file_requests", "batches", "schedules",
        "schedule_runs", "webhook_endpoints", "webhook_secrets", "webhook_deliveries", "api_keys", "exports",
        "audit_log", "objects", "redis",
    }  # fmt: skip
    erased = await erasure.erase_tenant(patient, name, silent)
    assert erased.jobs == 3
    assert await traces(owner, patient, redis, tenant) == {}
    assert await traces(owner, patient, redis, other.id) == before
    async with database.transaction(other.id) as tx:
        for job in await tx.jobs.list():
            assert await tx.jobs.payload(job.id, "input") is not None
    await erasure.erase_tenant(patient, other.name, silent)
    async with database.fleet() as fleet:
        await fleet.workers.leave(worker)


async def test_what_runs_meanwhile_writes_nothing_more(
    database: Database, patient: Settings, tenant: UUID, owner: asyncpg.Connection, redis: Redis
) -> None:
    job = await submit(database, tenant)
    async with database.transaction(tenant) as tx:
        claim = await tx.jobs.claim(job.id, job.dispatch_no, uuid4(), 600)
    assert claim is not None
    async with database.fleet() as fleet:
        name = (await fleet.tenants.get(tenant)).name  # type: ignore[union-attr]
    await erasure.erase_tenant(patient, name, silent)
    async with database.transaction(tenant) as tx:
        assert await tx.jobs.heartbeat(claim.ref, 30) is None
    assert await traces(owner, patient, redis, tenant) == {}


async def test_an_erasure_cut_short_behind_the_rows_goes_on_by_the_id(
    patient: Settings, redis: Redis, database: Database, tenant: UUID, owner: asyncpg.Connection
) -> None:
    async with database.fleet() as fleet:
        name = (await fleet.tenants.get(tenant)).name  # type: ignore[union-attr]
    await fill(database, patient, redis, tenant)
    said = list[str]()
    forget = Queue.forget

    async def cut_short(queue: Queue, ids: Iterable[str]) -> int:
        if str(tenant) in (ids := list(ids)):
            raise TransientError("redis_unavailable", "away")
        return await forget(queue, ids)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Queue, "forget", cut_short)
        with pytest.raises(TransientError):
            await erasure.erase_tenant(patient, name, said.append)
    assert set(await traces(owner, patient, redis, tenant)) == {"redis"}
    with pytest.raises(UsageError):
        await erasure.erase_tenant(patient, name, silent)
    [id_] = [word for word in said[0].split() if word == str(tenant)]
    assert (await erasure.erase_tenant(patient, id_, silent)).redis_keys > 0
    assert await traces(owner, patient, redis, tenant) == {}
    with pytest.raises(UsageError) as refused:
        await erasure.erase_tenant(patient, id_, silent)
    assert refused.value.code == "no_such_tenant"


async def test_until_a_tenants_trail_is_gone_it_says_who_erases(
    database: Database, patient: Settings, tenant: UUID
) -> None:
    async with database.fleet() as fleet:
        name = (await fleet.tenants.get(tenant)).name  # type: ignore[union-attr]
    mere = msgspec.structs.replace(patient, database_owner_url=patient.database_url)
    with pytest.raises(UsageError):
        await erasure.erase_tenant(mere, name, silent)
    assert await operators_deeds(database, tenant) == [("erase_tenant", [])]


async def test_the_application_alone_erases_no_tenant(database: Database, patient: Settings, tenant: UUID) -> None:
    async with database.fleet() as fleet:
        name = (await fleet.tenants.get(tenant)).name  # type: ignore[union-attr]
    mere = msgspec.structs.replace(patient, database_owner_url=patient.database_url)
    with pytest.raises(UsageError) as refused:
        await erasure.erase_tenant(mere, name, silent)
    assert refused.value.code == "not_the_owner"
    async with database.fleet() as fleet:
        assert await fleet.tenants.get(tenant) is not None


async def test_a_tenant_that_is_none_is_told(patient: Settings, stack: object) -> None:
    del stack
    with pytest.raises(UsageError) as refused:
        await erasure.erase_tenant(patient, "nobody", silent)
    assert refused.value.code == "no_such_tenant"


def milpa(settings: Settings, *words: str) -> "subprocess.CompletedProcess[str]":
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MILPA_")}
    for name in ("database_url", "database_owner_url", "redis_url", "seal_keys", "signing_key"):
        environ[f"MILPA_{name.upper()}"] = getattr(settings, name).reveal()
    environ["MILPA_OBJECT_STORE_URL"] = settings.object_store_url
    return subprocess.run([MILPA, *words], env=environ, capture_output=True, text=True, check=False, timeout=120)


async def test_the_command_does_it_when_it_is_sure(database: Database, settings: Settings, tenant: UUID) -> None:
    async with database.fleet() as fleet:
        name = (await fleet.tenants.get(tenant)).name  # type: ignore[union-attr]
    unsure: Any = await asyncio.to_thread(milpa, settings, "erase-tenant", name)
    assert (unsure.returncode, "--yes" in unsure.stderr) == (2, True)
    done: Any = await asyncio.to_thread(milpa, settings, "erase-tenant", name, "--yes")
    assert done.returncode == 0, done.stderr
    assert "is gone" in done.stdout
    async with database.fleet() as fleet:
        assert await fleet.tenants.get(tenant) is None
