"""What is left of the limits of the one who asks."""

from contextlib import suppress

import msgspec

from api.bodies import AnyRequest
from api.limits import DOWNLOADS, JOBS, OPEN_JOBS, STREAMS, policies
from api.services import services_of, settings_for
from milpa.errors import TransientError


class Quota(msgspec.Struct, frozen=True, kw_only=True):
    """A limit, under the name that `RateLimit-Policy` has for it, and what is left of it now.

    window_seconds: the quota is for any time so long; null: for things at once. left: null while it can't be counted.
    """

    name: str
    quota: int
    window_seconds: int | None
    left: int | None


async def quotas_of(request: AnyRequest) -> list[Quota]:
    """Return the quotas that bind the one who asks; nothing is taken from them."""
    return [*await _over_time(request), *await _at_once(request), *await _open_jobs(request)]


async def _over_time(request: AnyRequest) -> list[Quota]:
    mine = policies(request, (*JOBS, *DOWNLOADS))
    left: list[int | None] = [None] * len(mine)
    if mine:
        with suppress(TransientError):
            looked = await services_of(request).limiter.take([policy.budget for policy in mine], 0)
            left = [standing.left for standing in looked.standings]
    return [
        Quota(name=policy.rule.name, quota=policy.quota, window_seconds=policy.rule.window, left=rest)
        for policy, rest in zip(mine, left, strict=True)
    ]


async def _at_once(request: AnyRequest) -> list[Quota]:
    mine = policies(request, STREAMS)
    left: list[int | None] = [None] * len(mine)
    if mine:
        with suppress(TransientError):
            left = list((await services_of(request).limiter.hold([policy.pool for policy in mine], "")).left)
    return [
        Quota(name=policy.rule.name, quota=policy.quota, window_seconds=None, left=rest)
        for policy, rest in zip(mine, left, strict=True)
    ]


async def _open_jobs(request: AnyRequest) -> list[Quota]:
    most = settings_for(request).max_open_jobs
    if not most:
        return []
    async with services_of(request).database.transaction(request.user.tenant) as transaction:
        left = max(0, most - await transaction.jobs.open_jobs(most))
    return [Quota(name=OPEN_JOBS, quota=most, window_seconds=None, left=left)]
