"""Names whose lookup hangs: they hold up themselves, and nobody else."""

import asyncio
import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any
from uuid import UUID

import pytest

from milpa.errors import TransientError
from milpa.settings import Settings
from storage.transaction import Database
from storage.webhook_rows import DeliveryState
from storage.webhooks import MAX_ENDPOINTS
from tests.storage.steps import add_tenant, succeeded
from tests.workers.sink import Sink
from tests.workers.test_webhooks import (
    all_end,
    base,
    deliveries,
    delivering,
    endpoint,
    hooked,
    sink,
    until,
)
from workers.safe_address import SystemLookup

__all__ = ["base", "hooked", "sink"]

HANGING = ".hangs.example"
DEFAULTS = Settings()


class Resolver:
    """The system's lookups, of which some hang until they are released."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.released = threading.Event()
        self._system = socket.getaddrinfo

    def __call__(self, host: str, *args: Any, **more: Any) -> Any:
        self.asked[host] += 1
        if not host.endswith(HANGING):
            return self._system(host, *args, **more)
        self.released.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    resolver = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    yield resolver
    resolver.released.set()


async def test_those_who_ask_for_one_name_share_its_lookup_and_none_gives_up_for_another(resolver: Resolver) -> None:
    lookup = SystemLookup(1)
    asking = [asyncio.create_task(lookup(f"one{HANGING}")) for _ in range(20)]
    await until(lambda: bool(resolver.asked))
    asking[0].cancel()
    resolver.released.set()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert {type(answer) for answer in answers[1:]} == {socket.gaierror}
    assert resolver.asked == {f"one{HANGING}": 1}
    assert await lookup("127.0.0.1") == [ip_address("127.0.0.1")]


async def test_a_lookup_that_was_given_up_keeps_its_thread_and_then_we_say_that_we_are_busy(resolver: Resolver) -> None:
    lookup = SystemLookup(1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await lookup(f"one{HANGING}")
    with pytest.raises(TransientError) as busy:
        await lookup("127.0.0.1")
    assert busy.value.code == "lookups_busy"
    resolver.released.set()
    with contextlib.suppress(socket.gaierror):
        await lookup(f"one{HANGING}")
    assert await lookup("127.0.0.1") == [ip_address("127.0.0.1")]


async def test_a_tenant_whose_every_name_hangs_holds_up_no_other(
    base: Database, tenant: UUID, sink: Sink, resolver: Resolver
) -> None:
    other = await add_tenant(base)
    hanging = [(await endpoint(base, tenant, f"http://{n}{HANGING}/"))[0] for n in range(MAX_ENDPOINTS)]
    for _ in range(DEFAULTS.webhook_slots // MAX_ENDPOINTS):
        await succeeded(base, tenant)
    await endpoint(base, other, sink.url("hook", "localhost"))
    async with delivering(base, webhook_timeout_seconds=3600.0):
        await until(lambda: len(resolver.asked) == MAX_ENDPOINTS)
        for number in range(3):
            await succeeded(base, other)
            await until(lambda number=number: len(sink.at("hook")) == number + 1)
        assert not resolver.released.is_set()
        assert {resolver.asked[name] for name in resolver.asked if name.endswith(HANGING)} == {1}
        async with base.transaction(tenant) as tx:
            for one in hanging:
                await tx.webhooks.delete(one)


async def test_what_never_left_our_own_queue_is_no_failure_of_its_endpoint(
    base: Database, tenant: UUID, sink: Sink, resolver: Resolver
) -> None:
    other = await add_tenant(base)
    for name in ("one", "two"):
        await endpoint(base, tenant, f"http://{name}{HANGING}/")
    await succeeded(base, tenant)
    endpoint_id, _ = await endpoint(base, other, sink.url("hook"))
    async with delivering(base, webhook_slots=2, webhook_timeout_seconds=0.2) as deliverer:
        assert {one.state for one in await all_end(base, tenant)} == {DeliveryState.FAILED}
        await succeeded(base, other)
        await until(lambda: _was_taken(base, other))
        await until(lambda: not deliverer._under_way)
        async with base.transaction(other) as tx:
            row = await tx.webhooks.get(endpoint_id)
        assert row is not None
        assert row.failing_since is None
        resolver.released.set()
        (made,) = await all_end(base, other)
    assert made.state is DeliveryState.DELIVERED
    assert [(one.number, one.status) for one in made.attempts] == [(2, 200)], "the first was not made, nor counted"


async def _was_taken(base: Database, tenant: UUID) -> bool:
    """Whether the tenant's one delivery was begun, as its next time shows."""
    (made,) = await deliveries(base, tenant)
    return made.next_at > made.created_at
