"""`milpa limits`: what one tenant may do otherwise than all, set beside the database."""

import asyncio
from collections.abc import Iterable

import msgspec

from milpa.errors import UsageError
from milpa.settings import Settings, TenantLimits
from storage.transaction import Database


def tenant_limits(settings: Settings, tenant_name: str, changes: Iterable[str]) -> dict[str, tuple[float, bool]]:
    """Change the tenant's limits, then return each as it holds for it, and whether it is the tenant's own.

    changes: `name=value`, or `name=` for what holds for all. UsageError: an unknown tenant, name or value.
    """
    return asyncio.run(_change(settings, tenant_name, dict(_parted(change) for change in changes)))


def _parted(change: str) -> tuple[str, str]:
    name, equals, value = change.partition("=")
    if not equals:
        raise UsageError("bad_limit", f"{change!r} is not of the form name=value.")
    return name, value


async def _change(settings: Settings, tenant_name: str, changes: dict[str, str]) -> dict[str, tuple[float, bool]]:
    database = await Database.connect(settings)
    try:
        async with database.fleet() as fleet:
            tenant = await fleet.tenants.get(tenant_name)
            if tenant is None:
                raise UsageError("unknown_tenant", f"There is no tenant called {tenant_name!r}.")
            limits = _merged(tenant.limits, changes)
            if changes:
                await fleet.tenants.set_limits(tenant.id, limits)
                await fleet.audit.operator("set_limits", list(changes), tenant.id)
    finally:
        await database.close()
    own, effective = msgspec.to_builtins(limits), settings.with_limits(limits)
    return {name: (getattr(effective, name), name in own) for name in TenantLimits.__struct_fields__}


def _merged(limits: TenantLimits, changes: dict[str, str]) -> TenantLimits:
    merged = {**msgspec.to_builtins(limits), **changes}
    try:
        return msgspec.convert(
            {name: value for name, value in merged.items() if value != ""}, TenantLimits, strict=False
        )
    except msgspec.ValidationError as error:
        raise UsageError("bad_limit", f"{error}; the limits are {', '.join(TenantLimits.__struct_fields__)}.") from None
