"""Webhooks end to end: from a job's end in the database to a real server that takes them well or badly."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from redis.asyncio import Redis
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from milpa.errors import TransientError
from milpa.jobs import JobError, JobState, Outcome, Priority, new_id
from milpa.settings import Settings
from storage.rows import Ending
from storage.transaction import Database
from storage.webhook_rows import (
    DeliveryFilter,
    DeliveryRef,
    DeliveryRow,
    DeliveryState,
    DisabledReason,
    NewEndpoint,
    Parcel,
    WebhookEvent,
)
from tests.storage.steps import claim, finish, new_job, submit, succeeded, warning
from tests.workers.sink import Sink, running_sink
from workers import deliver_webhook
from workers.deliver_webhook import LONGEST_PAUSE_SECONDS, Deliverer, Sender, wait_of
from workers.safe_address import SystemLookup

PATIENCE = 60.0
DEFAULTS = Settings()


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with running_sink() as sink:
        yield sink


@pytest.fixture(scope="session")
def hooked(quick: Settings) -> Settings:
    """Settings that allow this machine's own sink, and retry at once."""
    return msgspec.structs.replace(
        quick,
        webhook_private_targets=True,
        webhook_ports=(),
        webhook_retry_seconds=(0.01, 0.02, 0.02),
        webhook_timeout_seconds=30.0,
    )


@pytest.fixture
async def base(hooked: Settings) -> AsyncIterator[Database]:
    database = await Database.connect(hooked)
    yield database
    await database.close()


@contextlib.asynccontextmanager
async def delivering(base: Database, **changes: Any) -> AsyncIterator[Deliverer]:
    deliverer = Deliverer(msgspec.structs.replace(base.settings, **changes), base)
    running = asyncio.create_task(deliverer.run())
    try:
        yield deliverer
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def until(holds: Callable[[], Awaitable[bool]] | Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            held = holds()
            if await held if isinstance(held, Awaitable) else held:
                return
            await asyncio.sleep(0.01)


async def endpoint(base: Database, tenant: UUID, url: str, **wanted: Any) -> tuple[UUID, str]:
    async with base.transaction(tenant) as tx:
        row, secret = await tx.webhooks.create(NewEndpoint(url=url, **wanted))
    return row.id, secret


async def deliveries(base: Database, tenant: UUID, **which: Any) -> list[DeliveryRow]:
    async with base.transaction(tenant) as tx:
        return list(await tx.webhooks.deliveries(DeliveryFilter(**which), limit=1000))


async def all_end(base: Database, tenant: UUID) -> list[DeliveryRow]:
    """Wait until nothing of the tenant's is pending, and return its deliveries."""

    async def ended() -> bool:
        return all(one.state is not DeliveryState.PENDING for one in await deliveries(base, tenant))

    await until(ended)
    return await deliveries(base, tenant)


# What arrives


async def test_a_webhook_is_one_that_standard_webhooks_verifies(base: Database, tenant: UUID, sink: Sink) -> None:
    _, secret = await endpoint(base, tenant, sink.url("hook"))
    job = await succeeded(base, tenant, name="Q3", tags=["board"])
    async with delivering(base):
        (made,) = await all_end(base, tenant)
    (came,) = sink.at("hook")
    told = Webhook(secret).verify(came.body, came.headers)
    assert came.headers["webhook-id"] == str(made.id)
    assert came.headers["content-type"] == "application/json"
    assert told["type"] == "job.succeeded"
    assert told["timestamp"] == told["data"]["finished_at"]
    assert {name: told["data"][name] for name in ("id", "kind", "name", "tags", "state", "outcome", "objective")} == {
        "id": str(job.id),
        "kind": "deal-picker",
        "name": "Q3",
        "tags": ["board"],
        "state": "succeeded",
        "outcome": "optimal",
        "objective": 12.5,
    }
    assert told["data"]["links"]["result"] == f"/v1/jobs/{job.id}/result"
    assert (made.state, [one.status for one in made.attempts]) == (DeliveryState.DELIVERED, [200])
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(came.body.replace(b"Q3", b"Q4"), came.headers)


async def test_an_attempt_long_after_the_event_is_dated_and_signed_as_it_is_sent(
    base: Database, tenant: UUID, sink: Sink, owner: asyncpg.Connection
) -> None:
    """Receivers refuse what is dated more than five minutes off; retries go on for days."""
    _, secret = await endpoint(base, tenant, sink.url("late"))
    await succeeded(base, tenant)
    await owner.execute("UPDATE webhook_deliveries SET event_at = event_at - interval '9 hours'")
    async with delivering(base):
        await all_end(base, tenant)
    (came,) = sink.at("late")
    told = Webhook(secret).verify(came.body, came.headers)
    happened = datetime.fromisoformat(told["timestamp"])
    assert timedelta(hours=8) < datetime.now(UTC) - happened < timedelta(hours=10)


async def test_while_a_secret_is_rotated_both_verify(base: Database, tenant: UUID, sink: Sink) -> None:
    endpoint_id, first = await endpoint(base, tenant, sink.url("hook"))
    async with base.transaction(tenant) as tx:
        second = await tx.webhooks.rotate(endpoint_id, 3600)
    await succeeded(base, tenant)
    async with delivering(base):
        await all_end(base, tenant)
        (came,) = sink.at("hook")
        for secret in (first, second):
            assert secret is not None
            Webhook(secret).verify(came.body, came.headers)
        async with base.transaction(tenant) as tx:
            third = await tx.webhooks.rotate(endpoint_id, 0)
        await succeeded(base, tenant)
        await all_end(base, tenant)
    assert third is not None
    latest = sink.at("hook")[-1]
    Webhook(third).verify(latest.body, latest.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(first).verify(came.body, {**came.headers, "webhook-signature": latest.headers["webhook-signature"]})


async def test_jobs_and_batches_tell_the_addresses_they_name(base: Database, tenant: UUID, sink: Sink) -> None:
    async with base.transaction(tenant) as tx:
        secret = await tx.webhooks.rotate(None, 0)
        jobs = [new_job(webhook_url=sink.url("job?n=1")), new_job()]
        batch = await tx.jobs.submit_batch("night", jobs, sink.url("batch"))
    for job in batch.jobs:
        await finish(base, (await claim(base, job)).ref)
    async with delivering(base):
        await all_end(base, tenant)
    assert secret is not None
    (of_job,), (of_batch,) = sink.at("job?n=1"), sink.at("batch")
    assert Webhook(secret).verify(of_job.body, of_job.headers)["data"]["id"] == str(batch.jobs[0].id)
    told = Webhook(secret).verify(of_batch.body, of_batch.headers)
    assert told["type"] == "batch.finished"
    assert (told["data"]["id"], told["data"]["size"]) == (str(batch.batch_id), 2)
    assert told["data"]["counts"] == {"succeeded": 2}


async def test_a_test_ping_arrives(base: Database, tenant: UUID, sink: Sink) -> None:
    endpoint_id, secret = await endpoint(base, tenant, sink.url("hook"), events=["job.failed"])
    async with delivering(base):
        async with base.transaction(tenant) as tx:
            await tx.webhooks.test(endpoint_id)
        await all_end(base, tenant)
    (came,) = sink.at("hook")
    told = Webhook(secret).verify(came.body, came.headers)
    assert (told["type"], told["data"]) == ("webhook.test", {"webhook_id": str(endpoint_id)})


async def test_a_body_is_under_20_kb_whatever_the_job_is_called(base: Database, tenant: UUID, sink: Sink) -> None:
    await endpoint(base, tenant, sink.url("hook"))
    job = await submit(base, tenant, name="\u0001" * 200, tags=[chr(1) * 63 + chr(65 + n) for n in range(20)])
    ending = Ending(
        state=JobState.FAILED,
        error=JobError("boom", "\u0001" * 100_000),
        warnings=[warning(message="x" * 1000)] * 100,
    )
    await finish(base, (await claim(base, job)).ref, ending)
    async with delivering(base):
        await all_end(base, tenant)
    assert len(sink.at("hook")[0].body) < 20_000


# What goes wrong


async def test_retries_carry_the_same_id_and_body_until_one_is_taken(base: Database, tenant: UUID, sink: Sink) -> None:
    _, secret = await endpoint(base, tenant, sink.url("hook"))
    sink.answers["hook"] = [500, "reset", 503, 204]
    await succeeded(base, tenant)
    async with delivering(base):
        (made,) = await all_end(base, tenant)
    came = sink.at("hook")
    assert len(came) == 4
    assert len({request.headers["webhook-id"] for request in came}) == 1
    assert len({request.body for request in came}) == 1
    for request in came:
        Webhook(secret).verify(request.body, request.headers)
    assert made.state is DeliveryState.DELIVERED
    assert [one.number for one in made.attempts] == [1, 2, 3, 4]
    assert [one.status for one in made.attempts] == [500, None, 503, 204]
    assert [bool(one.error) for one in made.attempts] == [False, True, False, False]
    assert made.attempts[0].response == ("answer 500 " + "x" * 5000)[:1000]


@pytest.mark.parametrize(
    ("answer", "status"),
    [(500, 500), (404, 404), (429, 429), ("reset", None), ("garbage", None), ("hang", None)],
)
async def test_what_fails_every_time_is_given_up_after_the_last_pause(
    base: Database, tenant: UUID, sink: Sink, answer: int | str, status: int | None
) -> None:
    await endpoint(base, tenant, sink.url("hook"))
    sink.answers["hook"] = [answer]
    await succeeded(base, tenant)
    async with delivering(base, webhook_timeout_seconds=0.3):
        (made,) = await all_end(base, tenant)
    assert made.state is DeliveryState.FAILED
    assert [one.status for one in made.attempts] == [status] * 4
    assert all(one.error for one in made.attempts) == (status is None)


async def test_a_server_that_is_not_there_is_a_failure(base: Database, tenant: UUID) -> None:
    async with running_sink() as gone:
        url = gone.url("hook")
    await endpoint(base, tenant, url)
    await succeeded(base, tenant)
    async with delivering(base):
        (made,) = await all_end(base, tenant)
    assert made.state is DeliveryState.FAILED
    assert "ConnectError" in (made.attempts[0].error or "")


async def test_a_redirect_is_a_failure_and_is_not_followed(base: Database, tenant: UUID, sink: Sink) -> None:
    await endpoint(base, tenant, sink.url("hook"))
    await succeeded(base, tenant)
    async with running_sink() as inner, delivering(base):
        sink.answers["hook"] = [
            f"HTTP/1.1 {status} Go\r\nLocation: {inner.url('secret')}\r\nContent-Length: 0\r\n\r\n"
            for status in (301, 302, 307, 308)
        ]
        (made,) = await all_end(base, tenant)
        assert inner.connections == 0
    assert [one.status for one in made.attempts] == [301, 302, 307, 308]
    assert made.state is DeliveryState.FAILED


async def test_once_the_status_is_known_a_body_that_never_ends_changes_nothing(
    base: Database, tenant: UUID, sink: Sink
) -> None:
    await endpoint(base, tenant, sink.url("hook"))
    sink.answers["hook"] = ["drip"]
    await succeeded(base, tenant)
    async with delivering(base, webhook_timeout_seconds=0.5):
        (made,) = await all_end(base, tenant)
    assert made.state is DeliveryState.DELIVERED
    assert [(one.status, one.response) for one in made.attempts] == [(200, "so far")]


async def test_410_disables_the_endpoint_and_tells_the_others(base: Database, tenant: UUID, sink: Sink) -> None:
    gone, _ = await endpoint(base, tenant, sink.url("gone"), events=["job.succeeded"])
    await endpoint(base, tenant, sink.url("other"), events=["webhook.disabled"])
    sink.answers["gone"] = [410]
    await succeeded(base, tenant)
    async with delivering(base):
        await until(lambda: bool(sink.at("other")))
        await all_end(base, tenant)
    assert len(sink.at("gone")) == 1
    assert msgspec.json.decode(sink.at("other")[0].body)["data"] == {"webhook_id": str(gone), "reason": "gone"}
    async with base.transaction(tenant) as tx:
        row = await tx.webhooks.get(gone)
    assert row is not None
    assert row.disabled_reason is DisabledReason.GONE


async def test_retry_after_puts_the_next_attempt_off(base: Database, tenant: UUID, sink: Sink) -> None:
    await endpoint(base, tenant, sink.url("hook"))
    sink.answers["hook"] = ["HTTP/1.1 503 Busy\r\nRetry-After: 7200\r\nContent-Length: 0\r\n\r\n"]
    await succeeded(base, tenant)

    async def tried() -> bool:
        (made,) = await deliveries(base, tenant)
        return bool(made.attempts)

    async with delivering(base):
        await until(tried)
    (made,) = await deliveries(base, tenant)
    assert made.state is DeliveryState.PENDING
    assert 7100 < (made.next_at - made.attempts[0].at).total_seconds() <= 7200


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", 0),
        ("120", 120),
        (" 5 ", 5),
        ("soon", 0),
        ("-3", 0),
        ("²", 0),
        ("9" * 400, 86_400),
        ("1000000000000", 86_400),
    ],
)
def test_retry_after_is_read_as_a_number_of_seconds(text: str, seconds: float) -> None:
    assert wait_of(text, datetime.now(UTC)) == seconds


def test_retry_after_is_read_as_a_date() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert wait_of(format_datetime(now + timedelta(seconds=90), usegmt=True), now) == 90
    assert wait_of(format_datetime(now - timedelta(seconds=90), usegmt=True), now) == 0
    assert wait_of(format_datetime(now + timedelta(days=90), usegmt=True), now) == 86_400


DATE = ["Mon,", "01", "Jan", "2027", "00:00:00", "+0000"]


@st.composite
def nearly_dates(draw: st.DrawFn) -> str:
    """A date as HTTP writes it, but for one part of it."""
    parts = list(DATE)
    parts[draw(st.integers(0, len(DATE) - 1))] = draw(st.integers().map(str) | st.text())
    return " ".join(parts)


@given(st.text() | st.integers().map(str) | nearly_dates())
@example("Mon, 01 Jan 99999999999999999999 00:00:00 GMT")
@example("Mon, 01 Jan 2027 99999999999999999999:00:00 GMT")
@example("Mon, 01 Jan 2027 00:00:00 +99999999999999999999")
@example("Fri, 31 Dec 9999 23:59:59 -2359")
@example("Mon, 01 Jan 0001 00:00:00 +2359")
def test_whatever_retry_after_says_the_wait_is_between_nothing_and_a_day(text: str) -> None:
    assert 0 <= wait_of(text, datetime.now(UTC)) <= LONGEST_PAUSE_SECONDS


def test_the_pauses_are_those_promised_with_jitter_that_never_comes_early() -> None:
    sender = Sender(DEFAULTS, SystemLookup(1))
    promised = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400]
    for failures, pause in enumerate(promised):
        drawn = {sender._pause(failed(failures)) or 0 for _ in range(50)}
        assert pause <= min(drawn) < max(drawn) <= pause * 1.2
    assert sender._pause(failed(len(promised))) is None
    assert sender._pause(failed(len(promised)), 60.0) is None
    assert sender._pause(failed(0), 86_400.0) == 86_400


def failed(times: int) -> DeliveryRef:
    return DeliveryRef(uuid4(), new_id(), times + 1, times)


def parcel(url: str = "https://example.org/", secrets: Sequence[str] = ()) -> Parcel:
    now = datetime.now(UTC)
    return Parcel(
        ref=failed(0),
        url=url,
        type=WebhookEvent.WEBHOOK_TEST,
        event_at=now,
        now=now,
        secrets=secrets,
        job=None,
        batch=None,
        data={},
    )


async def test_a_retry_after_that_no_clock_can_show_is_one_failure_of_each_attempt(
    base: Database, tenant: UUID, sink: Sink
) -> None:
    await endpoint(base, tenant, sink.url("hook"))
    never = "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"
    sink.answers["hook"] = [f"HTTP/1.1 500 No\r\nRetry-After: {never}\r\nContent-Length: 0\r\n\r\n"]
    await succeeded(base, tenant)
    async with delivering(base):
        (made,) = await all_end(base, tenant)
    assert made.state is DeliveryState.FAILED
    assert [one.status for one in made.attempts] == [500] * 4


@pytest.mark.parametrize("broken", ["_post", "_exchange"])
async def test_a_mistake_of_ours_is_a_failed_attempt_that_no_endpoint_is_blamed_for(
    base: Database, tenant: UUID, sink: Sink, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    async def mistaken(*_: object) -> None:
        raise LookupError("something nobody has thought of")

    monkeypatch.setattr(Sender, broken, mistaken)
    endpoint_id, _ = await endpoint(base, tenant, sink.url("hook"))
    await succeeded(base, tenant)
    async with delivering(base):
        (made,) = await all_end(base, tenant)
    assert made.state is DeliveryState.FAILED
    assert [one.error for one in made.attempts] == ["Milpa made a mistake."] * 4
    async with base.transaction(tenant) as tx:
        row = await tx.webhooks.get(endpoint_id)
    assert row is not None
    assert row.failing_since is None


async def test_a_delivery_whose_secret_opens_no_more_is_given_up_like_any_other(
    base: Database, tenant: UUID, sink: Sink, owner: asyncpg.Connection
) -> None:
    endpoint_id, _ = await endpoint(base, tenant, sink.url("hook"))
    await owner.execute("UPDATE webhook_secrets SET secret = 'x' WHERE endpoint_id = $1", endpoint_id)
    await succeeded(base, tenant)
    async with delivering(base):
        (made,) = await all_end(base, tenant)
    assert made.state is DeliveryState.FAILED
    assert len(made.attempts) == 4
    assert sink.connections == 0


# Many at once, and workers that die


async def test_an_endpoint_that_hangs_holds_up_no_other(base: Database, tenant: UUID, sink: Sink) -> None:
    await endpoint(base, tenant, sink.url("quick"), tags=["quick"])
    async with running_sink() as slow:
        await endpoint(base, tenant, slow.url("slow"), tags=["slow"])
        slow.answers["slow"] = ["hang"]
        for _ in range(12):
            await succeeded(base, tenant, tags=["slow"])
        for _ in range(12):
            await succeeded(base, tenant, tags=["quick"])
        async with delivering(base, webhook_slots=10, webhook_slots_each=3):
            await until(lambda: len(sink.at("quick")) == 12 and slow.open == 3)
            assert slow.most_open == 3
            slow.answers["slow"] = [200]
            slow.released.set()
            made = await all_end(base, tenant)
    assert len(made) == 24
    assert all(one.state is DeliveryState.DELIVERED for one in made)


async def test_what_a_killed_worker_held_is_delivered_by_another(base: Database, tenant: UUID, sink: Sink) -> None:
    await endpoint(base, tenant, sink.url("hook"))
    await succeeded(base, tenant)
    async with base.fleet() as fleet:
        held = await fleet.deliveries.take(1000, each=1000, share=1000, lease_seconds=0.2)
    assert held
    async with delivering(base):
        (made,) = await all_end(base, tenant)
    assert made.state is DeliveryState.DELIVERED
    assert [one.number for one in made.attempts] == [2]


async def test_what_is_under_way_when_a_worker_drains_is_given_back(base: Database, tenant: UUID, sink: Sink) -> None:
    await endpoint(base, tenant, sink.url("hook"))
    sink.answers["hook"] = ["hang", 200]
    await succeeded(base, tenant)
    async with delivering(base, lease_seconds=3600):
        await until(lambda: bool(sink.at("hook")))
    async with delivering(base, lease_seconds=3600):
        (made,) = await all_end(base, tenant)
    assert made.state is DeliveryState.DELIVERED
    assert len(sink.at("hook")) == 2


async def test_two_workers_deliver_each_once(base: Database, tenant: UUID, sink: Sink) -> None:
    await endpoint(base, tenant, sink.url("hook"))
    jobs = [await succeeded(base, tenant) for _ in range(30)]
    async with delivering(base), delivering(base):
        await all_end(base, tenant)
    told = [msgspec.json.decode(request.body)["data"]["id"] for request in sink.at("hook")]
    assert sorted(told) == sorted(str(job.id) for job in jobs)


async def test_an_end_elsewhere_wakes_the_worker(
    hooked: Settings, tenant: UUID, sink: Sink, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver_webhook, "POLL_SECONDS", 3600.0)
    here, there = await Database.connect(hooked, redis), await Database.connect(hooked, redis)
    try:
        await endpoint(here, tenant, sink.url("hook"))
        async with delivering(here):
            await asyncio.sleep(0.3)
            await succeeded(there, tenant)
            await until(lambda: bool(sink.at("hook")))
            await succeeded(here, tenant)
            await until(lambda: len(sink.at("hook")) == 2)
    finally:
        await here.close()
        await there.close()


async def test_a_database_that_is_away_for_a_while_is_asked_again(
    base: Database, tenant: UUID, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet, asked = base.fleet, 0

    def away() -> Any:
        nonlocal asked
        asked += 1
        if asked < 4:
            raise TransientError("database_unavailable", "")
        return fleet()

    monkeypatch.setattr(base, "fleet", away)
    monkeypatch.setattr(deliver_webhook, "POLL_SECONDS", 0.01)
    await endpoint(base, tenant, sink.url("hook"))
    await succeeded(base, tenant)
    async with delivering(base):
        await all_end(base, tenant)
    assert asked >= 4


async def test_the_environments_proxy_is_not_asked(
    base: Database, tenant: UUID, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    await endpoint(base, tenant, sink.url("hook"))
    await succeeded(base, tenant)
    async with running_sink() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        async with delivering(base):
            await all_end(base, tenant)
        assert proxy.connections == 0
    assert len(sink.at("hook")) == 1


async def test_a_sink_with_errors_hangs_and_resets_is_told_of_every_job_at_least_once(
    base: Database, tenant: UUID, sink: Sink
) -> None:
    await endpoint(base, tenant, sink.url("hook"))
    answers: list[int | str] = [200, 500, 200, "reset", 200, 503, 200, "hang", 200, "garbage"]
    sink.answers["hook"] = [*(answers * 8), 200]
    jobs = [await submit(base, tenant, priority=Priority.BATCH) for _ in range(40)]
    async with delivering(base, webhook_timeout_seconds=0.5, webhook_retry_seconds=(0.01,) * 20):
        for job in jobs:
            await finish(base, (await claim(base, job)).ref, Ending(state=JobState.SUCCEEDED, outcome=Outcome.OPTIMAL))
        made = await all_end(base, tenant)
    assert len(made) == 40
    assert all(one.state is DeliveryState.DELIVERED for one in made)
    told = {msgspec.json.decode(request.body)["data"]["id"] for request in sink.at("hook")}
    assert told == {str(job.id) for job in jobs}
