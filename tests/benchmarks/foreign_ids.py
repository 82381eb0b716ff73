"""Can a clock tell another tenant's id from one that nobody has? Times of both 404s, in turn, on one API process.

Told apart: how often a foreign id takes longer than a missing one, of all pairs; 50 % is tossing a coin (Mann-Whitney).
"""

import asyncio
import time
from collections.abc import Sequence
from statistics import median
from uuid import UUID

import httpx
import uvloop
from litestar import Litestar
from scipy.stats import mannwhitneyu

from api.main import create_app
from milpa.jobs import JobState, Outcome, new_id
from milpa.settings import Settings
from storage.migrate import migrate
from storage.rows import Ending, NewFile, NewJob, Role
from storage.transaction import Database
from storage.webhook_rows import NewEndpoint
from tests.support.stack import running_servers, settings_of

ROUNDS = 2000
WARM_UP = 200
NAME = "deals.csv"
CALLS = (
    ("GET", "/v1/jobs/{job}"),
    ("GET", "/v1/jobs/{job}/result"),
    ("GET", f"/v1/jobs/{{job}}/files/{NAME}"),
    ("DELETE", "/v1/jobs/{job}"),
    ("GET", "/v1/webhooks/{webhook}"),
    ("DELETE", "/v1/api-keys/{key}"),
)


def main() -> None:
    """Measure and print."""
    with running_servers() as servers:
        settings = settings_of(servers)
        asyncio.run(migrate(settings))
        uvloop.run(_measure(settings))


async def _measure(settings: Settings) -> None:
    app = create_app(settings)
    async with app.lifespan():
        foreign, secret = await _two_tenants(app.state.services.database)
        for method, path in CALLS:
            theirs, nobodys = await _times(app, secret, method, path, foreign)
            more = mannwhitneyu(theirs, nobodys)
            share = more.statistic / (len(theirs) * len(nobodys))
            print(
                f"{method:6} {path:32} foreign {1e3 * median(theirs):.3f} ms, missing {1e3 * median(nobodys):.3f} ms, "
                f"told apart {share:6.1%} (p = {more.pvalue:.2f})"
            )


async def _times(
    app: Litestar, secret: str, method: str, path: str, foreign: dict[str, UUID]
) -> tuple[Sequence[float], Sequence[float]]:
    """Return the seconds of answers about foreign things and about missing ones, asked in turn."""
    times: tuple[list[float], list[float]] = ([], [])
    headers = {"Authorization": f"Bearer {secret}"}
    transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://milpa.test", headers=headers) as http:
        missing = {name: new_id() for name in foreign}  # as often the same as the foreign ones: routes are cached
        addresses = [path.format(**ids) for ids in (foreign, missing)]
        for number in range(ROUNDS + WARM_UP):
            for which in (number % 2, 1 - number % 2):
                began = time.perf_counter()
                answer = await http.request(method, addresses[which])
                times[which].append(time.perf_counter() - began)
                assert answer.status_code == httpx.codes.NOT_FOUND
    return times[0][WARM_UP:], times[1][WARM_UP:]


async def _two_tenants(database: Database) -> tuple[dict[str, UUID], str]:
    """Return ids of things that one tenant has, and the key of another's administrator."""
    async with database.fleet() as fleet:
        one, other = [await fleet.tenants.create(name) for name in ("one", "other")]
        secret = (await fleet.tenants.create_key(other.id, "curious", Role.ADMIN)).secret
    async with database.transaction(one.id) as transaction:
        job = (await transaction.jobs.submit(NewJob(kind="deal-picker", kind_version=1, input=b"{}"))).job
        webhook, _ = await transaction.webhooks.create(NewEndpoint(url="https://example.org/"))
        key = await transaction.api_keys.create("theirs", Role.VIEWER)
    async with database.transaction(one.id) as transaction:
        claim = await transaction.jobs.claim(job.id, job.dispatch_no, new_id(), 600.0)
    assert claim is not None
    file = NewFile(name=NAME, format="csv", media_type="text/csv", size=1, sha256="00", object_key="none")
    ending = Ending(state=JobState.SUCCEEDED, outcome=Outcome.OPTIMAL, result=b"{}", report=b"{}", files=[file])
    async with database.transaction(one.id) as transaction:
        await transaction.jobs.finish(claim.ref, ending)
    return {"job": job.id, "webhook": webhook.id, "key": key.row.id}, secret


if __name__ == "__main__":
    main()
