"""Two API processes on one PostgreSQL and Redis: whoever followed the one that was killed goes on with the other."""

import subprocess
from collections.abc import Awaitable, Callable, Mapping
from uuid import UUID

import httpx
import psutil
import pytest

from milpa import AsyncClient
from milpa.jobs import EventType, JobProgress
from milpa.settings import Settings
from storage.rows import Claim, NewJob, Role
from storage.transaction import Database
from tests.api.jobs import JobDriver
from tests.support.api_process import address_of, api_process, listening


@pytest.fixture
async def key(database: Database, tenant: UUID) -> str:
    async with database.fleet() as fleet:
        return (await fleet.tenants.create_key(tenant, "test", Role.ADMIN)).secret


@pytest.fixture
async def driver(database: Database, tenant: UUID) -> JobDriver:
    return JobDriver(database, tenant)


async def running_job(driver: JobDriver) -> Claim:
    """A job that has been queued and started: two events."""
    async with driver.database.transaction(driver.tenant) as transaction:
        job = (await transaction.jobs.submit(NewJob(kind="deal-picker", kind_version=1, input=b"{}"))).job
    return await driver.claim(job.id)


async def improve(driver: JobDriver, claim: Claim) -> None:
    async with driver.database.transaction(driver.tenant) as transaction:
        await transaction.jobs.heartbeat(claim.ref, 600.0, JobProgress(objective=1.0), EventType.INCUMBENT)


async def nothing(_found: list[str]) -> None:
    """Only read on."""


async def ids(
    address: str,
    key: str,
    job_id: UUID,
    *,
    headers: Mapping[str, str] | None = None,
    then: Callable[[list[str]], Awaitable[None]] = nothing,
) -> list[str]:
    """The ids that a stream tells until it ends, "cut" last when it was lost; `then` is awaited after each."""
    headers = {"Authorization": f"Bearer {key}", "Accept": "text/event-stream", **(headers or {})}
    found: list[str] = []
    async with (
        httpx.AsyncClient(base_url=address, timeout=60) as http,
        http.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as stream,
    ):
        try:
            async for line in stream.aiter_lines():
                if line.startswith("id: "):
                    found.append(line.removeprefix("id: "))
                    await then(found)
        except httpx.TransportError:
            return [*found, "cut"]
    return found


async def test_a_stream_resumes_on_the_other_api_without_gap_or_repeat(
    settings: Settings, driver: JobDriver, key: str
) -> None:
    claim = await running_job(driver)
    with (
        listening() as first,
        listening() as second,
        api_process(settings, first) as dying,
        api_process(settings, second),
    ):

        async def kill_and_go_on(found: list[str]) -> None:
            if len(found) == 2:
                dying.kill()
                await improve(driver, claim)

        async def end(found: list[str]) -> None:
            if found == ["3"]:
                await driver.succeed(claim.job.id, claim=claim)

        assert await ids(address_of(first), key, claim.job.id, then=kill_and_go_on) == ["1", "2", "cut"]
        resumed = {"Last-Event-ID": "2"}
        assert await ids(address_of(second), key, claim.job.id, headers=resumed, then=end) == ["3", "4"]


def holder(apis: list[subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    """The one of them that somebody is connected to."""
    (found,) = [
        api
        for api in apis
        if any(line.status == psutil.CONN_ESTABLISHED for line in psutil.Process(api.pid).net_connections("tcp"))
    ]
    return found


async def test_the_client_goes_on_by_itself_when_the_api_that_it_follows_is_killed(
    settings: Settings, driver: JobDriver, key: str
) -> None:
    claim = await running_job(driver)
    with listening() as shared, api_process(settings, shared) as one, api_process(settings, shared) as other:
        async with AsyncClient(address_of(shared), key, retries=20) as client:
            events = client.events(claim.job.id)
            seen = [await anext(events), await anext(events)]
            holder([one, other]).kill()
            await improve(driver, claim)
            seen.append(await anext(events))
            await driver.succeed(claim.job.id, claim=claim)
            seen += [event async for event in events]
    assert [(event.seq, event.type.value) for event in seen] == [
        (1, "queued"),
        (2, "started"),
        (3, "incumbent"),
        (4, "succeeded"),
    ]
