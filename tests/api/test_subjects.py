"""Erasing one person: nothing in any table, payload or object names them, and everyone else is as before."""

import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import msgspec
import pytest
from litestar import Litestar

from api import subjects
from deploy.local.servers import Servers
from milpa.client import AsyncClient
from milpa.jobs import FileFormat, JobError, JobState, Outcome
from solvers.persons import persons_in
from storage.audit_rows import Actor, ActorKind, Trail
from storage.objects import ObjectStore, object_key
from storage.rows import Ending, JobRow, NewFile, NewJob, Subject
from storage.schedule_rows import NewSchedule
from storage.transaction import Database
from tests.api.conftest import NewKey, client, served
from tests.api.deals import SUBMIT, body
from tests.api.jobs import JobDriver
from tests.api.test_audit import audit
from tests.support.stack import settings_of
from tests.workers.kinds.roster import KIND
from tests.workers.kinds.roster.problem import Roster, Student

ANA = "/v1/subjects/student/S-0815-ana"
ID, NAME = "S-0815-ana", "Ana Lima Quitte"
OTHER_ID, OTHER = "S-0816-bo", "Bo Quist Mispel"
PROBLEM = Roster([Student(ID, NAME), Student(OTHER_ID, OTHER)])
RESULT = {"solution": {"classes": {ID: "A", OTHER_ID: "B"}}}
REPORT = {
    "title": f"Roster of {NAME}",
    "tables": [{"rows": [[ID, NAME], [OTHER_ID, OTHER]]}],
    "charts": [],
    "facts": [],
}
WORDS = (ID, NAME)


@pytest.fixture(autouse=True)
def kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.subjects.all_kinds", lambda: {KIND.name: KIND})


@pytest.fixture
def http(here: httpx.AsyncClient) -> httpx.AsyncClient:
    """A client of the API in this process, which alone knows the kind."""
    return here


def roster(**more: Any) -> NewJob:
    return NewJob(
        kind="roster",
        kind_version=1,
        input=msgspec.json.encode(PROBLEM),
        question=msgspec.json.encode({"asked": "why-not", "force": {"student": ID}}),
        subjects=[Subject(one.kind, one.id) for one in persons_in(KIND.subjects, PROBLEM)],
        warnings=KIND.check(PROBLEM),
        **{"name": f"For {NAME}", "tags": [ID], **more},
    )


async def submit(database: Database, tenant: UUID, **more: Any) -> JobRow:
    async with database.transaction(tenant) as tx:
        return (await tx.jobs.submit_batch(f"Batch of {NAME}", [roster(**more)])).jobs[0]


@pytest.fixture
async def done(database: Database, tenant: UUID, driver: JobDriver, stack: Servers) -> JobRow:
    """A job that has ended with everything that can name the person."""
    job = await submit(database, tenant)
    claim = await driver.claim(job.id)
    key = object_key(tenant, job.id, 1, f"{NAME}.csv")
    await ObjectStore(settings_of(stack)).put(key, NAME.encode())
    file = NewFile(
        name=f"{NAME}.csv", format=FileFormat.CSV, media_type="text/csv", size=9, sha256="0" * 64, object_key=key
    )
    ending = Ending(
        state=JobState.SUCCEEDED,
        outcome=Outcome.OPTIMAL,
        objective=12.5,
        result=msgspec.json.encode(RESULT),
        report=msgspec.json.encode(REPORT),
        log=f"seating {NAME}".encode(),
        files=[file],
    )
    await driver.finish(claim, ending)
    return await driver.row(job.id)


Look = Callable[[], Awaitable[str]]


@pytest.fixture
def look(database: Database, tenant: UUID, owner: asyncpg.Connection, stack: Servers) -> Look:
    """Return all there is of the tenant as text: every row, every payload opened, every object."""
    return lambda: everything(database, tenant, owner, stack)


async def everything(database: Database, tenant: UUID, owner: asyncpg.Connection, stack: Servers) -> str:
    found = []
    tables = await owner.fetch(
        "SELECT table_name FROM information_schema.columns WHERE column_name = 'tenant_id' AND table_schema = 'public'"
    )
    for (table,) in tables:
        rows = await owner.fetch(f"SELECT to_jsonb(t) FROM {table} AS t WHERE tenant_id = $1", tenant)  # noqa: S608
        found += [row[0] for row in rows]
    async with database.transaction(tenant) as tx:
        for job in await tx.jobs.list(None, 1000):
            for name in ("input", "question", "result", "report", "log"):
                found.append((await tx.jobs.payload(job.id, name) or b"").decode())  # type: ignore[arg-type]
        for schedule in await tx.schedules.list(1000):
            found += [repr(job) for job in await tx.schedules.jobs(schedule.id) or ()]
    objects = ObjectStore(settings_of(stack))
    async for info in objects.list(f"{tenant}/"):
        found += [info.key, (await objects.get(info.key)).decode(errors="replace")]
    return "\n".join(found)


async def test_nothing_names_an_erased_person_and_the_rest_is_as_before(
    http: httpx.AsyncClient, database: Database, tenant: UUID, look: Look, done: JobRow
) -> None:
    nightly = NewSchedule(name=f"Nights of {NAME}", cron="0 2 * * *", timezone="UTC", jobs=[roster()])
    async with database.transaction(tenant) as tx:
        schedule = (await tx.schedules.create(nightly)).schedule
    before = await look()
    assert all(word in before for word in WORDS)
    answer = await http.delete(ANA)
    assert answer.status_code == 200, answer.text
    erased = answer.json()
    alias = erased["pseudonym"]
    assert (erased["jobs"], erased["schedules"]) == (1, 1)
    after = await look()
    assert [word for word in WORDS if word in after] == []
    assert OTHER in after
    job = (await http.get(f"/v1/jobs/{done.id}")).json()
    assert (await http.get(f"/v1/schedules/{schedule.id}")).json()["name"] == f"Nights of {alias}"
    assert (job["name"], job["tags"], job["objective"], job["outcome"]) == (f"For {alias}", [alias], 12.5, "optimal")
    assert job["warnings"][0]["message"] == f"{alias} is alone."
    problem = (await http.get(f"/v1/jobs/{done.id}/problem")).json()
    assert problem["students"] == [{"id": alias, "name": alias}, {"id": OTHER_ID, "name": OTHER}]
    result = (await http.get(f"/v1/jobs/{done.id}/result")).json()
    assert result["solution"]["classes"] == {alias: "A", OTHER_ID: "B"}
    report = (await http.get(f"/v1/jobs/{done.id}/report")).json()
    assert report["tables"][0]["rows"] == [[alias, alias], [OTHER_ID, OTHER]]
    assert (await http.get(f"/v1/jobs/{done.id}/log")).text == ""
    assert (await http.get(f"/v1/jobs/{done.id}/files")).json()["items"] == []
    async with database.transaction(tenant) as tx:
        [planned] = await tx.schedules.jobs(schedule.id) or []
    assert planned.subjects == [Subject("student", OTHER_ID), Subject("student", alias)]
    assert json.loads(planned.input)["students"][0]["id"] == alias


async def test_where_retention_has_taken_the_problem_what_the_job_was_called_goes(
    http: httpx.AsyncClient, look: Look, owner: asyncpg.Connection, driver: JobDriver
) -> None:
    job = await submit(driver.database, driver.tenant)
    error = JobError("odd", f"{NAME} can't be seated.")
    await driver.finish(await driver.claim(job.id), Ending(state=JobState.FAILED, error=error))
    await owner.execute("UPDATE jobs SET finished_at = now() - interval '60 days' WHERE id = $1", job.id)
    async with driver.database.fleet() as fleet:
        await fleet.jobs.prune(30.0)
    assert NAME in await look()
    assert (await http.delete(ANA)).json()["jobs"] == 1
    after = await look()
    assert [word for word in WORDS if word in after] == []
    shown = (await http.get(f"/v1/jobs/{job.id}")).json()
    assert (shown["name"], shown["tags"], shown["warnings"], shown["state"]) == (None, [], [], "failed")
    assert shown["error"]["code"] == "odd"


@pytest.mark.parametrize("id_", ["7/b", "/7", "7/", "https://issuer.example//people/7?a=b#c", "a%2Fb", "ä b+c;d"])
async def test_an_id_may_hold_anything(app: Litestar, driver: JobDriver, key: str, id_: str) -> None:
    trail = Trail(Actor(tenant_id=driver.tenant, kind=ActorKind.JWT, subject=id_), "submit", 202, [])
    async with driver.database.transaction(driver.tenant, trail) as tx:
        await tx.jobs.submit(roster(name=None))
        await tx.exports.request(id_)
    async with served(app) as address, AsyncClient(address, api_key=key) as milpa:
        erased = await milpa.erase_person("user", id_)
    async with driver.database.transaction(driver.tenant) as tx:
        assert await tx.subjects.jobs(Subject("user", id_)) == []
        [export] = await tx.exports.list(10)
    assert export.requested_by == erased.pseudonym


async def test_files_can_be_made_anew_of_what_was_rewritten(http: httpx.AsyncClient, done: JobRow) -> None:
    await http.delete(ANA)
    answer = await http.post(f"/v1/jobs/{done.id}/files", json={"formats": ["csv"]})
    assert (answer.status_code, answer.json()["pending"]) == (202, ["csv"])


async def test_what_was_rewritten_is_not_reused(
    http: httpx.AsyncClient, database: Database, tenant: UUID, done: JobRow
) -> None:
    assert done.outcome == "optimal"
    async with database.transaction(tenant) as tx:
        assert (await tx.jobs.submit(roster(reuse=True))).job.reused_from == done.id
    assert (await http.delete(ANA)).status_code == 200
    async with database.transaction(tenant) as tx:
        assert (await tx.jobs.submit(roster(reuse=True))).job.reused_from is None


async def test_a_person_in_a_running_job_is_409_and_nothing_is_done(
    http: httpx.AsyncClient, database: Database, tenant: UUID, driver: JobDriver, done: JobRow
) -> None:
    going = await submit(database, tenant)
    answer = await http.delete(ANA)
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/jobs-not-ended")
    assert str(going.id) in answer.json()["detail"]
    assert (await driver.row(done.id)).name == f"For {NAME}"
    await http.post(f"/v1/jobs/{going.id}/cancel")
    assert (await http.delete(ANA)).json()["jobs"] == 2


async def test_a_schedule_that_is_due_meanwhile_names_nobody_in_its_jobs(
    http: httpx.AsyncClient, database: Database, tenant: UUID, done: JobRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    nightly = NewSchedule(name="Nights", cron="0 2 * * *", timezone="UTC", jobs=[roster()])
    async with database.transaction(tenant) as tx:
        schedule = (await tx.schedules.create(nightly)).schedule
    rewrite = subjects._rewrite_jobs

    async def and_then_it_is_due(*given: Any) -> None:
        await rewrite(*given)
        async with database.transaction(tenant) as tx:
            await tx.schedules.run_now(schedule.id)

    monkeypatch.setattr(subjects, "_rewrite_jobs", and_then_it_is_due)
    assert (await http.delete(ANA)).status_code == 200
    async with database.transaction(tenant) as tx:
        assert await tx.subjects.jobs(Subject("student", ID)) == []
        made = next(job for job in await tx.jobs.list() if job.id != done.id)
        assert ID.encode() not in (await tx.jobs.payload(made.id, "input") or b"")


async def test_an_erasure_cut_short_goes_on_under_the_same_pseudonym(
    http: httpx.AsyncClient, driver: JobDriver, done: JobRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await submit(driver.database, driver.tenant)
    await driver.fail(other.id)
    broken = list[int]()

    async def store_away(_self: object, keys: object) -> None:
        if not broken:
            broken.append(1)
            raise TimeoutError(keys)

    with monkeypatch.context() as patched:
        patched.setattr(ObjectStore, "delete", store_away)
        assert (await http.delete(ANA)).status_code == 500
    erased = (await http.delete(ANA)).json()
    assert erased["jobs"] == 1
    assert {(await driver.row(id_)).name for id_ in (done.id, other.id)} == {f"For {erased['pseudonym']}"}
    assert NAME not in str((await driver.row(other.id)).name) + str((await driver.row(done.id)).name)


async def test_an_error_and_the_events_are_freed_of_the_person(
    http: httpx.AsyncClient, database: Database, tenant: UUID, driver: JobDriver
) -> None:
    job = await submit(database, tenant)
    error = JobError("odd", f"{NAME} can't be seated.")
    await driver.finish(await driver.claim(job.id), Ending(state=JobState.FAILED, error=error))
    alias = (await http.delete(ANA)).json()["pseudonym"]
    assert (await http.get(f"/v1/jobs/{job.id}")).json()["error"]["message"] == f"{alias} can't be seated."
    events = (await http.get(f"/v1/jobs/{job.id}/events")).json()["items"]
    assert [event["type"] for event in events] == ["queued", "started", "failed"]
    assert NAME not in str(events)


async def test_exports_that_may_hold_the_person_are_recalled(
    http: httpx.AsyncClient, database: Database, tenant: UUID, done: JobRow
) -> None:
    assert done.state is JobState.SUCCEEDED
    row = (await http.post("/v1/exports", json={})).json()
    await http.delete(ANA)
    async with database.transaction(tenant) as tx:
        found = await tx.exports.get(UUID(row["id"]))
    assert found is not None
    assert found.state == "expired"


async def test_a_retried_job_names_the_same_persons(
    http: httpx.AsyncClient, database: Database, tenant: UUID, driver: JobDriver
) -> None:
    failed = await submit(database, tenant)
    await driver.fail(failed.id)
    async with database.transaction(tenant) as tx:
        again = await tx.jobs.resubmit(failed.id)
        assert again is not None
        batch = await tx.jobs.retry_batch(failed.batch_id)  # type: ignore[arg-type]
        assert batch is not None
        named = {job.id for job in await tx.subjects.jobs(Subject("student", ID))}
    assert named == {failed.id, again.id, batch.jobs[0].id}
    del http


async def test_the_index_does_not_tell_who_it_is(
    database: Database, tenant: UUID, owner: asyncpg.Connection, done: JobRow
) -> None:
    del database, done
    rows = await owner.fetch("SELECT kind, digest FROM job_subjects WHERE tenant_id = $1", tenant)
    assert len(rows) == 2
    assert all(len(row["digest"]) == 32 and ID.encode() not in row["digest"] for row in rows)


async def test_the_audit_names_the_person_by_a_hash(http: httpx.AsyncClient, done: JobRow) -> None:
    assert done.state is JobState.SUCCEEDED
    await http.delete(ANA)
    [row] = await audit(http, action="erase_subject")
    assert row["status"] == 200
    assert [target.partition(":")[0] for target in row["targets"]] == ["student"]
    assert ID not in str(row)


async def test_nobody_known_is_404_and_a_foreign_person_too(
    http: httpx.AsyncClient, stranger: httpx.AsyncClient, done: JobRow, driver: JobDriver
) -> None:
    for path in ("/v1/subjects/student/nobody", "/v1/subjects/none/S1", "/v1/subjects/user/none", f"{ANA}%00"):
        assert (await http.delete(path)).status_code == 404
    assert (await stranger.delete(ANA)).status_code == 404
    assert (await driver.row(done.id)).name == f"For {NAME}"


async def test_a_user_is_forgotten_and_their_key_ends(
    app: Litestar, http: httpx.AsyncClient, database: Database, tenant: UUID, new_key: NewKey
) -> None:
    async with client(app, await new_key(tenant)) as user:
        job = (await user.post(SUBMIT, json=body())).json()["id"]
        subject = (await user.get("/v1/me")).json()["subject"]
    async with database.transaction(tenant) as tx:
        assert [str(found.id) for found in await tx.subjects.jobs(Subject("user", subject))] == [job]
    assert (await http.delete(f"/v1/subjects/user/{subject}")).status_code == 200
    async with database.transaction(tenant) as tx:
        assert await tx.subjects.jobs(Subject("user", subject)) == []
        [key] = [row for row in await tx.api_keys.list(10) if str(row.id) == subject]
    assert key.revoked_at is not None
    assert key.name.startswith("erased-")
    assert (await http.get(f"/v1/jobs/{job}")).status_code == 200
