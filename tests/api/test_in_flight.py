"""What requests under way take of a process: each has an end, and large bodies have a sum."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import pytest
from litestar import Litestar, post
from litestar.types import Message, Receive, Scope, Send

from api.bodies import HEAVY_BYTES, AnyRequest
from api.in_flight import InFlight
from api.main import create_app
from api.principal import Permission
from api.queries import MAX_WAIT_SECONDS
from api.trails import transaction_of
from deploy.local.servers import Servers
from milpa.settings import Settings
from solvers.rows_process import TIMEOUT_SECONDS
from tests.api.conftest import client, connect, running, served
from tests.api.deals import SUBMIT, body
from tests.storage.steps import new_job
from tests.support.stack import settings_of

SECONDS = 1.5
MOST = 200_000
JSON = {"Content-Type": "application/json"}


@post("/held", requires=Permission.SUBMIT, operation=None)
async def hold(request: AnyRequest) -> None:
    """Write, and come to no end."""
    async with transaction_of(request) as transaction:
        await transaction.jobs.submit(new_job())
        request.app.state["written"] = True
        await asyncio.Event().wait()


@pytest.fixture(scope="module")
async def bounded_app(stack: Servers) -> AsyncIterator[Litestar]:
    settings = msgspec.structs.replace(settings_of(stack), request_seconds=SECONDS, max_bytes_in_flight=MOST)
    app = create_app(settings)
    app.register(hold)
    async with running(app):
        yield app


@pytest.fixture
async def bounded(bounded_app: Litestar, key: str) -> AsyncIterator[httpx.AsyncClient]:
    async with client(bounded_app, key) as http:
        yield http


async def test_a_request_that_comes_to_no_end_is_ended_and_keeps_nothing(
    bounded_app: Litestar, bounded: httpx.AsyncClient
) -> None:
    answer = await bounded.post("/held")
    assert (answer.status_code, answer.headers["content-type"]) == (504, "application/problem+json")
    assert answer.json()["type"] == "/problems/took-too-long"
    assert bounded_app.state["written"]
    assert (await bounded.get("/v1/jobs")).json()["items"] == []


async def test_what_a_client_takes_for_its_body_is_not_counted(bounded: httpx.AsyncClient) -> None:
    async def slowly() -> AsyncIterator[bytes]:
        whole = json.dumps(body()).encode()
        yield whole[:10]
        await asyncio.sleep(SECONDS + 0.5)
        yield whole[10:]

    assert (await bounded.post(SUBMIT, content=slowly(), headers=JSON)).status_code == 202


async def test_an_answer_that_has_begun_goes_on(bounded_app: Litestar, key: str) -> None:
    async with (
        served(bounded_app) as address,
        connect(key, address) as http,
        http.stream("GET", "/v1/events", headers={"Accept": "text/event-stream"}) as stream,
    ):
        assert stream.status_code == 200
        await asyncio.sleep(SECONDS + 0.5)
        job = (await http.post(SUBMIT, json=body())).json()["id"]
        async for line in stream.aiter_lines():
            if job in line:
                break
        else:
            pytest.fail("the stream was cut")


async def test_an_answer_that_is_taken_slowly_is_not_cut() -> None:
    sent: list[str] = []

    async def slow(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(0.3)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def receive() -> Any:
        pytest.fail("nothing is asked for")

    async def send(message: Message) -> None:
        sent.append(message["type"])

    scope: Any = {"type": "http", "headers": [], "state": {}}
    await InFlight(Settings(request_seconds=0.1))(slow)(scope, receive, send)
    assert sent == ["http.response.start", "http.response.body"]


async def test_as_long_as_one_may_ask_to_wait_is_well_within(http: httpx.AsyncClient) -> None:
    assert Settings().request_seconds > 1.5 * (MAX_WAIT_SECONDS + TIMEOUT_SECONDS)
    answer = await http.post(SUBMIT, json=body(), headers={"Prefer": "wait=1"})
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "wait=1")


def large(size: int) -> bytes:
    """A body like any other, with so many bytes."""
    return json.dumps(body()).encode().ljust(size)


@asynccontextmanager
async def half_a_body(http: httpx.AsyncClient, size: int) -> AsyncIterator[asyncio.Task[httpx.Response]]:
    """So much of a body has been read, and the rest comes at the end."""
    arrived, rest = asyncio.Event(), asyncio.Event()

    async def content() -> AsyncIterator[bytes]:
        yield large(size)
        arrived.set()  # the next piece is asked for when this one was taken
        await rest.wait()
        yield b" "

    sending = asyncio.create_task(http.post(SUBMIT, content=content(), headers=JSON))
    await arrived.wait()
    yield sending
    rest.set()
    assert (await sending).status_code == 202


def is_busy(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert answer.json()["type"] == "/problems/too-busy"
    assert int(answer.headers["retry-after"]) > 0


async def test_large_bodies_beyond_what_a_process_holds_are_sent_away_and_small_ones_are_not(
    bounded: httpx.AsyncClient,
) -> None:
    packed = {**JSON, "Content-Encoding": "gzip"}
    check = {"validate_only": True}
    async with half_a_body(bounded, 150_000):
        is_busy(await bounded.post(SUBMIT, content=large(100_000), headers=JSON))
        is_busy(await bounded.post(SUBMIT, content=large(100_000), headers=JSON, params=check))
        is_busy(await bounded.post(SUBMIT, content=gzip.compress(large(100_000)), headers=packed))
        assert (await bounded.post(SUBMIT, json=body())).status_code == 202
        assert (await bounded.post(SUBMIT, content=large(HEAVY_BYTES), headers=JSON)).status_code == 202
    assert (await bounded.post(SUBMIT, content=large(100_000), headers=JSON)).status_code == 202


async def test_what_a_body_held_is_free_however_its_request_ended(bounded: httpx.AsyncClient) -> None:
    for _ in range(3):
        assert (await bounded.post(SUBMIT, content=large(150_000), headers=JSON)).status_code == 202
        assert (await bounded.post(SUBMIT, content=b"{".ljust(150_000), headers=JSON)).status_code == 400
        is_wrong = await bounded.post(SUBMIT, content=b"{}".ljust(150_000), headers=JSON)
        assert is_wrong.status_code == 422


async def test_one_body_alone_always_fits(bounded: httpx.AsyncClient) -> None:
    assert (await bounded.post(SUBMIT, content=large(2 * MOST), headers=JSON)).status_code == 202
