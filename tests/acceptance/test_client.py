"""The clients against a running Milpa: the walk of a job, blocking and asynchronous."""

import asyncio
import hashlib
import zipfile
from pathlib import Path

import pytest

from milpa import AsyncClient, Client
from milpa.client import RefusedError
from milpa.errors import UsageError
from milpa.jobs import EventType, JobEvent, JobState
from tests.support.milpa_up import Up
from tests.support.waiting import wait_until

KIND = "deal-picker"


def test_a_job_from_submit_to_its_files(client: Client, tmp_path: Path) -> None:
    problem = client.example(KIND)
    job = client.submit(KIND, problem, name="Walk", tags=["walk"], files=["xlsx", "pdf", "csv", "png"])
    events = list(client.events(job))
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert events[0].type is EventType.QUEUED
    assert events[-1].type is EventType.SUCCEEDED
    done = client.wait(job)
    assert (done.state, done.outcome, done.verified) == (JobState.SUCCEEDED, "optimal", True)
    assert client.result(job).objective == done.objective
    assert client.report(job).facts
    assert client.problem(job)["budget"] == problem["budget"]
    assert "HiGHS" in client.log(job)
    paths = client.download(job, tmp_path / "out")
    listed = {file.name: file for file in client.files(job)}
    assert {path.suffix for path in paths} >= {".xlsx", ".pdf", ".png"}
    for path in paths:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == listed[path.name].sha256
    assert job.id in {found.id for found in client.jobs(tag="walk")}
    client.delete(job)
    with pytest.raises(UsageError):
        client.job(job)


def test_one_key_makes_one_job(client: Client) -> None:
    problem = client.example(KIND)
    first, second = (client.submit(KIND, problem, idempotency_key="the-same-key") for _ in range(2))
    assert first.id == second.id


def test_events_resume_after_the_last_one_seen(client: Client) -> None:
    job = client.wait(client.submit(KIND, client.example(KIND)))
    events = list(client.events(job))
    assert list(client.events(job, after=2)) == events[2:]


def test_a_refused_problem_names_everything_that_is_wrong(client: Client) -> None:
    problem = client.example(KIND)
    deals = problem["deals"]
    broken = {**problem, "deals": [*deals, deals[0]], "must_include": ["nowhere"]}
    with pytest.raises(RefusedError) as refused:
        client.submit(KIND, broken)
    assert refused.value.status == 422
    assert {issue.code for issue in refused.value.issues} >= {"duplicate_id", "unknown_id"}
    assert all(issue.pointer.startswith("/problem/") for issue in refused.value.issues)


def test_kinds_show_their_schema(client: Client) -> None:
    assert KIND in {kind.name for kind in client.kinds()}
    assert client.kind(KIND).main_table == "deals"


async def test_every_change_of_all_jobs_is_told_and_the_counts_of_a_batch(up: Up) -> None:
    async with AsyncClient(up.url, up.key) as client:
        jobs = [{"kind": KIND, "problem": await client.example(KIND)}] * 3

        async def first_end() -> JobEvent:
            async for event in client.events(kind=KIND):
                if event.type is EventType.SUCCEEDED:
                    return event
            raise AssertionError("a stream of all jobs has no end")

        hearing = asyncio.create_task(first_end())
        while not hearing.done():  # a stream tells what happens after it was opened
            batch = await client.submit_batch(jobs)
            told = [progress async for progress in client.batch_events(batch.id)]
            assert told[-1].counts == {JobState.SUCCEEDED: 3}
            assert {progress.size for progress in told} == {3}
        assert (await hearing).data["kind"] == KIND


async def test_the_asynchronous_client_walks_the_same_way(up: Up, tmp_path: Path) -> None:
    async with AsyncClient(up.url, up.key) as client:
        job = await client.submit(KIND, await client.example(KIND), files=["csv"])
        events = [event async for event in client.events(job)]
        assert events[-1].type is EventType.SUCCEEDED
        done = await client.wait(job)
        assert (await client.result(job)).objective == done.objective
        assert [path.exists() for path in await client.download(job, tmp_path)] == [True]


async def test_a_batch_is_all_or_none(up: Up) -> None:
    async with AsyncClient(up.url, up.key) as client:
        problem = await client.example(KIND)
        batch = await client.submit_batch([{"kind": KIND, "problem": problem}] * 3, name="three")
        assert len(batch.jobs) == 3
        for job in batch.jobs:
            await client.wait(job)
        assert (await client.batch(batch.id)).counts == {JobState.SUCCEEDED: 3}
        with pytest.raises(RefusedError):
            await client.submit_batch([{"kind": KIND, "problem": problem}, {"kind": KIND, "problem": {}}])


def test_a_batch_is_cancelled_and_its_failed_jobs_are_retried(client: Client) -> None:
    problem = client.example(KIND)
    batch = client.submit_batch([{"kind": KIND, "problem": problem}] * 2)
    assert client.cancel_batch(batch.id).size == 2
    for job in batch.jobs:
        client.wait(job)
    assert client.batch(batch.id).finished_at is not None
    with pytest.raises(RefusedError, match="failed"):
        client.retry_batch(batch.id)


def test_api_keys_are_made_listed_and_revoked(up: Up, client: Client) -> None:
    made = client.create_api_key("reader", "planner", scopes=["read"])
    assert (made.secret or "").startswith(f"mlp_{made.prefix}_")
    with Client(up.url, made.secret) as reader:
        assert isinstance(reader.jobs(), list)
        with pytest.raises(RefusedError):
            reader.submit(KIND, reader.example(KIND))
        client.revoke_api_key(made)
        with pytest.raises(RefusedError):
            reader.jobs()
    (listed,) = [key for key in client.api_keys() if key.id == made.id]
    assert (listed.name, listed.role, listed.scopes, listed.secret) == ("reader", "planner", ["read"], None)
    assert listed.revoked_at is not None


def test_webhooks_are_made_changed_and_erased(client: Client) -> None:
    webhook = client.create_webhook("https://hook.invalid/", events=["job.failed"])
    assert (webhook.secret or "").startswith("whsec_")
    assert [found.id for found in client.webhooks()] == [webhook.id]
    assert client.change_webhook(webhook, tags=["board"]).tags == ["board"]
    assert client.rotate_secret(webhook).secret != webhook.secret
    assert client.rotate_secret().overlap_hours == 24
    sent = client.ping_webhook(webhook)
    wait_until(lambda: bool(client.deliveries(webhook)[0].attempts))
    (delivery,) = client.deliveries(state="pending")
    assert (delivery.id, delivery.type) == (sent.id, "webhook.test")
    assert "leads nowhere" in (delivery.attempts[0].error or "")
    assert client.redeliver(delivery).id == sent.id
    client.delete_webhook(webhook)
    assert client.webhooks() == []
    with pytest.raises(RefusedError, match="public"):
        client.create_webhook("http://127.0.0.1/")


def test_a_wrong_key_is_the_callers_mistake(up: Up) -> None:
    with Client(up.url, "mlp_wrong_key") as client, pytest.raises(RefusedError) as refused:
        client.kinds()
    assert refused.value.status == 401


def test_everything_is_taken_along_and_the_audit_says_so(client: Client, tmp_path: Path) -> None:
    job = client.wait(client.submit(KIND, client.example(KIND)))
    made = client.create_export()
    wait_until(lambda: client.export(made).state == "ready", 120)
    path = client.download_export(made, tmp_path / "all.zip")
    with zipfile.ZipFile(path) as archive:
        assert f"jobs/{job.id}/result.json" in archive.namelist()
    assert made.id in [one.id for one in client.exports()]
    actions = {entry.action for entry in client.audit(target=str(made.id))}
    assert actions >= {"create_export", "make_export"}
    with pytest.raises(RefusedError):
        client.erase_person("student", "nobody")
