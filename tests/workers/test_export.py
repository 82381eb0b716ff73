"""Exports: everything of a tenant as a zip, or what is about one person, and nothing of anyone else."""

import asyncio
import io
import json
import zipfile
from typing import Any
from uuid import uuid4

import asyncpg
import msgspec
import pytest

from milpa.errors import TransientError
from milpa.jobs import FileFormat, JobState
from solvers.persons import persons_in
from storage.audit_rows import AuditFilter
from storage.export_rows import ExportRow, ExportState
from storage.objects import ObjectStore
from storage.rows import JobRow, NewJob, Role, Subject
from storage.schedule_rows import NewSchedule
from storage.webhook_rows import NewEndpoint
from tests.workers.conftest import Desk
from tests.workers.kinds.roster import KIND
from tests.workers.kinds.roster.problem import Roster, Student
from workers.export import Exporter
from workers.export_contents import Packer, RecalledError
from workers.sweep import Sweeper
from workers.zip_stream import ZipStream

ANA, BO = Subject("student", "S1"), Subject("student", "S2")
PROBLEM = Roster([Student("S1", "Ana Lima"), Student("S2", "Bo Quist")])


def roster(problem: Roster = PROBLEM, **more: Any) -> NewJob:
    """A job as the API makes it of a submit."""
    subjects = [Subject(one.kind, one.id) for one in persons_in(KIND.subjects, problem)]
    return NewJob(
        kind="roster",
        kind_version=1,
        input=msgspec.json.encode(problem),
        subjects=subjects,
        warnings=KIND.check(problem),
        **more,
    )


@pytest.fixture
def exporter(desk: Desk) -> Exporter:
    context = desk.context
    return Exporter(context.settings, context.database, context.objects, kinds="tests.workers.kinds")


@pytest.fixture
async def done(desk: Desk) -> JobRow:
    """A roster that a worker has made, with a file."""
    async with desk.context.database.transaction(desk.tenant) as tx:
        job = (await tx.jobs.submit(roster(name="Class of Ana Lima", files=[FileFormat.CSV]))).job
    job = await desk.run(job)
    assert job.state is JobState.SUCCEEDED
    return job


async def ask(desk: Desk, subject: Subject | None = None) -> ExportRow:
    async with desk.context.database.transaction(desk.tenant) as tx:
        return await tx.exports.request("someone", subject)


async def now(desk: Desk, row: ExportRow) -> ExportRow:
    async with desk.context.database.transaction(desk.tenant) as tx:
        found = await tx.exports.get(row.id)
    assert found is not None
    return found


async def make(desk: Desk, exporter: Exporter, subject: Subject | None = None) -> dict[str, bytes]:
    """Have the export made, and return what is in it."""
    row = await ask(desk, subject)
    assert await exporter.make_next()
    made = await now(desk, row)
    assert (made.state, made.reason) == (ExportState.READY, None)
    assert made.object_key is not None
    data = await desk.context.objects.get(made.object_key)
    assert len(data) == made.size
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


async def test_everything_of_a_tenant_is_in_it_and_no_secret(desk: Desk, exporter: Exporter, done: JobRow) -> None:
    database = desk.context.database
    async with database.transaction(desk.tenant) as tx:
        _, secret = await tx.webhooks.create(NewEndpoint(url="https://example.org/hook"))
        key = await tx.api_keys.create("the board", Role.VIEWER)
        nightly = NewSchedule(name="night", cron="0 2 * * *", timezone="UTC", jobs=[roster(question=b'{"why":1}')])
        schedule = (await tx.schedules.create(nightly)).schedule
        batch = await tx.jobs.submit_batch("two", [roster(), roster()])
        await tx.audit.system("tests", "looked", [])
    found = await make(desk, exporter)
    folder = f"jobs/{done.id}"
    assert json.loads(found[f"{folder}/job.json"])["name"] == "Class of Ana Lima"
    assert json.loads(found[f"{folder}/problem.json"]) == msgspec.to_builtins(PROBLEM)
    assert json.loads(found[f"{folder}/result.json"])["solution"] == {"classes": {"S1": "A", "S2": "A"}}
    assert b"sits in class A" in found[f"{folder}/report.json"]
    assert b"seating" in found[f"{folder}/log.txt"]
    events = [json.loads(line)["type"] for line in found[f"{folder}/events.jsonl"].splitlines()]
    assert (events[0], events[-1]) == ("queued", "succeeded")
    [file] = [name for name in found if name.startswith(f"{folder}/files/")]
    assert b"Ana Lima" in found[file]
    [planned] = json.loads(found[f"schedules/{schedule.id}.json"])
    assert (planned["input"], planned["question"]) == (msgspec.to_builtins(PROBLEM), {"why": 1})
    lists = {name: [json.loads(line) for line in found[f"{name}.jsonl"].splitlines()] for name in (
        "batches", "schedules", "schedule_runs", "webhooks", "webhook_deliveries", "api_keys", "audit", "exports",
    )}  # fmt: skip
    assert [row["id"] for row in lists["batches"]] == [str(batch.batch_id)]
    assert [row["name"] for row in lists["schedules"]] == ["night"]
    assert [row["url"] for row in lists["webhooks"]] == ["https://example.org/hook"]
    assert [row["name"] for row in lists["api_keys"]] == ["the board"]
    assert "looked" in [row["action"] for row in lists["audit"]]
    assert len([name for name in found if name.endswith("/job.json")]) == 3
    assert json.loads(found["manifest.json"])["counts"]["jobs"] == 3
    whole = b"".join(found.values())
    for hidden in (secret, key.secret, "key_hash", "object_key", str(desk.tenant) + "/"):
        assert hidden.encode() not in whole


async def test_an_export_of_one_person_has_nothing_of_another(desk: Desk, exporter: Exporter, done: JobRow) -> None:
    database = desk.context.database
    async with database.transaction(desk.tenant) as tx:
        await tx.jobs.submit(roster(Roster([Student("S2", "Bo Quist")])))
        nightly = NewSchedule(name="night", cron="0 2 * * *", timezone="UTC", jobs=[roster()])
        schedule = (await tx.schedules.create(nightly)).schedule
    found = await make(desk, exporter, ANA)
    assert set(found) == {f"jobs/{done.id}.json", f"schedules/{schedule.id}.json", "audit.jsonl", "manifest.json"}
    about = json.loads(found[f"jobs/{done.id}.json"])
    assert about["problem"] == [{"id": "S1", "name": "Ana Lima"}]
    assert {"S1": "A"} in about["result"]
    assert b"Ana Lima" in found[f"schedules/{schedule.id}.json"]
    whole = b"".join(found.values())
    assert b"S2" not in whole
    assert b"Bo Quist" not in whole


async def test_a_person_is_not_told_while_it_waits_and_forgotten_after(
    desk: Desk, exporter: Exporter, owner: asyncpg.Connection
) -> None:
    row = await ask(desk, Subject("student", "Quince"))
    kept = await owner.fetchrow("SELECT * FROM exports WHERE id = $1", row.id)
    assert b"Quince" not in kept["subject"]
    await exporter.make_next()
    assert await owner.fetchval("SELECT subject FROM exports WHERE id = $1", row.id) is None


async def test_the_jobs_someone_asked_for_are_exported_as_theirs(desk: Desk, exporter: Exporter) -> None:
    from tests.storage.test_audit import trail

    asked = trail(desk.tenant)
    async with desk.context.database.transaction(desk.tenant, asked) as tx:
        job = (await tx.jobs.submit(roster())).job
        await tx.jobs.submit_batch("b", [roster()])
    async with desk.context.database.transaction(desk.tenant) as tx:
        await tx.jobs.submit(roster())
    found = await make(desk, exporter, Subject("user", "someone"))
    assert f"jobs/{job.id}.json" in found
    assert len([name for name in found if name.startswith("jobs/")]) == 2
    assert [json.loads(line)["action"] for line in found["audit.jsonl"].splitlines()] == ["submit"]


async def test_an_export_broken_off_is_made_by_the_next_and_given_up_at_last(
    desk: Desk, exporter: Exporter, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise TransientError("object_store_unavailable", "away")

    row = await ask(desk, ANA)
    with monkeypatch.context() as patched:
        patched.setattr(ObjectStore, "writer", broken)
        for _ in range(desk.context.settings.max_errors):
            with pytest.raises(TransientError):
                await exporter.make_next()
            assert not await exporter.make_next(), "nobody else takes it while its lease runs"
            await owner.execute("UPDATE exports SET lease_until = now() WHERE id = $1", row.id)
    assert not await exporter.make_next()
    given_up = await now(desk, row)
    assert (given_up.state, given_up.reason) == (ExportState.FAILED, "given_up")
    assert await owner.fetchval("SELECT subject FROM exports WHERE id = $1", row.id) is None


async def test_an_export_under_way_when_a_worker_drains_is_given_back_uncounted_however_often(
    desk: Desk, exporter: Exporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    packing = asyncio.Event()

    async def pack_for_ever(*_: object) -> None:
        packing.set()
        await asyncio.Event().wait()

    row = await ask(desk)
    with monkeypatch.context() as patched:
        patched.setattr(Packer, "pack", pack_for_ever)
        for _ in range(desk.context.settings.max_errors + 1):
            packing.clear()
            running = asyncio.create_task(exporter.run())
            await packing.wait()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            given_back = await now(desk, row)
            assert (given_back.state, given_back.attempt) == (ExportState.PENDING, 0)
    assert await exporter.make_next()
    assert (await now(desk, row)).state is ExportState.READY


async def test_an_export_recalled_before_it_was_given_back_stays_recalled(desk: Desk) -> None:
    row = await ask(desk)
    async with desk.context.database.fleet() as fleet:
        ref = await fleet.exports.take(3)
    assert ref is not None
    async with desk.context.database.transaction(desk.tenant) as tx:
        await tx.exports.recall()
        assert not await tx.exports.release(ref)
    assert (await now(desk, row)).state is ExportState.EXPIRED


async def test_an_export_given_up_before_forgets_its_person_when_someone_is_erased(
    desk: Desk, owner: asyncpg.Connection
) -> None:
    row = await ask(desk, ANA)
    await owner.execute("UPDATE exports SET state = 'failed', reason = 'given_up' WHERE id = $1", row.id)
    async with desk.context.database.transaction(desk.tenant) as tx:
        assert await tx.exports.recall() == []
    assert (await now(desk, row)).state is ExportState.FAILED
    assert await owner.fetchval("SELECT subject FROM exports WHERE id = $1", row.id) is None


async def test_an_export_recalled_meanwhile_leaves_nothing(desk: Desk, exporter: Exporter, done: JobRow) -> None:
    row = await ask(desk)
    async with desk.context.database.fleet() as fleet:
        ref = await fleet.exports.take(3)
    assert ref is not None
    async with desk.context.database.transaction(desk.tenant) as tx:
        assert await tx.exports.recall() == []
    with pytest.raises(RecalledError):
        await exporter._make(ref)
    assert (await now(desk, row)).state is ExportState.EXPIRED
    keys = [found.key async for found in desk.context.objects.list(f"{desk.tenant}/exports/")]
    assert keys == []
    assert done.state is JobState.SUCCEEDED


async def test_exports_end_with_their_days(desk: Desk, exporter: Exporter, owner: asyncpg.Connection) -> None:
    row = await ask(desk)
    await exporter.make_next()
    context = desk.context
    sweeper = Sweeper(context.settings, context.database, context.objects, context.dispatcher)
    await sweeper.collect_orphans()
    await sweeper.prune()
    ready = await now(desk, row)
    assert ready.object_key is not None
    assert await context.objects.get(ready.object_key)
    await owner.execute("UPDATE exports SET expires_at = now() WHERE id = $1", row.id)
    await sweeper.prune()
    assert (await now(desk, row)).state is ExportState.EXPIRED
    with pytest.raises(FileNotFoundError):
        await context.objects.get(ready.object_key)
    async with context.database.transaction(desk.tenant) as tx:
        actions = [one.action for one in await tx.audit.list(AuditFilter())]
    assert actions == ["expire_exports", "make_export"]


async def test_an_object_of_an_export_is_no_orphan(desk: Desk, exporter: Exporter) -> None:
    row = await ask(desk)
    await exporter.make_next()
    key = (await now(desk, row)).object_key
    async with desk.context.database.fleet() as fleet:
        assert await fleet.jobs.unnamed([str(key), "orphan"]) == ["orphan"]


async def test_a_zip_is_written_in_pieces_and_never_held_whole() -> None:
    written = bytearray()
    largest = 0

    async def write(piece: bytes) -> None:
        nonlocal largest
        largest = max(largest, len(piece))
        written.extend(piece)

    async def noise() -> Any:
        for _ in range(200):
            yield uuid4().bytes * 4096

    async with ZipStream(write) as archive:
        await archive.add("a.json", b"{}")
        await archive.add_pieces("b.bin", noise())
    with zipfile.ZipFile(io.BytesIO(bytes(written))) as back:
        assert back.namelist() == ["a.json", "b.bin"]
        assert back.testzip() is None
        assert back.getinfo("b.bin").file_size == 200 * 65_536
    assert archive.size == len(written)
    assert largest < 200_000


async def test_an_export_recalled_while_it_is_packed_leaves_no_half_of_it(
    desk: Desk, exporter: Exporter, done: JobRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask(desk)
    async with desk.context.database.fleet() as fleet:
        ref = await fleet.exports.take(3)
    assert ref is not None
    go_on = Packer._go_on

    async def recalled(packer: Packer) -> None:
        await packer._archive.add("so-far.json", msgspec.json.encode(done.id))
        async with desk.context.database.transaction(desk.tenant) as tx:
            await tx.exports.recall()
        await go_on(packer)

    monkeypatch.setattr(Packer, "_go_on", recalled)
    with pytest.raises(RecalledError):
        await exporter._make(ref)
    assert [found.key async for found in desk.context.objects.list(f"{desk.tenant}/exports/")] == []
