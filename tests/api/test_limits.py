"""Limits as callers meet them: what is taken, what is told, who is refused."""

import asyncio
import hashlib
import math
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest
from litestar import Litestar
from redis.asyncio import Redis
from structlog.testing import capture_logs

from api import tenant_settings
from api.limits import DAY, HOUR
from api.main import create_app
from deploy.local.servers import Servers
from milpa.jobs import FileFormat
from milpa.settings import NO_LIMITS, Settings, TenantLimits
from storage.migrate import migrate
from storage.rows import NewFile, Role
from storage.transaction import Database
from tests.api.conftest import NewKey, client, running, served
from tests.api.deals import SUBMIT, body, problem
from tests.api.jobs import JobDriver
from tests.api.test_schedules import nightly
from tests.faults.servers import away
from tests.support.stack import running_servers, settings_of
from tests.support.waiting import until

FEW = {"jobs_per_hour": 10, "tenant_jobs_per_hour": 14, "downloads_per_day": 2, "max_open_jobs": 40}
_STREAM = {"Accept": "text/event-stream"}


@pytest.fixture(scope="module")
async def limited_app(stack: Servers) -> AsyncIterator[Litestar]:
    async with running(create_app(msgspec.structs.replace(settings_of(stack), **FEW))) as app:
        yield app


@pytest.fixture
async def limited(limited_app: Litestar, key: str) -> AsyncIterator[httpx.AsyncClient]:
    async with client(limited_app, key) as http:
        yield http


@pytest.fixture
async def colleague(limited_app: Litestar, new_key: NewKey, tenant: UUID) -> AsyncIterator[httpx.AsyncClient]:
    """Another user of the same tenant."""
    async with client(limited_app, await new_key(tenant)) as http:
        yield http


async def left(http: httpx.AsyncClient) -> dict[str, int]:
    return {quota["name"]: quota["left"] for quota in (await http.get("/v1/me")).json()["quotas"]}


def refused(answer: httpx.Response, slug: str = "quota-exceeded") -> httpx.Response:
    assert (answer.status_code, answer.headers["content-type"]) == (429, "application/problem+json"), answer.text
    assert answer.json()["type"] == f"/problems/{slug}"
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["ratelimit-policy"]
    assert answer.headers["ratelimit"]
    return answer


def never_fits(answer: httpx.Response, slug: str = "quota-exceeded") -> None:
    """Refused, and no time is named after which it would not be."""
    assert (answer.status_code, answer.json()["type"]) == (429, f"/problems/{slug}")
    assert answer.json()["detail"].endswith("That never fits: ask for less at once.")
    assert "retry-after" not in answer.headers
    assert answer.headers["ratelimit"]


async def test_headers_name_the_policies_and_what_is_left(limited: httpx.AsyncClient) -> None:
    answer = await limited.post(SUBMIT, json=body())
    assert answer.status_code == 202
    assert answer.headers["ratelimit-policy"] == '"jobs";q=10;w=3600, "tenant-jobs";q=14;w=3600'
    found = re.fullmatch(r'"jobs";r=9;t=(\d+), "tenant-jobs";r=13;t=(\d+)', answer.headers["ratelimit"])
    assert found
    assert all(HOUR <= int(seconds) <= HOUR * 61 / 60 for seconds in found.groups())


async def test_the_eleventh_job_of_an_hour_is_refused(limited: httpx.AsyncClient) -> None:
    for _ in range(10):
        assert (await limited.post(SUBMIT, json=body())).status_code == 202
    answer = refused(await limited.post(SUBMIT, json=body()))
    seconds = int(answer.headers["retry-after"])
    assert HOUR - 60 <= seconds <= HOUR * 61 / 60
    said = "The limit is 10 jobs an hour for each user; 0 are left, and this takes 1. Ask again in {} minutes."
    assert answer.json()["detail"] == said.format(math.ceil(seconds / 60))
    assert len((await limited.get("/v1/jobs", params={"limit": 50})).json()["items"]) == 10


async def test_of_a_hundred_at_once_ten_get_through(limited: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(limited.post(SUBMIT, json=body()) for _ in range(100)))
    assert sorted(answer.status_code for answer in answers) == [202] * 10 + [429] * 90
    assert await left(limited) | {"open-jobs": 30} == {"jobs": 0, "tenant-jobs": 4, "downloads": 2, "open-jobs": 30}


async def test_two_processes_share_one_budget(limited: httpx.AsyncClient, stack: Servers, key: str) -> None:
    other_app = create_app(msgspec.structs.replace(settings_of(stack), **FEW))
    async with running(other_app), client(other_app, key) as other:
        answers = await asyncio.gather(
            *((limited if number % 2 else other).post(SUBMIT, json=body()) for number in range(30))
        )
    assert sum(answer.status_code == 202 for answer in answers) == 10


async def test_users_have_budgets_of_their_own_within_their_tenants(
    limited: httpx.AsyncClient, colleague: httpx.AsyncClient
) -> None:
    jobs = [{"kind": "deal-picker", **body()}]
    assert (await limited.post("/v1/batches", json={"jobs": jobs * 10})).status_code == 202
    assert await left(colleague) == {"jobs": 10, "tenant-jobs": 4, "downloads": 2, "open-jobs": 30}
    answer = refused(await colleague.post("/v1/batches", json={"jobs": jobs * 5}))
    assert "14 jobs an hour for a tenant" in answer.json()["detail"]
    assert (await colleague.post("/v1/batches", json={"jobs": jobs * 4})).status_code == 202


async def test_another_tenant_is_not_touched(
    limited: httpx.AsyncClient, limited_app: Litestar, database: Database, new_key: NewKey
) -> None:
    jobs = [{"kind": "deal-picker", **body()}]
    assert (await limited.post("/v1/batches", json={"jobs": jobs * 10})).status_code == 202
    async with database.fleet() as fleet:
        other = await fleet.tenants.create(f"other-{uuid4()}")
    async with client(limited_app, await new_key(other.id)) as http:
        assert (await left(http))["tenant-jobs"] == 14


# What takes how much

Post = Callable[[httpx.AsyncClient, JobDriver], Awaitable[httpx.Response]]


async def ended(http: httpx.AsyncClient, driver: JobDriver) -> str:
    job = (await http.post(SUBMIT, json=body())).json()["id"]
    await driver.succeed(job)
    return str(job)


async def batch(http: httpx.AsyncClient, _driver: JobDriver) -> httpx.Response:
    return await http.post("/v1/batches", json={"jobs": [{"kind": "deal-picker", **body()}] * 3})


async def what_if(http: httpx.AsyncClient, driver: JobDriver) -> httpx.Response:
    cases = [{"patch": {"budget": budget}} for budget in (1e5, 2e5, 3e5)]
    return await http.post(f"/v1/jobs/{await ended(http, driver)}/what-if", json={"cases": cases})


async def frontier(http: httpx.AsyncClient, driver: JobDriver) -> httpx.Response:
    asked = {"against": "budget", "points": 4, "from": 1e5, "to": 2e5}
    return await http.post(f"/v1/jobs/{await ended(http, driver)}/frontier", json=asked)


async def why_not(http: httpx.AsyncClient, driver: JobDriver) -> httpx.Response:
    return await http.post(f"/v1/jobs/{await ended(http, driver)}/why-not", json={"force": {"deal_id": "D"}})


async def retry(http: httpx.AsyncClient, _driver: JobDriver) -> httpx.Response:
    job = (await http.post(SUBMIT, json=body())).json()["id"]
    await http.post(f"/v1/jobs/{job}/cancel")
    return await http.post(f"/v1/jobs/{job}/retry")


async def retry_batch(http: httpx.AsyncClient, driver: JobDriver) -> httpx.Response:
    made = (await http.post("/v1/batches", json={"jobs": [{"kind": "deal-picker", **body()}] * 3})).json()
    for job in made["jobs"][:2]:
        await driver.fail(job["id"])
    return await http.post(f"/v1/batches/{made['id']}/retry")


async def run_now(http: httpx.AsyncClient, _driver: JobDriver) -> httpx.Response:
    schedule = (await http.post("/v1/schedules", json=nightly())).json()
    return await http.post(f"{schedule['links']['self']}/run")


@pytest.mark.parametrize(
    ("post", "takes"),
    [
        (batch, 3),
        (what_if, 1 + 3),
        (frontier, 1 + 4),
        (why_not, 1 + 1),
        (retry, 1 + 1),
        (retry_batch, 3 + 2),
        (run_now, 2),
    ],
)
async def test_what_makes_jobs_takes_as_many(
    limited: httpx.AsyncClient, driver: JobDriver, post: Post, takes: int
) -> None:
    answer = await post(limited, driver)
    assert answer.status_code == 202, answer.text
    assert (await left(limited))["jobs"] == 10 - takes
    assert f'"jobs";r={10 - takes};' in answer.headers["ratelimit"]


async def test_what_makes_no_job_takes_nothing(limited: httpx.AsyncClient) -> None:
    keyed = {"Idempotency-Key": "once"}
    first = await limited.post(SUBMIT, json=body(), headers=keyed)
    assert (await left(limited))["jobs"] == 9
    replay = await limited.post(SUBMIT, json=body(), headers=keyed)
    assert replay.json()["id"] == first.json()["id"]
    assert "ratelimit" not in replay.headers
    assert (await limited.post(SUBMIT, json=body(name="other"), headers=keyed)).status_code == 422
    assert (await limited.post(SUBMIT, json=body(), params={"validate_only": True})).status_code == 200
    assert (await limited.post(SUBMIT, json={"problem": problem(budget=-1)})).status_code == 422
    assert (await limited.post(SUBMIT, content=b"{", headers={"Content-Type": "application/json"})).status_code == 400
    many = {"jobs": [{"kind": "deal-picker", **body()}, {"kind": "deal-picker"}]}
    assert (await limited.post("/v1/batches", json=many)).status_code == 422
    assert (await left(limited))["jobs"] == 9


async def test_a_replay_is_answered_when_nothing_is_left(limited: httpx.AsyncClient) -> None:
    many = {"jobs": [{"kind": "deal-picker", **body()}] * 10}
    first = await limited.post("/v1/batches", json=many, headers={"Idempotency-Key": "ten"})
    refused(await limited.post(SUBMIT, json=body()))
    again = await limited.post("/v1/batches", json=many, headers={"Idempotency-Key": "ten"})
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])


async def test_a_batch_beyond_the_budget_makes_nothing_and_takes_nothing(limited: httpx.AsyncClient) -> None:
    many = {"jobs": [{"kind": "deal-picker", **body()}] * 11}
    never_fits(await limited.post("/v1/batches", json=many, headers={"Idempotency-Key": "eleven"}))
    assert (await left(limited))["jobs"] == 10
    assert (await limited.get("/v1/jobs")).json()["items"] == []
    fewer = {"jobs": many["jobs"][:10]}
    headers = {"Idempotency-Key": "eleven"}  # which a refused body does not use up
    assert (await limited.post("/v1/batches", json=fewer, headers=headers)).status_code == 202


async def test_what_was_taken_is_given_back_when_the_jobs_are_not_kept(
    limited: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from storage.submit import Submission

    async def fail(*_: Any) -> None:
        raise OSError

    monkeypatch.setattr(Submission, "_make", fail)
    assert (await limited.post(SUBMIT, json=body())).status_code == 500
    monkeypatch.undo()
    assert (await left(limited))["jobs"] == 10


# Open jobs, files, streams


async def test_open_jobs_of_a_tenant_are_counted_exactly(stack: Servers, key: str, driver: JobDriver) -> None:
    app = create_app(msgspec.structs.replace(settings_of(stack), max_open_jobs=5))
    async with running(app), client(app, key) as http:
        answers = await asyncio.gather(*(http.post(SUBMIT, json=body()) for _ in range(30)))
        assert sum(answer.status_code == 202 for answer in answers) == 5
        answer = refused(await http.post(SUBMIT, json=body()), "too-many-open-jobs")
        assert answer.headers["ratelimit"] == '"open-jobs";r=0'
        many = {"jobs": [{"kind": "deal-picker", **body()}] * 6}
        never_fits(await http.post("/v1/batches", json=many), "too-many-open-jobs")
        await driver.succeed(next(answer.json()["id"] for answer in answers if answer.status_code == 202))
        assert await left(http) == {"open-jobs": 1}
        assert (await http.post(SUBMIT, json=body())).status_code == 202


async def with_a_file(http: httpx.AsyncClient, driver: JobDriver) -> str:
    """Make a job that ends with a file; return where the file is."""
    job = (await http.post(SUBMIT, json=body())).json()["id"]
    file = NewFile(
        name="a.pdf",
        format=FileFormat.PDF,
        media_type="application/pdf",
        size=1,
        sha256=hashlib.sha256(b"a").hexdigest(),
        object_key=f"{driver.tenant}/{job}/1/a.pdf",
    )
    await driver.succeed(job, files=[file])
    return f"/v1/jobs/{job}/files/a.pdf"


async def test_files_a_day(limited: httpx.AsyncClient, driver: JobDriver) -> None:
    path = await with_a_file(limited, driver)
    assert (await limited.get(f"{path}.none")).status_code == 404  # which takes nothing
    answer = await limited.get(path)
    assert (answer.status_code, answer.headers["ratelimit-policy"]) == (302, f'"downloads";q=2;w={DAY}')
    assert answer.headers["ratelimit"].startswith('"downloads";r=1;t=')
    assert (await limited.get(path)).status_code == 302
    refused(await limited.get(path))


@asynccontextmanager
async def streaming(http: httpx.AsyncClient) -> AsyncIterator[httpx.Response]:
    async with http.stream("GET", "/v1/events", headers=_STREAM) as stream:
        if stream.status_code != 200:
            await stream.aread()
        yield stream


@pytest.fixture
async def two_streams(stack: Servers, key: str) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    """One user at two API processes that allow two streams."""
    few = msgspec.structs.replace(settings_of(stack), streams_per_user=2, streams_per_tenant=3)
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        running(create_app(few)) as one,
        running(create_app(few)) as other,
        served(one) as one_address,
        served(other) as other_address,
        httpx.AsyncClient(base_url=one_address, headers=headers, timeout=60) as first,
        httpx.AsyncClient(base_url=other_address, headers=headers, timeout=60) as second,
    ):
        yield first, second


async def test_streams_at_once_over_all_processes(
    two_streams: tuple[httpx.AsyncClient, httpx.AsyncClient], new_key: NewKey, tenant: UUID
) -> None:
    one, other = two_streams
    colleague = {"Authorization": f"Bearer {await new_key(tenant)}", **_STREAM}
    async with streaming(one) as first:
        assert first.headers["ratelimit-policy"] == (
            '"streams";q=2;qu="concurrent-requests", "tenant-streams";q=3;qu="concurrent-requests"'
        )
        assert first.headers["ratelimit"] == '"streams";r=1, "tenant-streams";r=2'
        async with streaming(other) as second:
            assert second.status_code == 200
            async with streaming(one) as third:
                refused(third)
            assert await left(one) == {"streams": 0, "tenant-streams": 1}
            async with one.stream("GET", "/v1/events", headers=colleague) as fourth:
                assert fourth.status_code == 200
                fifth = await other.get("/v1/events", headers=colleague)
                assert "open streams for a tenant" in refused(fifth).json()["detail"]

    async def all_free() -> bool:
        return await left(other) == {"streams": 2, "tenant-streams": 3}

    await until(all_free, seconds=15)  # which is less than a lease lives


async def test_a_stream_keeps_its_place_and_a_dead_process_loses_them(
    two_streams: tuple[httpx.AsyncClient, httpx.AsyncClient],
    monkeypatch: pytest.MonkeyPatch,
    redis: Redis,
    tenant: UUID,
) -> None:
    from api import stream_places

    monkeypatch.setattr(stream_places, "LEASE_SECONDS", 3.0)
    one, _ = two_streams
    async with streaming(one) as stream:
        assert stream.status_code == 200
        pool = f"milpa:limit:{{{tenant}}}:tenant-streams"
        [(lease, first)] = await redis.zrange(pool, 0, -1, withscores=True)

        async def renewed() -> bool:
            return float(await redis.zscore(pool, lease)) > first

        await until(renewed)
        # What a process leaves behind that died: a lease that nobody renews.
        await redis.zadd(pool, {"dead": float((await redis.time())[0]) + 3.0})
        assert (await left(one))["tenant-streams"] == 1

        async def forgotten() -> bool:
            return (await left(one))["tenant-streams"] == 2

        await until(forgotten)


# Sizes, of one tenant


async def test_a_tenant_has_limits_of_its_own(
    limited: httpx.AsyncClient, database: Database, tenant: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tenant_settings, "KNOWN_SECONDS", 0.0)
    own = TenantLimits(
        jobs_per_hour=1, tenant_jobs_per_hour=0, max_body_bytes=900, max_json_depth=5, max_number_length=6
    )
    async with database.fleet() as fleet:
        await fleet.tenants.set_limits(tenant, own)
        assert (await fleet.tenants.get(tenant)).limits == own  # type: ignore[union-attr]
    me = (await limited.get("/v1/me")).json()
    assert (me["limits"]["body_bytes"], me["limits"]["json_depth"], me["limits"]["number_length"]) == (900, 5, 6)
    assert {quota["name"]: quota["quota"] for quota in me["quotas"]} == {"jobs": 1, "downloads": 2, "open-jobs": 40}
    assert (await limited.post(SUBMIT, json=body(name="x" * 900))).status_code == 413
    assert (await limited.post(SUBMIT, json={"problem": [[[[[]]]]]})).status_code == 400
    long = await limited.post(SUBMIT, json={"problem": problem(budget=1_000_000)})
    assert "more than 6 characters" in long.json()["detail"]
    assert (await limited.post(SUBMIT, json=body())).status_code == 202
    refused(await limited.post(SUBMIT, json=body()))
    async with database.fleet() as fleet:
        await fleet.tenants.set_limits(tenant, TenantLimits())
    assert (await limited.post(SUBMIT, json=body())).status_code == 202


@pytest.mark.parametrize(
    "number", ["9" * 401, "-" + "9" * 5000, "1." + "0" * 500, "1e" + "0" * 500 + "1", "9" * 1_000_000]
)
async def test_a_number_of_too_many_characters(http: httpx.AsyncClient, number: str) -> None:
    content = msgspec.json.encode(body()).replace(b"100000", number.encode(), 1)
    answer = await http.post(SUBMIT, content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/malformed-json")
    assert "line 1, column 22 has more than 400 characters" in answer.json()["detail"]


async def test_where_numbers_may_be_long_one_beyond_all_hides_nothing_and_breaks_nothing(
    stack: Servers, key: str
) -> None:
    content = msgspec.json.encode({**body(), "reuse": 7})[:-2] + b"7" * 6000 + b"}"
    settings = msgspec.structs.replace(settings_of(stack), max_number_length=10_000)
    async with running(create_app(settings)) as app, client(app, key) as http:
        answer = await http.post(SUBMIT, content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, [issue["pointer"] for issue in answer.json()["issues"]]) == (422, ["/reuse"])


async def test_digits_in_a_text_are_no_number(http: httpx.AsyncClient) -> None:
    digits = '\\"' + "9" * 150 + '"'
    assert (await http.post(SUBMIT, json=body(name=digits, tags=["7" * 64]))).status_code == 202
    deals = [{**problem()["deals"][0], "name": "1" * 500 + '\\"\\\\' + "1" * 500}]
    assert (await http.post(SUBMIT, json={"problem": problem(deals=deals)})).status_code == 202


# Cost, and Redis away


async def scripts_run(redis: Redis) -> int:
    return int((await redis.info("commandstats")).get("cmdstat_evalsha", {"calls": 0})["calls"])


async def test_a_submit_costs_one_round_trip_and_none_without_a_limit(
    limited: httpx.AsyncClient, http: httpx.AsyncClient, redis: Redis
) -> None:
    before = await scripts_run(redis)
    for _ in range(5):
        assert (await limited.post(SUBMIT, json=body())).status_code == 202
    assert await scripts_run(redis) == before + 5
    for _ in range(5):
        assert (await http.post(SUBMIT, json=body())).status_code == 202
    assert await scripts_run(redis) == before + 5


@pytest.mark.slow
async def test_with_redis_away_jobs_are_refused_and_reads_are_not() -> None:
    with running_servers() as servers:
        plain = settings_of(servers)
        await migrate(plain)
        limits = {**FEW, "streams_per_user": 1}
        async with (
            running(create_app(msgspec.structs.replace(plain, **limits))) as app,
            running(create_app(plain)) as free,
        ):
            async with database_of(app).fleet() as fleet:
                tenant = await fleet.tenants.create("away")
                key = (await fleet.tenants.create_key(tenant.id, "test", Role.ADMIN)).secret
            async with client(app, key) as http, client(free, key) as unlimited:
                job = (await http.post(SUBMIT, json=body())).json()["id"]
                file = await with_a_file(http, JobDriver(database_of(app), tenant.id))
                with capture_logs() as logs:
                    async with away(servers, "Redis", signal.SIGKILL):
                        for _ in range(3):
                            answer = await http.post(SUBMIT, json=body())
                            assert (answer.status_code, answer.json()["type"]) == (503, "/problems/limits-unavailable")
                            assert int(answer.headers["retry-after"]) > 0
                        assert (await http.get(f"/v1/jobs/{job}")).status_code == 200
                        for _ in range(3):  # more than the limits would let through
                            assert (await http.get(file)).status_code == 302
                            stream = await http.get(file.replace("/files/a.pdf", "/events"), headers=_STREAM)
                            assert stream.text.endswith("\n\n")
                        me = (await http.get("/v1/me")).json()
                        assert {quota["left"] for quota in me["quotas"] if quota["name"] != "open-jobs"} == {None}
                        assert (await unlimited.post(SUBMIT, json=body())).status_code == 202
                assert sum(line["event"] == "limits_unavailable" for line in logs) == 1
                assert not any(line["event"] == "request failed" for line in logs)

                async def back() -> bool:
                    return (await http.post(SUBMIT, json=body())).status_code == 202

                await until(back)
                assert len((await http.get("/v1/jobs")).json()["items"]) == 4


def database_of(app: Litestar) -> Database:
    database: Database = app.state.services.database
    return database


def test_limits_are_settings_and_a_served_tenant_has_them() -> None:
    served = Settings()
    assert (served.jobs_per_hour, served.downloads_per_day) == (10, 100)
    assert set(TenantLimits.__struct_fields__) <= set(Settings.__struct_fields__)
    assert set(NO_LIMITS) <= set(TenantLimits.__struct_fields__)
