"""Limits of users and tenants: what a request takes, how its answer tells what is left, and the refusal.

`RateLimit-Policy` and `RateLimit` as in draft-ietf-httpapi-ratelimit-headers: `q` units in any `w` seconds, `r` of them
left for the next `t` seconds. Where Redis is away, jobs are refused (503), files and streams are not.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from hashlib import sha256

import msgspec
from litestar.types import Message, Scope

from api.bodies import AnyRequest
from api.problem_details import ProblemError
from api.services import services_of, settings_for
from api.trails import transaction_of
from milpa.errors import TransientError
from storage.limiter import Budget, Pool, Taken
from storage.transaction import Transaction

HOUR, DAY = 3600, 86_400
OPEN_JOBS = "open-jobs"
_OPEN_JOBS_RETRY_SECONDS = 30
_AWAY_RETRY_SECONDS = 2
_MANY_SECONDS = 120
"""From here on people are told minutes."""
LIMITED = ("RateLimit-Policy", "RateLimit")
_HEADERS = "rate_limit_headers"


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A limit before it is somebody's. setting: says its quota; window: in seconds, 0 for a limit of things at once."""

    name: str
    setting: str
    words: str
    window: int = 0
    per_user: bool = False


JOBS = (
    Rule(name="jobs", setting="jobs_per_hour", words="jobs an hour for each user", window=HOUR, per_user=True),
    Rule(name="tenant-jobs", setting="tenant_jobs_per_hour", words="jobs an hour for a tenant", window=HOUR),
)
DOWNLOADS = (
    Rule(name="downloads", setting="downloads_per_day", words="files a day for each user", window=DAY, per_user=True),
    Rule(name="tenant-downloads", setting="tenant_downloads_per_day", words="files a day for a tenant", window=DAY),
)
STREAMS = (
    Rule(name="streams", setting="streams_per_user", words="open streams for each user", per_user=True),
    Rule(name="tenant-streams", setting="streams_per_tenant", words="open streams for a tenant"),
)


class Policy(msgspec.Struct, frozen=True):
    """A limit of the one who asks, counted under a key."""

    rule: Rule
    key: str
    quota: int

    @property
    def budget(self) -> Budget:
        """What it is to the limiter when it goes by time."""
        return Budget(self.key, self.quota, self.rule.window)

    @property
    def pool(self) -> Pool:
        """What it is to the limiter when it is of things at once."""
        return Pool(self.key, self.quota)


def policies(request: AnyRequest, rules: Sequence[Rule]) -> list[Policy]:
    """Return those of the rules that bind the one who asks."""
    settings, principal = settings_for(request), request.user
    user = sha256(f"{principal.kind}:{principal.subject}".encode()).hexdigest()
    found = []
    for rule in rules:
        quota = getattr(settings, rule.setting)
        if quota:  # the braces keep a tenant's keys on one node of a cluster
            key = f"milpa:limit:{{{principal.tenant}}}:{rule.name}"
            found.append(Policy(rule, f"{key}:{user}" if rule.per_user else key, quota))
    return found


@asynccontextmanager
async def making_jobs(request: AnyRequest) -> AsyncIterator[Transaction]:
    """Open a transaction that makes jobs as far as the limits allow; when it fails, what it took is given back.

    Replays make no job and take nothing.
    """
    mine, taken = policies(request, JOBS), list[tuple[int, Taken]]()
    budgets = [policy.budget for policy in mine]
    services = services_of(request)
    most = settings_for(request).max_open_jobs

    async def permit(count: int) -> None:
        if most:
            await _check_room(request, transaction, count, most)
        if mine:
            taken.append((count, await _take_jobs(request, mine, count)))

    try:
        async with transaction_of(request) as transaction:
            if most or mine:
                transaction.jobs.ask_before_making(permit)
            yield transaction
    except BaseException:
        with suppress(TransientError):
            for count, when in taken:
                await services.limiter.give_back(budgets, count, when)
        raise


async def _check_room(request: AnyRequest, transaction: Transaction, count: int, most: int) -> None:
    await transaction.jobs.count_alone()
    room = max(0, most - await transaction.jobs.open_jobs(most))
    if count > room:
        _tell(request, [f'"{OPEN_JOBS}";q={most};qu="concurrent-requests"'], [f'"{OPEN_JOBS}";r={room}'])
        detail = f"The limit is {most:,} jobs that have not ended for a tenant; this makes {count:,}, {room:,} may be."
        raise _refusal("too-many-open-jobs", detail, None if count > most else _OPEN_JOBS_RETRY_SECONDS)


async def _take_jobs(request: AnyRequest, mine: Sequence[Policy], count: int) -> Taken:
    try:
        return await _take(request, mine, count)
    except TransientError as error:
        raise ProblemError(
            503, "limits-unavailable", error.message, headers={"Retry-After": str(_AWAY_RETRY_SECONDS)}
        ) from None


async def take_download(request: AnyRequest) -> None:
    """Take one file from the budgets of the one who asks, or refuse it: 429."""
    if mine := policies(request, DOWNLOADS):
        with suppress(TransientError):
            await _take(request, mine, 1)


async def _take(request: AnyRequest, mine: Sequence[Policy], units: int) -> Taken:
    taken = await services_of(request).limiter.take([policy.budget for policy in mine], units)
    stand = list(zip(mine, taken.standings, strict=True))
    _tell(
        request,
        [f'"{policy.rule.name}";q={policy.quota};w={policy.rule.window}' for policy in mine],
        [f'"{policy.rule.name}";r={standing.left};t={standing.first_back}' for policy, standing in stand],
    )
    if not taken.ok:
        policy, standing = max(stand, key=lambda pair: (units > pair[0].quota, pair[1].fits_in))
        raise _exceeded(policy, units, standing.left, standing.fits_in)
    return taken


async def take_place(request: AnyRequest, lease: str) -> list[Pool]:
    """Take a place among the open streams of the one who asks, or refuse it: 429. Returns where it is to be kept."""
    mine = policies(request, STREAMS)
    pools = [policy.pool for policy in mine]
    if not mine:
        return []
    with suppress(TransientError):
        held = await services_of(request).limiter.hold(pools, lease)
        _tell(
            request,
            [f'"{policy.rule.name}";q={policy.quota};qu="concurrent-requests"' for policy in mine],
            [f'"{policy.rule.name}";r={left}' for policy, left in zip(mine, held.left, strict=True)],
        )
        if not held.ok:
            raise _exceeded(mine[held.left.index(0)], 1, 0, _AWAY_RETRY_SECONDS)
    return pools


def _exceeded(policy: Policy, units: int, left: int, seconds: int) -> ProblemError:
    detail = f"The limit is {policy.quota:,} {policy.rule.words}; {left:,} are left, and this takes {units:,}."
    return _refusal("quota-exceeded", detail, None if units > policy.quota else max(1, seconds))


def _refusal(slug: str, detail: str, seconds: int | None) -> ProblemError:
    """Return a 429 that says when to ask again; None: what asks for more than the whole limit has never room."""
    if seconds is None:
        return ProblemError(429, slug, f"{detail} That never fits: ask for less at once.")
    soon = f"{seconds} s" if seconds < _MANY_SECONDS else f"{-(-seconds // 60)} minutes"
    return ProblemError(429, slug, f"{detail} Ask again in {soon}.", headers={"Retry-After": str(seconds)})


def _tell(request: AnyRequest, allowed: list[str], left: list[str]) -> None:
    request.scope["state"][_HEADERS] = [
        (b"ratelimit-policy", ", ".join(allowed).encode()),
        (b"ratelimit", ", ".join(left).encode()),
    ]


async def tell_limits(message: Message, scope: Scope) -> None:
    """Put the limits that this request was counted against on the head of its answer."""
    if message["type"] == "http.response.start" and _HEADERS in scope["state"]:
        message["headers"] = [*message.get("headers", []), *scope["state"][_HEADERS]]
