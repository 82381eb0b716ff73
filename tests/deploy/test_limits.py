"""`milpa limits`: one tenant's limits, set beside the database; none for who has the machine alone."""

import asyncio
from collections.abc import Sequence
from uuid import uuid4

import pytest
from click.testing import CliRunner

from deploy.cli import cli
from deploy.keys import make_admin_key
from deploy.limits import tenant_limits
from deploy.local.environment import environment
from deploy.local.servers import Servers
from milpa.errors import UsageError
from milpa.settings import NO_LIMITS, Settings
from storage.transaction import Database
from tests.deploy.operator import operators_deeds
from tests.support.stack import settings_of


@pytest.fixture
def name(stack: Servers) -> str:
    async def make(name: str) -> str:
        database = await Database.connect(settings_of(stack))
        async with database.fleet() as fleet:
            await fleet.tenants.create(name)
        await database.close()
        return name

    return asyncio.run(make(f"limits-{uuid4()}"))


def test_limits_are_set_kept_and_unset(stack: Servers, name: str) -> None:
    own = settings_of(stack)
    settings = Settings(database_url=own.database_url, seal_keys=own.seal_keys, signing_key=own.signing_key)
    assert tenant_limits(settings, name, [])["jobs_per_hour"] == (10, False)
    assert tenant_limits(settings, name, ["jobs_per_hour=500", "max_open_jobs=0"])["jobs_per_hour"] == (500, True)
    after = tenant_limits(settings, name, ["jobs_per_hour="])
    assert (after["jobs_per_hour"], after["max_open_jobs"]) == ((10, False), (0, True))
    assert tenant_limits(settings, name, []) == after


def test_whoever_sets_limits_or_makes_a_first_key_is_in_the_tenants_audit(
    stack: Servers, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(stack)
    for setting in ("database_url", "seal_keys", "signing_key"):
        monkeypatch.setenv(f"MILPA_{setting.upper()}", getattr(settings, setting).reveal())
    tenant_limits(settings, name, [])
    tenant_limits(settings, name, ["jobs_per_hour=500", "max_open_jobs=0"])
    make_admin_key(name)

    async def look() -> tuple[Sequence[tuple[str, list[str]]], list[str]]:
        database = await Database.connect(settings)
        async with database.fleet() as fleet:
            tenant = await fleet.tenants.get(name)
        assert tenant is not None
        async with database.transaction(tenant.id) as transaction:
            keys = [str(key.id) for key in await transaction.api_keys.good()]
        deeds = await operators_deeds(database, tenant.id)
        await database.close()
        return deeds, keys

    deeds, keys = asyncio.run(look())
    assert deeds == [("create_api_key", keys), ("set_limits", ["jobs_per_hour", "max_open_jobs"])]


@pytest.mark.parametrize(
    "change", ["jobs_per_hour=-1", "jobs_per_hour=many", "max_body_bytes=0", "seal_keys=x", "jobs"]
)
def test_what_is_no_limit_is_refused_and_changes_nothing(stack: Servers, name: str, change: str) -> None:
    settings = settings_of(stack)
    before = tenant_limits(settings, name, [])
    with pytest.raises(UsageError, match=r"jobs_per_hour|name=value"):
        tenant_limits(settings, name, ["streams_per_user=1", change])
    assert tenant_limits(settings, name, []) == before


def test_a_tenant_that_is_none(stack: Servers) -> None:
    with pytest.raises(UsageError, match="no tenant called 'nobody'"):
        tenant_limits(settings_of(stack), "nobody", [])


def test_the_command_shows_what_holds(stack: Servers, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own = settings_of(stack)
    for setting in ("database_url", "seal_keys", "signing_key"):
        monkeypatch.setenv(f"MILPA_{setting.upper()}", getattr(own, setting).reveal())
    shown = CliRunner().invoke(cli, ["limits", name, "downloads_per_day=7", "max_open_jobs=0"])
    assert shown.exit_code == 0, shown.output
    assert "             7  downloads_per_day  (its own)\n" in shown.output
    assert "            10  jobs_per_hour\n" in shown.output
    assert "      no limit  max_open_jobs  (its own)\n" in shown.output
    assert "    10,000,000  max_upload_bytes\n" in shown.output


def test_the_local_stack_has_no_limits_but_those_of_the_environment(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = Settings.from_env(environment(servers))
    assert {name: getattr(local, name) for name in NO_LIMITS} == NO_LIMITS
    monkeypatch.setenv("MILPA_JOBS_PER_HOUR", "3")
    assert Settings.from_env(environment(servers)).jobs_per_hour == 3
