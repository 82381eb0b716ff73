"""`milpa key`: the first key of a tenant, made beside the database because nobody has one yet to ask the API with."""

import asyncio

from milpa.settings import Settings
from storage.rows import Role
from storage.transaction import Database


def make_admin_key(tenant_name: str) -> str:
    """Return a new admin key of the tenant, which is made when there is none."""
    return asyncio.run(_make(Settings.from_env(), tenant_name))


async def _make(settings: Settings, tenant_name: str) -> str:
    database = await Database.connect(settings)
    try:
        async with database.fleet() as fleet:
            tenant = await fleet.tenants.get(tenant_name) or await fleet.tenants.create(tenant_name)
            made = await fleet.tenants.create_key(tenant.id, "admin", Role.ADMIN)
            await fleet.audit.operator("create_api_key", [str(made.row.id)], tenant.id)
            return made.secret
    finally:
        await database.close()
