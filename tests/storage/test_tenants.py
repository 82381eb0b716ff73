"""Tenants and API keys: shown once, stored as a keyed hash, ended at once."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from msgspec.structs import replace

from milpa.errors import UsageError
from milpa.settings import Secret, Settings
from storage import api_keys
from storage.rows import ApiKeyRow, NewApiKey, Role
from storage.transaction import Database
from tests.storage.steps import add_tenant


async def make_key(database: Database, tenant: UUID, **changes: Any) -> NewApiKey:
    async with database.fleet() as fleet:
        return await fleet.tenants.create_key(tenant, "a key", changes.pop("role", Role.PLANNER), **changes)


async def authenticate(database: Database, secret: str) -> ApiKeyRow | None:
    async with database.lookups() as tenants:
        return await tenants.authenticate(secret)


async def test_a_key_says_whose_it_is_and_what_it_may_do(database: Database, tenant: UUID) -> None:
    key = await make_key(database, tenant, role=Role.MANAGER, scopes=["jobs"])
    row = await authenticate(database, key.secret)
    assert (row.id, row.tenant_id, row.role, row.scopes, row.name) == (
        *(key.row.id, tenant, Role.MANAGER),
        *(["jobs"], "a key"),
    )
    assert key.secret.startswith(f"mlp_{row.prefix}_")
    assert len(key.secret) > 60


async def test_the_secret_is_not_in_the_database(database: Database, tenant: UUID, owner: asyncpg.Connection) -> None:
    key = await make_key(database, tenant)
    stored = str(await owner.fetch("SELECT * FROM api_keys"))
    assert key.secret.rpartition("_")[2] not in stored
    assert key.row.prefix in stored


@pytest.mark.parametrize(
    "change",
    [
        lambda secret: secret[:-1] + ("0" if secret[-1] != "0" else "1"),
        lambda secret: secret + "0",
        lambda secret: secret[:-1],
        lambda secret: secret.replace("mlp_", "mlq_"),
        lambda secret: secret.upper(),
        lambda secret: secret.rpartition("_")[0],
        lambda _: "",
        lambda _: "mlp_",
        lambda _: "mlp__",
        lambda _: "' OR true --",
        lambda _: "mlp_\x00_x",
        lambda _: "mlp_ü_ü",
    ],
)
async def test_nothing_but_the_secret_itself_is_let_in(
    database: Database, tenant: UUID, change: Callable[[str], str]
) -> None:
    key = await make_key(database, tenant)
    assert await authenticate(database, change(key.secret)) is None


async def test_a_key_ends_when_it_is_revoked_and_only_by_its_own_tenant(database: Database, tenant: UUID) -> None:
    key = await make_key(database, tenant)
    other = await add_tenant(database)
    async with database.transaction(other) as tx:
        assert await tx.api_keys.revoke(key.row.id) is None
        assert await tx.api_keys.list(10) == await tx.api_keys.good() == []
    assert await authenticate(database, key.secret) is not None
    async with database.transaction(tenant) as tx:
        assert [row.id for row in await tx.api_keys.good()] == [key.row.id]
        revoked = await tx.api_keys.revoke(key.row.id)
        assert await tx.api_keys.revoke(key.row.id) == revoked
        assert await tx.api_keys.list(10) == [revoked]
        assert await tx.api_keys.good() == []
    assert revoked is not None
    assert revoked.revoked_at is not None
    assert await authenticate(database, key.secret) is None


async def test_a_key_ends_at_its_time(database: Database, tenant: UUID) -> None:
    now = datetime.now(UTC)
    good = await make_key(database, tenant, expires_at=now + timedelta(hours=1))
    ended = await make_key(database, tenant, expires_at=now - timedelta(seconds=1))
    assert await authenticate(database, good.secret) is not None
    assert await authenticate(database, ended.secret) is None


async def test_the_last_two_keys_do_not_end_each_other_at_once(database: Database, tenant: UUID) -> None:
    keys = [await make_key(database, tenant, role=Role.ADMIN) for _ in range(2)]

    async def revoke(key: NewApiKey) -> None:
        async with database.transaction(tenant) as tx:
            await tx.api_keys.revoke(key.row.id)
            if not await tx.api_keys.good():
                raise UsageError("last_key", "as a caller does")

    ended = await asyncio.gather(*(revoke(key) for key in keys), return_exceptions=True)
    assert [type(one) for one in ended].count(UsageError) == 1
    async with database.transaction(tenant) as tx:
        assert len(await tx.api_keys.good()) == 1


async def test_a_tenant_has_no_more_keys_than_it_may(
    database: Database, tenant: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_keys, "MAX_KEYS", 2)
    for _ in range(2):
        await make_key(database, tenant)
    with pytest.raises(UsageError, match="revoke one first"):
        await make_key(database, tenant)
    await make_key(database, await add_tenant(database))


async def test_a_key_that_is_being_noted_by_one_is_not_waited_for_by_another(
    database: Database, tenant: UUID, owner: asyncpg.Connection
) -> None:
    key = await make_key(database, tenant)
    async with owner.transaction():
        await owner.execute("SELECT * FROM api_keys WHERE id = $1 FOR UPDATE", key.row.id)
        assert await asyncio.wait_for(authenticate(database, key.secret), 30) is not None


async def test_a_new_key_shows_its_secret_to_nobody_who_prints_it(database: Database, tenant: UUID) -> None:
    key = await make_key(database, tenant)
    assert key.secret not in repr(key) + str(key)
    assert key.row.prefix in repr(key)


async def test_use_is_noted_once_a_minute(database: Database, tenant: UUID, owner: asyncpg.Connection) -> None:
    key = await make_key(database, tenant)
    assert key.row.last_used_at is None
    await authenticate(database, key.secret)
    first = await owner.fetchval("SELECT last_used_at FROM api_keys")
    await authenticate(database, key.secret)
    assert await owner.fetchval("SELECT last_used_at FROM api_keys") == first
    await owner.execute("UPDATE api_keys SET last_used_at = now() - interval '2 minutes'")
    await authenticate(database, key.secret)
    assert await owner.fetchval("SELECT last_used_at FROM api_keys") >= first


async def test_keys_of_an_installation_with_another_signing_key_are_not_good(
    database: Database, tenant: UUID, settings: Settings
) -> None:
    key = await make_key(database, tenant)
    other = await Database.connect(replace(settings, signing_key=Secret("another signing key, also long enough")))
    assert await authenticate(other, key.secret) is None
    await other.close()


async def test_a_tenants_name_is_its_own(database: Database) -> None:
    async with database.fleet() as fleet:
        made = await fleet.tenants.create("school", max_running=3)
        assert await fleet.tenants.get("school") == made == await fleet.tenants.get(made.id)
        assert await fleet.tenants.get("other") is None
        with pytest.raises(UsageError) as refused:
            await fleet.tenants.create("school")
    assert refused.value.code == "tenant_exists"


@pytest.mark.parametrize(
    "name", ["", "a" * 256, "cafe\u0301", "a\nb", "a\x00", "\u202eloohcs", "0198f2c6-0000-7000-8000-000000000000"]
)
async def test_a_name_that_could_be_taken_for_another_names_no_tenant(database: Database, name: str) -> None:
    async with database.fleet() as fleet:
        with pytest.raises(UsageError) as refused:
            await fleet.tenants.create(name)
    assert refused.value.code == "bad_tenant_name"


async def test_the_local_tenant_is_made_once_and_its_good_key_is_kept(database: Database) -> None:
    async with database.fleet() as fleet:
        tenant, secret = await fleet.tenants.ensure_local()
    async with database.fleet() as fleet:
        assert await fleet.tenants.ensure_local(secret) == (tenant, secret)
    row = await authenticate(database, secret)
    assert (row.tenant_id, row.role) == (tenant.id, Role.ADMIN)
    for known in (None, "", "mlp_not_good"):
        async with database.fleet() as fleet:
            again, fresh = await fleet.tenants.ensure_local(known)
        assert (again, fresh != secret) == (tenant, True)
        assert await authenticate(database, fresh) is not None


async def test_a_key_that_is_no_local_admins_is_replaced(database: Database, tenant: UUID) -> None:
    foreign = await make_key(database, tenant, role=Role.ADMIN)
    async with database.fleet() as fleet:
        local, _ = await fleet.tenants.ensure_local()
        viewer = await fleet.tenants.create_key(local.id, "viewer", Role.VIEWER)
    for known in (foreign.secret, viewer.secret):
        async with database.fleet() as fleet:
            assert (await fleet.tenants.ensure_local(known))[1] != known


async def test_two_that_make_the_local_tenant_at_once_make_one(database: Database) -> None:
    async def ensure() -> UUID:
        async with database.fleet() as fleet:
            return (await fleet.tenants.ensure_local())[0].id

    assert len(set(await asyncio.gather(*(ensure() for _ in range(6))))) == 1
