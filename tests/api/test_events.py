"""Streams as they come over a real socket."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest
from litestar import Litestar

from api import event_hub, events, sse
from api.event_hub import EventHub
from api.listeners import Listeners
from milpa.client.events import SILENCE_SECONDS
from milpa.jobs import EventType, JobProgress, JobState, new_id
from storage.rows import NewJob, Role
from storage.transaction import Database
from tests.api.conftest import NewKey, connect, served
from tests.api.deals import SUBMIT, body
from tests.api.jobs import JobDriver
from tests.api.things import ENTRY
from tests.storage.steps import add_tenant

_STREAM = {"Accept": "text/event-stream"}
Told = tuple[str, str, Any]


async def told(stream: httpx.Response) -> AsyncIterator[Told]:
    """Yield `(id, event, data)` of each message."""
    fields: dict[str, str] = {}
    async for line in stream.aiter_lines():
        if line:
            field, _, value = line.partition(":")
            fields[field] = value.removeprefix(" ")
        else:
            if "data" in fields:
                yield fields.get("id", ""), fields["event"], msgspec.json.decode(fields["data"])
            fields = {}


async def follow(http: httpx.AsyncClient, path: str, **headers: str) -> list[Told]:
    async with http.stream("GET", path, headers={**_STREAM, **headers}) as stream:
        assert stream.status_code == 200
        return [message async for message in told(stream)]


async def submit(http: httpx.AsyncClient, **more: Any) -> dict[str, Any]:
    job: dict[str, Any] = (await http.post(SUBMIT, json=body(**more))).json()
    return job


async def solve(driver: JobDriver, job_id: str) -> None:
    """Take the job through phases and an incumbent to its end."""
    claim = await driver.claim(job_id)
    async with driver.database.transaction(driver.tenant) as transaction:
        progress = JobProgress(phase="solve", fraction=0.5, objective=1.0, bound=2.0, gap=1.0)
        await transaction.jobs.heartbeat(claim.ref, 600.0, progress, EventType.INCUMBENT)
    await driver.succeed(job_id, claim=claim)


async def test_a_stream_tells_every_event_once_and_ends(live: httpx.AsyncClient, driver: JobDriver) -> None:
    job = await submit(live)
    following = asyncio.create_task(follow(live, f"/v1/jobs/{job['id']}/events"))
    await asyncio.sleep(0.1)
    await solve(driver, job["id"])
    messages = await asyncio.wait_for(following, 30)
    assert [event for _, event, _ in messages] == ["queued", "started", "incumbent", "succeeded", "end"]
    assert [identity for identity, _, _ in messages] == ["1", "2", "3", "4", ""]
    for identity, event, data in messages[:-1]:
        assert (data["job_id"], data["seq"], data["type"]) == (job["id"], int(identity), event)
        assert data["at"].endswith("Z")
    assert messages[-1][2] == {"job_id": job["id"]}


async def test_a_finished_job_replays_and_ends(live: httpx.AsyncClient, driver: JobDriver) -> None:
    job = await submit(live)
    await solve(driver, job["id"])
    path = f"/v1/jobs/{job['id']}/events"
    assert [event for _, event, _ in await follow(live, path)][-2:] == ["succeeded", "end"]
    resumed = await follow(live, path, **{"Last-Event-ID": "2"})
    assert [identity for identity, _, _ in resumed] == ["3", "4", ""]
    assert await follow(live, f"{path}?after=2") == resumed
    assert [event for _, event, _ in await follow(live, f"{path}?after=4")] == ["end"]


@pytest.mark.parametrize("cut", [1, 2, 3])
async def test_a_cut_stream_resumes_without_gap_or_repeat(live: httpx.AsyncClient, driver: JobDriver, cut: int) -> None:
    job = await submit(live)
    path = f"/v1/jobs/{job['id']}/events"
    claim = await driver.claim(job["id"])
    async with driver.database.transaction(driver.tenant) as transaction:
        await transaction.jobs.heartbeat(claim.ref, 600.0, JobProgress(phase="solve"), EventType.PHASE)
    first: list[Told] = []
    async with live.stream("GET", path, headers=_STREAM) as stream:
        async for message in told(stream):
            first.append(message)
            if len(first) == cut:
                break
    await driver.succeed(job["id"], claim=claim)
    rest = await follow(live, path, **{"Last-Event-ID": first[-1][0]})
    assert [identity for identity, _, _ in first + rest] == ["1", "2", "3", "4", ""]


async def test_the_first_byte_comes_at_once_with_headers_that_keep_proxies_out(live: httpx.AsyncClient) -> None:
    job = await submit(live)
    async with live.stream("GET", f"/v1/jobs/{job['id']}/events", headers=_STREAM) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["cache-control"] == "no-store, no-transform"
        assert stream.headers["x-accel-buffering"] == "no"
        assert stream.headers["x-request-id"]
        async for chunk in stream.aiter_bytes():
            assert chunk.startswith(b"retry: 3000\n\n")
            break


async def test_all_streams_of_one_holder_ask_once_whether_he_is_still_known() -> None:
    asked: list[str] = []
    known = Listeners().known

    async def ask(holder: str) -> bool:
        asked.append(holder)
        await asyncio.sleep(0)
        return holder == "known"

    assert set(await asyncio.gather(*(known("known", lambda: ask("known"), 60.0) for _ in range(100)))) == {True}
    assert not await known("revoked", lambda: ask("revoked"), 60.0)
    assert await known("known", lambda: ask("known"), 60.0)
    assert asked == ["known", "revoked"]
    await known("known", lambda: ask("known"), 0.0)
    assert asked == ["known", "revoked", "known"]


@pytest.mark.parametrize("path", ["/v1/events", "/v1/jobs/{job}/events", "/v1/batches/{batch}/events"])
async def test_a_stream_is_cut_when_its_key_is_revoked(
    live_here: httpx.AsyncClient, database: Database, tenant: UUID, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(events, "KNOWN_SECONDS", 0.0)
    monkeypatch.setattr(event_hub, "POLL_SECONDS", 0.1)
    monkeypatch.setattr(sse, "HEARTBEAT_SECONDS", 0.05)
    batch = (await live_here.post("/v1/batches", json={"jobs": [{"kind": "deal-picker", **body()}]})).json()
    job = batch["jobs"][0]["id"]
    async with database.transaction(tenant) as transaction:
        key = await transaction.api_keys.create("for a while", Role.VIEWER)
    headers = {**_STREAM, "Authorization": f"Bearer {key.secret}"}
    async with live_here.stream("GET", path.format(job=job, batch=batch["id"]), headers=headers) as stream:
        lines = stream.aiter_lines()
        while await anext(lines) != ": ":
            pass  # it is told, and kept open
        async with database.transaction(tenant) as transaction:
            await transaction.api_keys.revoke(key.row.id)
        async with asyncio.timeout(30):
            assert "event: end" not in [line async for line in lines]


def test_comments_come_often_enough_for_proxies_and_for_our_client() -> None:
    assert sse.HEARTBEAT_SECONDS == 15
    assert SILENCE_SECONDS >= 2 * sse.HEARTBEAT_SECONDS


async def test_a_quiet_stream_sends_comments(live_here: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "HEARTBEAT_SECONDS", 0.05)
    job = await submit(live_here)
    lines = []
    async with live_here.stream("GET", f"/v1/jobs/{job['id']}/events", headers=_STREAM) as stream:
        async for line in stream.aiter_lines():
            lines.append(line)
            if lines.count(": ") == 3:
                break
    assert "data: " not in lines


async def test_events_come_as_json_too(http: httpx.AsyncClient, driver: JobDriver) -> None:
    job = await submit(http)
    await solve(driver, job["id"])
    answer = (await http.get(f"/v1/jobs/{job['id']}/events")).json()
    assert [(event["seq"], event["type"]) for event in answer["items"]] == [
        (1, "queued"),
        (2, "started"),
        (3, "incumbent"),
        (4, "succeeded"),
    ]
    assert answer["items"][2]["objective"] == 1.0
    assert answer["next"] is None
    later = (await http.get(f"/v1/jobs/{job['id']}/events?after=3")).json()
    assert [event["seq"] for event in later["items"]] == [4]


async def test_a_place_to_resume_that_is_none_is_refused(http: httpx.AsyncClient) -> None:
    job = await submit(http)
    path = f"/v1/jobs/{job['id']}/events"
    for answer in (
        await http.get(f"{path}?after=-1"),
        await http.get(path, headers={"Last-Event-ID": "soon"}),
        await http.get("/v1/events", headers={"Last-Event-ID": "1"}),
        await http.get("/v1/events", headers={"Last-Event-ID": "9" * 40}),
    ):
        assert answer.status_code == 422, answer.text


async def test_hints_that_are_lost_are_made_up_for(
    live: httpx.AsyncClient, driver: JobDriver, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await submit(live)
    following = asyncio.create_task(follow(live, f"/v1/jobs/{job['id']}/events"))
    await asyncio.sleep(0.1)
    monkeypatch.setattr(database, "signals", None)
    await solve(driver, job["id"])
    messages = await asyncio.wait_for(following, 30)
    assert [event for _, event, _ in messages] == ["queued", "started", "incumbent", "succeeded", "end"]


async def test_a_job_erased_while_followed_ends_its_stream(
    live: httpx.AsyncClient, driver: JobDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await submit(live)
    following = asyncio.create_task(follow(live, f"/v1/jobs/{job['id']}/events"))
    await asyncio.sleep(0.1)
    monkeypatch.setattr(driver.database, "signals", None)
    await driver.succeed(job["id"])
    await live.delete(f"/v1/jobs/{job['id']}")
    messages = await asyncio.wait_for(following, 30)
    assert messages[-1][1] == "end"


async def test_listeners_of_one_job_share_its_reading(database: Database, tenant: Any, driver: JobDriver) -> None:
    reads = 0

    class Counting(Database):
        def transaction(self, tenant: Any) -> Any:
            nonlocal reads
            reads += 1
            return database.transaction(tenant)

    counting = Counting.__new__(Counting)
    counting.signals = database.signals
    hub = EventHub(counting)
    await hub.start()
    async with database.transaction(tenant) as transaction:
        job = (await transaction.jobs.submit(NewJob(kind="deal-picker", kind_version=1, input=b"{}"))).job

    async def listen() -> bytes:
        return b"".join([part async for part in hub.follow_job(tenant, job.id, 0)])

    listeners = [asyncio.create_task(listen()) for _ in range(200)]
    await asyncio.sleep(0.2)
    await solve(driver, str(job.id))
    heard = await asyncio.gather(*listeners)
    await hub.close()
    assert len(set(heard)) == 1
    assert heard[0].count(b"event: ") == 5
    assert reads < 20


async def test_a_job_that_ends_before_it_is_waited_for_is_not_waited_for(
    database: Database, tenant: Any, driver: JobDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_hub, "POLL_SECONDS", 3600.0)
    hub = EventHub(database)
    await hub.start()
    async with database.transaction(tenant) as transaction:
        job = (await transaction.jobs.submit(NewJob(kind="deal-picker", kind_version=1, input=b"{}"))).job
    await solve(driver, str(job.id))
    async with asyncio.timeout(30):
        while not hub._ended_lately:  # noqa: ASYNC110  the hint is on its way
            await asyncio.sleep(0.01)
        row, result = await hub.wait_for_end(tenant, job.id, 3600.0, known=job)
    await hub.close()
    assert row is not None
    assert row.state is JobState.SUCCEEDED
    assert result is not None


async def test_a_look_that_breaks_does_not_end_the_poll(
    database: Database, tenant: Any, driver: JobDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_hub, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(database, "signals", None)
    hub = EventHub(database)
    find_grown, broke = hub._find_grown, asyncio.Event()

    async def broken_once(*arguments: Any) -> None:
        if not broke.is_set():
            broke.set()
            raise ValueError
        await find_grown(*arguments)

    monkeypatch.setattr(hub, "_find_grown", broken_once)
    await hub.start()
    async with database.transaction(tenant) as transaction:
        job = (await transaction.jobs.submit(NewJob(kind="deal-picker", kind_version=1, input=b"{}"))).job

    async def listen() -> bytes:
        return b"".join([part async for part in hub.follow_job(tenant, job.id, 0)])

    listening = asyncio.create_task(listen())
    async with asyncio.timeout(30):
        await broke.wait()
        await solve(driver, str(job.id))
        assert b"event: end" in await listening
    await hub.close()


# All jobs of a tenant


async def test_one_stream_tells_the_state_changes_of_all_jobs(live: httpx.AsyncClient, driver: JobDriver) -> None:
    heard: list[Told] = []

    async def listen() -> None:
        async with live.stream("GET", "/v1/events", headers=_STREAM) as stream:
            async for message in told(stream):
                heard.append(message)
                if sum(event == "succeeded" for _, event, _ in heard) == 2:
                    return

    before = await submit(live)
    listening = asyncio.create_task(listen())
    await asyncio.sleep(0.3)
    after = await submit(live)
    for job in (before, after):
        await solve(driver, job["id"])
    await asyncio.wait_for(listening, 30)
    changes = [(data["job_id"], event) for _, event, data in heard]
    assert changes.count((after["id"], "queued")) == 1
    assert (before["id"], "queued") not in changes
    for job in (before, after):
        assert [event for job_id, event in changes if job_id == job["id"]][-2:] == ["started", "succeeded"]
    assert "incumbent" not in [event for _, event in changes]
    assert {data["kind"] for _, _, data in heard} == {"deal-picker"}


async def test_the_stream_of_all_jobs_resumes(live: httpx.AsyncClient, driver: JobDriver) -> None:
    async def listen(count: int, **headers: str) -> list[Told]:
        heard = []
        async with live.stream("GET", "/v1/events", headers=headers) as stream:
            async for message in told(stream):
                heard.append(message)
                if len(heard) == count:
                    break
        return heard

    listening = asyncio.create_task(listen(1))
    await asyncio.sleep(0.3)
    job = await submit(live)
    [first] = await asyncio.wait_for(listening, 30)
    await solve(driver, job["id"])
    rest = await asyncio.wait_for(listen(2, **{"Last-Event-ID": first[0]}), 30)
    assert [event for _, event, _ in [first, *rest]] == ["queued", "started", "succeeded"]


async def test_chosen_jobs_are_told_in_full(live: httpx.AsyncClient, driver: JobDriver) -> None:
    chosen, other = await submit(live), await submit(live)

    async def listen() -> list[Told]:
        heard = []
        async with live.stream("GET", f"/v1/events?job={chosen['id']},{new_id()}") as stream:
            async for message in told(stream):
                heard.append(message)
                if message[1] == "succeeded":
                    break
        return heard

    listening = asyncio.create_task(listen())
    await asyncio.sleep(0.3)
    for job in (other, chosen):
        await solve(driver, job["id"])
    heard = await asyncio.wait_for(listening, 30)
    assert {data["job_id"] for _, _, data in heard} == {chosen["id"]}
    assert [event for _, event, _ in heard] == ["started", "incumbent", "succeeded"]


async def test_a_tenant_hears_nothing_of_another(live: httpx.AsyncClient, stranger: httpx.AsyncClient) -> None:
    async def first() -> Told | None:
        async with live.stream("GET", "/v1/events") as stream:
            async for message in told(stream):
                return message
        return None

    listening = asyncio.create_task(first())
    await asyncio.sleep(0.3)
    await submit(stranger)
    mine = await submit(live)
    message = await asyncio.wait_for(listening, 30)
    assert message is not None
    assert message[2]["job_id"] == mine["id"]


async def test_streams_are_limited_and_given_back(small_http: httpx.AsyncClient, small_app: Any, key: str) -> None:
    from tests.api.conftest import served

    job = await submit(small_http)
    async with served(small_app) as address, httpx.AsyncClient(base_url=address, timeout=60) as http:
        http.headers["Authorization"] = f"Bearer {key}"
        path = f"/v1/jobs/{job['id']}/events"
        async with http.stream("GET", path, headers=_STREAM) as stream:
            chunks = stream.aiter_bytes()
            await anext(chunks)
            answer = await http.get(path, headers=_STREAM)
            assert (answer.status_code, answer.json()["type"]) == (429, "/problems/too-many-streams")
            assert int(answer.headers["retry-after"]) > 0
            await chunks.aclose()
        status = 0
        async with asyncio.timeout(30):
            while status != 200:
                await asyncio.sleep(0.01)
                async with http.stream("GET", path, headers=_STREAM) as stream:
                    status = stream.status_code


async def test_a_stream_never_carries_another_tenants_event(app: Litestar, database: Database, new_key: NewKey) -> None:
    """Two tenants, live at once on the same APIs: each with a stream of everything, of a batch and of jobs by name."""
    tenants = [await add_tenant(database) for _ in range(2)]
    async with served(app) as address, AsyncExitStack() as clients:
        https = [
            await clients.enter_async_context(connect(await new_key(tenant, Role.PLANNER), address))
            for tenant in tenants
        ]
        batches = [(await http.post("/v1/batches", json={"jobs": [ENTRY] * 4})).json() for http in https]
        jobs = [[job["id"] for job in batch["jobs"]] for batch in batches]
        everyones = ",".join(jobs[0] + jobs[1])
        paths = ["/v1/events", f"/v1/events?job={everyones}", "/v1/batches/{batch}/events", "/v1/jobs/{job}/events"]
        following = [
            [asyncio.create_task(listen(http, path.format(batch=batch["id"], job=own[0]), own)) for path in paths]
            for http, batch, own in zip(https, batches, jobs, strict=True)
        ]
        await asyncio.sleep(0.5)
        for http, batch, own in zip(https, reversed(batches), reversed(jobs), strict=True):
            for path in (f"/v1/batches/{batch['id']}/events", f"/v1/jobs/{own[0]}/events"):
                foreign = await http.get(path, headers=_STREAM)  # which its own tenant follows at this moment
                assert foreign.status_code == 404
        for pair in zip(*jobs, strict=True):
            await asyncio.gather(
                *(solve(JobDriver(database, tenant), job) for tenant, job in zip(tenants, pair, strict=True))
            )
        for streams, batch, own in zip(following, batches, jobs, strict=True):
            for heard in await asyncio.wait_for(asyncio.gather(*streams), 60):
                assert heard, "it is live"
                assert {data["job_id"] for data in heard if "job_id" in data} <= set(own)
                assert {data["batch_id"] for data in heard if "batch_id" in data} <= {batch["id"]}


async def listen(http: httpx.AsyncClient, path: str, jobs: list[str]) -> list[dict[str, Any]]:
    """Follow a stream until it ends, or until all of these jobs have ended and a moment longer."""
    heard: list[dict[str, Any]] = []
    left = set(jobs)
    async with http.stream("GET", path, headers=_STREAM) as stream:
        assert stream.status_code == 200
        messages = told(stream)
        with contextlib.suppress(StopAsyncIteration, TimeoutError):
            while True:
                async with asyncio.timeout(None if left else 0.5):
                    _, event, data = await anext(messages)
                heard.append(data)
                if event == "succeeded":
                    left.discard(data["job_id"])
    return heard
