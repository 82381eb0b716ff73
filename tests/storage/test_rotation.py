"""Rotating the keys: everything sealed anew while work goes on, cut short and taken up again, the old key thrown away."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import asyncpg
import msgspec
import pytest
from sqlalchemy import LargeBinary

from deploy import keyring
from deploy.local.folders import DataDir
from deploy.local.secrets import load_or_make
from milpa.errors import FatalError, UsageError
from milpa.settings import Secret, Settings
from storage import resealing
from storage.rows import Subject
from storage.schedule_rows import NewSchedule
from storage.seal import Seal, new_key
from storage.tables import metadata
from storage.transaction import Database
from storage.webhook_rows import NewEndpoint
from tests.storage.steps import add_tenant, new_job, succeeded

MILPA = str(Path(sys.executable).with_name("milpa"))
NOT_SEALED = {"jobs.input_hash", "api_keys.key_hash", "idempotency_keys.body_hash", "job_subjects.digest"}
"""Hashes: what they were made of is not in them."""


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    """A ring of one key, in a file."""
    file = tmp_path / "seal.keys"
    file.write_text(new_key("first"))
    return file


@pytest.fixture
def ringed(settings: Settings, ring: Path) -> Settings:
    return msgspec.structs.replace(settings, seal_keys=Secret(""), seal_keys_file=str(ring))


@pytest.fixture
async def working(ringed: Settings) -> AsyncIterator[Database]:
    """What an API or a worker holds open all the while."""
    database = await Database.connect(ringed)
    yield database
    await database.close()


async def fill(database: Database, tenant: UUID, jobs: int = 3) -> list[UUID]:
    """Seal something in every place; returns the jobs."""
    async with database.transaction(tenant) as tx:
        await tx.webhooks.create(NewEndpoint(url="https://example.org/"))
        nightly = NewSchedule(name="night", cron="0 2 * * *", timezone="UTC", jobs=[new_job(input=b"by night")])
        await tx.schedules.create(nightly)
        await tx.exports.request("someone", Subject("student", "S1"))
    return [(await succeeded(database, tenant, input=b"quince %d" % number)).id for number in range(jobs)]


async def readable(database: Database, tenant: UUID, jobs: list[UUID]) -> None:
    """Open all of it."""
    async with database.transaction(tenant) as tx:
        for number, job in enumerate(jobs):
            assert await tx.jobs.payload(job, "input") == b"quince %d" % number
            assert await tx.jobs.payload(job, "log") == b"solver log"
        for schedule in await tx.schedules.list(10):
            found = await tx.schedules.jobs(schedule.id)
            assert found is not None
            assert found[0].input == b"by night"


def keys_in(ring: Path) -> list[str]:
    return ring.read_text().split()


def mode_of(ring: Path) -> int:
    return ring.stat().st_mode & 0o777


def silent(_done: int, _total: int) -> None:
    pass


def test_every_place_that_holds_bytes_is_resealed_or_a_hash() -> None:
    binary = {
        f"{table.name}.{column.name}"
        for table in metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, LargeBinary)
    }
    assert binary == NOT_SEALED | {f"{place.table.name}.{place.column.name}" for place in resealing.PLACES}


async def test_the_old_key_can_be_thrown_away(working: Database, ringed: Settings, ring: Path) -> None:
    tenants = [await add_tenant(working), await add_tenant(working)]
    kept = {tenant: await fill(working, tenant) for tenant in tenants}
    [old] = keys_in(ring)
    told: list[tuple[int, int]] = []
    rotated = await keyring.rotate(ringed, lambda done, total: told.append((done, total)))
    assert told[0] == (0, 30)
    assert told[-1][0] == told[-1][1] == 30
    assert rotated.keys[1] == old
    assert keys_in(ring) == rotated.keys
    assert (await keyring.forget_old(ringed)).keys == rotated.keys[:1]
    assert keys_in(ring) == rotated.keys[:1]
    assert mode_of(ring) == 0o600
    fresh = await Database.connect(ringed)
    for tenant, jobs in kept.items():
        await readable(fresh, tenant, jobs)
        await readable(working, tenant, jobs)
    await fresh.close()
    without = await Database.connect(msgspec.structs.replace(ringed, seal_keys=Secret(old), seal_keys_file=""))
    with pytest.raises(FatalError, match="not on the ring"):
        await readable(without, tenants[0], kept[tenants[0]])
    await without.close()


async def test_work_goes_on_meanwhile(working: Database, ringed: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resealing, "BITE_ROWS", 3)
    tenant = await add_tenant(working)
    before = await fill(working, tenant, jobs=10)
    rotating = asyncio.create_task(keyring.rotate(ringed, silent))
    meanwhile = []
    while not rotating.done():
        meanwhile.append((await succeeded(working, tenant, input=b"meanwhile")).id)
        async with working.transaction(tenant) as tx:
            assert await tx.jobs.payload(before[0], "input") == b"quince 0"
            assert await tx.jobs.payload(meanwhile[-1], "input") == b"meanwhile"
    await rotating
    await keyring.forget_old(ringed)
    await readable(working, tenant, before)
    async with working.transaction(tenant) as tx:
        for job in meanwhile:
            assert await tx.jobs.payload(job, "input") == b"meanwhile"


async def test_a_rotation_that_was_cut_short_goes_on(
    working: Database, ringed: Settings, ring: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resealing, "BITE_ROWS", 2)
    tenant = await add_tenant(working)
    jobs = await fill(working, tenant)

    def cut(done: int, _total: int) -> None:
        if done > 4:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        await keyring.rotate(ringed, cut)
    keys = keys_in(ring)
    assert 0 < await keyring.left(working) < 15
    with pytest.raises(UsageError) as refused:
        await keyring.forget_old(ringed)
    assert refused.value.code == "keys_in_use"
    assert (await keyring.rotate(ringed, silent)).keys == keys
    assert await keyring.left(working) == 0
    await readable(working, tenant, jobs)


async def test_of_two_that_rotate_at_once_one_is_refused_and_no_key_is_lost(
    working: Database, ringed: Settings, ring: Path
) -> None:
    tenant = await add_tenant(working)
    jobs = await fill(working, tenant, jobs=6)
    both = [keyring.rotate(ringed, silent), keyring.rotate(ringed, silent), keyring.forget_old(ringed)]
    first, *others = await asyncio.gather(*both, return_exceptions=True)
    assert isinstance(first, keyring.Ring)
    assert [getattr(other, "code", None) for other in others] == ["rotation_under_way"] * 2
    assert keys_in(ring) == first.keys
    await keyring.forget_old(ringed)
    await readable(working, tenant, jobs)


async def test_large_rows_are_sealed_one_at_a_time(
    working: Database, ringed: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resealing, "BITE_BYTES", 1000)
    tenant = await add_tenant(working)
    large = os.urandom(5000)
    job = (await succeeded(working, tenant, input=large)).id
    await keyring.rotate(ringed, silent)
    await keyring.forget_old(ringed)
    async with working.transaction(tenant) as tx:
        assert await tx.jobs.payload(job, "input") == large


async def test_a_row_erased_meanwhile_stays_erased(working: Database, ringed: Settings) -> None:
    tenant = await add_tenant(working)
    [job, *_] = await fill(working, tenant)
    keyring.with_new_key(keyring.ring_of(ringed)).write()
    payloads = resealing.PLACES[-1]
    async with working.transaction(tenant) as tx:
        first = await tx.resealing.bite(payloads)
        assert first.rows == 12
    async with working.transaction(tenant) as tx:
        await tx.jobs.delete(job)
    async with working.transaction(tenant) as tx:
        assert (await tx.resealing.bite(payloads)).rows == 0
        assert await tx.jobs.payload(job, "input") is None


def test_a_ring_that_breaks_in_its_file_is_not_taken_up(ringed: Settings, ring: Path) -> None:
    seal = Seal.from_settings(ringed)
    sealed = seal.seal(b"data", "context")
    ring.write_text("first:not base64!")
    assert seal.open(seal.seal(b"more", "context"), "context") == b"more"
    ring.unlink()
    assert seal.open(sealed, "context") == b"data"
    assert seal.key_id == "first"


def test_a_missing_ring_says_so(ringed: Settings, ring: Path) -> None:
    ring.unlink()
    with pytest.raises(FatalError, match="MILPA_SEAL_KEYS_FILE"):
        Seal.from_settings(ringed)


def test_a_data_directory_of_old_keeps_its_key(tmp_path: Path) -> None:
    folders = DataDir(tmp_path)
    key = new_key("local")
    folders.secrets.write_bytes(msgspec.json.encode({"seal_keys": key, "signing_key": "s" * 40}))
    assert load_or_make(folders).signing_key == "s" * 40
    assert folders.seal_keys.read_text().strip() == key
    assert folders.seal_keys.stat().st_mode & 0o777 == 0o600


def milpa(settings: Settings, *words: str, code: int = 0, **more: str) -> str:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MILPA_")}
    for name in ("database_url", "redis_url", "signing_key"):
        environ[f"MILPA_{name.upper()}"] = getattr(settings, name).reveal()
    done = subprocess.run([MILPA, *words], env=environ | more, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


async def test_the_command_over_a_ring_in_a_file(working: Database, ringed: Settings, ring: Path) -> None:
    tenant = await add_tenant(working)
    jobs = await fill(working, tenant)
    file = {"MILPA_SEAL_KEYS_FILE": str(ring)}
    assert "first" in await asyncio.to_thread(lambda: milpa(ringed, "rotate-keys", **file))
    assert len(keys_in(ring)) == 2
    await asyncio.to_thread(lambda: milpa(ringed, "rotate-keys", "--forget-old", **file))
    assert len(keys_in(ring)) == 1
    await readable(working, tenant, jobs)


async def test_the_command_over_a_ring_in_a_setting(
    database: Database, settings: Settings, owner: asyncpg.Connection
) -> None:
    del owner
    tenant = await add_tenant(database)
    jobs = await fill(database, tenant)
    old = settings.seal_keys.reveal()
    said = await asyncio.to_thread(lambda: milpa(settings, "rotate-keys", MILPA_SEAL_KEYS=old))
    new = said.partition("MILPA_SEAL_KEYS=$MILPA_SEAL_KEYS,")[2].partition("\n")[0]
    assert f"MILPA_SEAL_KEYS={new},$MILPA_SEAL_KEYS\n" in said
    assert old.partition(":")[2] not in said
    both = {"MILPA_SEAL_KEYS": f"{new},{old}"}
    refused = await asyncio.to_thread(lambda: milpa(settings, "rotate-keys", "--forget-old", code=2, **both))
    assert refused == ""
    await asyncio.to_thread(lambda: milpa(settings, "rotate-keys", **both))
    said = await asyncio.to_thread(lambda: milpa(settings, "rotate-keys", "--forget-old", **both))
    assert new.partition(":")[0] in said
    alone = await Database.connect(msgspec.structs.replace(settings, seal_keys=Secret(new)))
    await readable(alone, tenant, jobs)
    await alone.close()
