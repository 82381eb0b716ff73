"""Files asked for after a job has ended."""

import asyncio

import asyncpg
import pytest
from arq.connections import ArqRedis

from milpa.errors import FatalError
from milpa.jobs import FileFormat, Priority
from storage.jobs import JobStore
from storage.rows import FileRequest, FileRow, JobRow
from tests.workers.conftest import Desk
from workers.child_process import Ended
from workers.make_files import make_files
from workers.protocol import Blame, Failed


async def ask(desk: Desk, job: JobRow, *formats: FileFormat) -> FileRequest:
    async with desk.context.database.transaction(desk.tenant) as tenant:
        request = await tenant.files.request(job.id, formats)
    assert request is not None
    return request


async def answer(desk: Desk, request: FileRequest) -> None:
    """Have both workers answer a ring for it."""
    ring = str(desk.tenant), str(request.job_id), request.dispatch_no
    await asyncio.gather(*(make_files({"worker": worker}, *ring) for worker in desk.workers))


async def files(desk: Desk, job: JobRow) -> dict[str, FileRow]:
    async with desk.context.database.transaction(desk.tenant) as tenant:
        return {file.name: file for file in await tenant.files.list(job.id)}


async def still_asked(desk: Desk, job: JobRow) -> FileRequest | None:
    async with desk.context.database.transaction(desk.tenant) as tenant:
        return await tenant.files.requested(job.id)


async def test_files_made_later_are_those_made_at_once_and_leave_no_event(desk: Desk) -> None:
    at_once = await desk.run(await desk.submit("answer", name="Board", files=(FileFormat.CSV, FileFormat.XLSX)))
    later = await desk.run(await desk.submit("answer", name="Board"))
    await answer(desk, await ask(desk, later, FileFormat.CSV, FileFormat.XLSX))
    made, expected = await files(desk, later), await files(desk, at_once)
    assert list(made) == list(expected) == ["probe-board.csv", "probe-board.xlsx"]
    assert {name: file.sha256 for name, file in made.items()} == {name: file.sha256 for name, file in expected.items()}
    assert await desk.context.objects.get(made["probe-board.csv"].object_key)
    assert await still_asked(desk, later) is None
    assert await desk.events(later) == ["queued", "started", "succeeded"]


async def test_a_stale_ring_for_files_is_dropped(desk: Desk) -> None:
    job = await desk.run(await desk.submit("answer"))
    request = await ask(desk, job, FileFormat.CSV)
    await answer(desk, request)
    before = await files(desk, job)
    await answer(desk, request)
    assert await files(desk, job) == before


async def test_files_that_cannot_be_made_are_tried_three_times(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_args: object, **_options: object) -> Ended:
        return Ended(Failed(blame=Blame.FATAL, code="internal_error", message=""), b"")

    job = await desk.run(await desk.submit("answer"))
    request: FileRequest | None = await ask(desk, job, FileFormat.CSV)
    monkeypatch.setattr(desk.context.pool, "compute", fail)
    for errors in (0, 1, 2):
        assert request is not None
        assert request.error_count == errors
        await answer(desk, request)
        request = await still_asked(desk, job)
    assert request is None
    assert await files(desk, job) == {}


@pytest.mark.parametrize(
    "breaking",
    [
        "UPDATE payloads SET data = data || 'x' WHERE job_id = $1 AND name = 'result'",
        "UPDATE payloads SET data = 'unknown' WHERE job_id = $1 AND name = 'result'",
    ],
    ids=["seal_broken", "seal_key_unknown"],
)
async def test_files_of_a_payload_that_opens_no_more_are_tried_three_times(
    desk: Desk, owner: asyncpg.Connection, breaking: str
) -> None:
    job = await desk.run(await desk.submit("answer"))
    request: FileRequest | None = await ask(desk, job, FileFormat.CSV)
    await owner.execute(breaking, job.id)
    for _ in range(desk.context.settings.max_errors):
        assert request is not None
        await answer(desk, request)
        request = await still_asked(desk, job)
    assert request is None


async def test_files_that_an_error_of_no_kind_we_know_stops_are_tried_three_times(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> bytes:
        raise LookupError("what nobody has thought of")

    job = await desk.run(await desk.submit("answer"))
    request: FileRequest | None = await ask(desk, job, FileFormat.CSV)
    with monkeypatch.context() as patched:
        patched.setattr(JobStore, "payload", fail)
        for _ in range(desk.context.settings.max_errors):
            assert request is not None
            await answer(desk, request)
            request = await still_asked(desk, job)
    assert request is None


async def test_a_worker_that_drains_gives_the_request_back_uncounted(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await desk.run(await desk.submit("answer"))
    request = await ask(desk, job, FileFormat.CSV)
    rendering = asyncio.Event()

    async def render_for_ever(*_args: object, **_options: object) -> None:
        rendering.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patched:
        patched.setattr(desk.context.pool, "compute", render_for_ever)
        answering = asyncio.create_task(answer(desk, request))
        await rendering.wait()
        desk.context.draining.set()
        await answering
    again = await still_asked(desk, job)
    assert again is not None
    assert (again.dispatch_no, again.error_count) == (request.dispatch_no + 1, 0)
    desk.context.draining.clear()
    await answer(desk, again)
    assert list(await files(desk, job)) == ["probe.csv"]


async def test_an_object_store_that_refuses_leaves_the_request_open(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(key: str, data: bytes) -> None:
        raise FatalError("object_exists", f"{key} {len(data)}")

    job = await desk.run(await desk.submit("answer"))
    request = await ask(desk, job, FileFormat.CSV)
    with monkeypatch.context() as patched:
        patched.setattr(desk.context.objects, "put", refuse)
        await answer(desk, request)
    again = await still_asked(desk, job)
    assert again is not None
    await answer(desk, again)
    assert list(await files(desk, job)) == ["probe.csv"]


async def test_the_dispatcher_rings_for_files(desk: Desk, rings: ArqRedis) -> None:
    job = await desk.run(await desk.submit("answer"))
    await desk.context.dispatcher.close()
    request = await ask(desk, job, FileFormat.PDF)
    await desk.context.dispatcher.close()
    names = await rings.zrange(f"milpa:{Priority.INTERACTIVE}", 0, -1)
    assert any(str(request.job_id).encode() in name and b"make_files" in name for name in names)
    await answer(desk, request)
    assert list(await files(desk, job)) == ["probe.pdf"]
