"""Hints: told after a commit and never before, coalesced, and harmless when Redis is away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Never
from uuid import UUID, uuid4

import msgspec
import pytest
from redis.asyncio import Redis

from deploy.local.accounts import give
from deploy.local.folders import DataDir
from deploy.local.processes import start, stop, wait_ready
from deploy.local.servers import Servers
from milpa.errors import TransientError
from milpa.jobs import EventType, JobProgress, Priority
from milpa.settings import Secret, Settings
from storage.dispatch import Dispatcher
from storage.queue import Queue
from storage.redis_client import redis_client
from storage.rows import Ring
from storage.signals import ADMIT, CONTROL, EVENTS, Signals
from storage.transaction import Database
from tests.storage.steps import break_off, claim, submit
from tests.support.stack import settings_of, temporary_folder


class Ear:
    """Hears one channel."""

    def __init__(self) -> None:
        self.heard = []
        self._more = asyncio.Event()

    def __call__(self, message: str) -> None:
        self.heard.append(message)
        self._more.set()

    async def hears(self, *messages: Any) -> None:
        async with asyncio.timeout(10):
            while not set(messages) <= set(self.heard):
                self._more.clear()
                await self._more.wait()


@pytest.fixture
async def telling(settings: Settings, redis: Redis) -> AsyncIterator[Database]:
    """A database that tells."""
    database = await Database.connect(settings, redis)
    yield database
    await database.close()


@pytest.fixture
async def ears(redis: Redis) -> AsyncIterator[dict[str, Ear]]:
    signals = Signals(redis)
    ears = {channel: Ear() for channel in (EVENTS, ADMIT, CONTROL)}
    for channel, ear in ears.items():
        await signals.listen(channel, ear)
    yield ears
    await signals.close()


async def test_a_commit_tells_of_new_events_and_of_jobs_to_admit(
    telling: Database, tenant: UUID, ears: dict[str, Ear]
) -> None:
    job = await submit(telling, tenant)
    await ears[EVENTS].hears(f"{tenant}:{job.id}:1:0")
    await ears[ADMIT].hears("")
    held = await claim(telling, job)
    await ears[EVENTS].hears(f"{tenant}:{job.id}:2:0")
    async with telling.transaction(tenant) as tx:
        await tx.jobs.heartbeat(held.ref, 30, JobProgress(phase="solve"), EventType.PHASE)
    await ears[EVENTS].hears(f"{tenant}:{job.id}:3:0")


async def test_stop_and_cancel_of_a_running_job_are_told_to_its_worker(
    telling: Database, tenant: UUID, ears: dict[str, Ear]
) -> None:
    jobs = [(await claim(telling, await submit(telling, tenant))).job for _ in range(2)]
    async with telling.transaction(tenant) as tx:
        await tx.jobs.request_stop(jobs[0].id)
        await tx.jobs.request_cancel(jobs[1].id)
        await asyncio.sleep(0.05)
        assert ears[CONTROL].heard == [], "not before the commit"
    await ears[CONTROL].hears(*(str(job.id) for job in jobs))


async def test_what_breaks_off_tells_nothing(telling: Database, tenant: UUID, ears: dict[str, Ear]) -> Never:
    with pytest.raises(InterruptedError):
        await break_off(telling, tenant)
    job = await submit(telling, tenant)
    await ears[EVENTS].hears(f"{tenant}:{job.id}:1:0")
    assert len(ears[EVENTS].heard) == 1


async def test_a_process_that_admits_itself_asks_nobody_else(
    settings: Settings, redis: Redis, tenant: UUID, ears: dict[str, Ear]
) -> None:
    database = await Database.connect(settings, redis)
    woken = []
    database.on_waiting(lambda: woken.append(True))
    job = await submit(database, tenant)
    await ears[EVENTS].hears(f"{tenant}:{job.id}:1:0")
    assert woken == [True]
    assert ears[ADMIT].heard == []
    await database.close()


async def test_listeners_come_and_go_on_one_connection(redis: Redis) -> None:
    signals, first, second, third = Signals(redis), Ear(), Ear(), Ear()
    before = len(await redis.client_list(_type="pubsub"))
    stop_first = await signals.listen(EVENTS, first)
    await signals.listen(EVENTS, second)
    await signals.listen("milpa:ring:batch", third)
    assert len(await redis.client_list(_type="pubsub")) == before + 1
    signals.publish(EVENTS, "1")
    signals.publish("milpa:ring:batch", "")
    await first.hears("1")
    await third.hears("")
    stop_first()
    signals.publish(EVENTS, "2")
    await second.hears("1", "2")
    assert first.heard == ["1"]
    await signals.close()


async def test_a_listener_that_breaks_takes_no_hint_from_the_others(redis: Redis) -> None:
    signals, ear = Signals(redis), Ear()

    def broken(_message: str) -> None:
        raise ValueError

    await signals.listen(EVENTS, broken)
    await signals.listen(EVENTS, ear)
    for message in ("1", "2"):
        signals.publish(EVENTS, message)
        await ear.hears(message)
    await signals.close()


async def test_with_redis_away_nothing_is_raised_and_nothing_blocks(
    settings: Settings, tenant: UUID, tmp_path: Path
) -> None:
    redis = Redis(unix_socket_path=str(tmp_path / "none.sock"))
    database = await Database.connect(settings, redis)
    ear = Ear()
    await database.signals.listen(EVENTS, ear)
    await submit(database, tenant)
    await database.close()
    assert ear.heard == []


async def test_listeners_hear_again_when_redis_is_back() -> None:
    with temporary_folder() as folder:
        servers = Servers(DataDir(folder), durable=False)
        for needed in (servers.folders.sockets, servers.folders.redis):
            give(needed, servers.redis.account)
        part = servers.redis.part
        process = start(part)
        wait_ready(part, process)
        redis = Redis.from_url(servers.redis.url)
        signals, ear, later = Signals(redis), Ear(), Ear()
        await signals.listen(EVENTS, ear)
        stop(part, process)
        signals.publish(EVENTS, "lost")
        await signals.listen(CONTROL, later)
        process = start(part)
        wait_ready(part, process)
        async with asyncio.timeout(20):
            while "back" not in ear.heard or "back" not in later.heard:
                signals.publish(EVENTS, "back")
                signals.publish(CONTROL, "back")
                await asyncio.sleep(0.1)
        await signals.close()
        await redis.aclose()
        stop(part, process)
    assert "lost" not in ear.heard


@asynccontextmanager
async def hanging() -> AsyncIterator[int]:
    """A Redis that takes connections and says nothing; yields its port."""

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            pass
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_a_redis_that_hangs_keeps_nobody_from_closing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.redis_client.REDIS_SECONDS", 0.2)
    async with hanging() as port, asyncio.timeout(30):
        redis = redis_client(msgspec.structs.replace(settings, redis_url=Secret(f"redis://127.0.0.1:{port}")), Redis)
        database = await Database.connect(settings, redis)
        dispatcher = Dispatcher(database, Queue(redis))
        assert database.signals is not None
        await database.signals.listen(ADMIT, Ear())
        database.signals.publish(ADMIT, "")
        dispatcher.wake()
        ring = Ring(tenant_id=uuid4(), job_id=uuid4(), dispatch_no=1, priority=Priority.BATCH, at=1.0)
        with pytest.raises(TransientError):
            await Queue(redis).ring([ring])
        await dispatcher.close()
        await database.close()
        await redis.aclose()


async def test_a_subscription_that_has_fallen_silent_is_opened_anew(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.signals._SILENCE_SECONDS", 0.2)
    signals, ear = Signals(redis_client(settings_of(servers), Redis)), Ear()
    await signals.listen("milpa:test", ear)
    signals.publish("milpa:test", "before")
    await ear.hears("before")
    assert signals._pubsub is not None
    signals._pubsub.connection._parser._stream = asyncio.StreamReader()  # where nothing will ever come from again
    await asyncio.sleep(0.5)  # the read under way still hears
    async with asyncio.timeout(30):
        while "after" not in ear.heard:
            signals.publish("milpa:test", "after")
            await asyncio.sleep(0.1)
    await signals.close()
