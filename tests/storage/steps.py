"""Steps that many tests take: submit, ring, claim, end, look."""

from typing import Any
from uuid import UUID, uuid4

from milpa.issues import Issue, Severity
from milpa.jobs import JobEvent, JobState, Outcome, new_id
from storage.rows import Claim, ClaimRef, Ending, JobRow, NewFile, NewJob, Ring
from storage.transaction import Database

LEASE = 30.0
WORKER = uuid4()
DONE = Ending(
    state=JobState.SUCCEEDED,
    outcome=Outcome.OPTIMAL,
    objective=12.5,
    verified=True,
    solve_seconds=0.25,
    result=b'{"objective":12.5}',
    report=b'{"title":"Done"}',
    log=b"solver log",
)


def new_job(**changes: Any) -> NewJob:
    """A job like any other."""
    return NewJob(**{"kind": "deal-picker", "kind_version": 1, "input": b'{"deals":[]}', **changes})


def warning(code: str = "odd", message: str = "It is odd.") -> Issue:
    """An issue that did not stop a job."""
    return Issue(code=code, pointer="/problem", message=message, severity=Severity.WARNING)


def new_file(ref: ClaimRef, name: str = "deals.xlsx") -> NewFile:
    """A file that an attempt has put under its own key."""
    return NewFile(
        name=name,
        format=name.rpartition(".")[2],
        media_type="application/octet-stream",
        size=4,
        sha256="00" * 32,
        object_key=f"{ref.tenant_id}/{ref.job_id}/{ref.attempt}/{name}",
    )


async def add_tenant(database: Database, max_running: int | None = None) -> UUID:
    """A fresh tenant."""
    async with database.fleet() as fleet:
        return (await fleet.tenants.create(f"tenant-{new_id()}", max_running)).id


async def add_worker(database: Database, interactive: int = 2, batch: int = 1) -> UUID:
    """A worker that is alive."""
    worker = uuid4()
    async with database.fleet() as fleet:
        await fleet.workers.seen(worker, "test", interactive, batch)
    return worker


async def submit(database: Database, tenant: UUID, **changes: Any) -> JobRow:
    """Submit one job."""
    async with database.transaction(tenant) as tx:
        return (await tx.jobs.submit(new_job(**changes))).job


async def break_off(
    database: Database, tenant: UUID, error: type[Exception] = InterruptedError, **changes: Any
) -> None:
    """Submit a job in a transaction that ends in an error of its caller's."""
    async with database.transaction(tenant) as tx:
        await tx.jobs.submit(new_job(**changes))
        raise error


async def admit(database: Database, limit: int = 1000) -> list[Ring]:
    """Choose what to ring."""
    async with database.fleet() as fleet:
        return await fleet.jobs.admit(limit)


async def claim(database: Database, job: JobRow, lease: float = LEASE) -> Claim:
    """Claim the job as it is; fail where it can't be."""
    async with database.transaction(job.tenant_id) as tx:
        claim = await tx.jobs.claim(job.id, job.dispatch_no, WORKER, lease)
    assert claim is not None
    return claim


async def finish(database: Database, ref: ClaimRef, ending: Ending = DONE) -> bool:
    """End the attempt."""
    async with database.transaction(ref.tenant_id) as tx:
        return await tx.jobs.finish(ref, ending)


async def succeeded(database: Database, tenant: UUID, ending: Ending = DONE, **changes: Any) -> JobRow:
    """A job that ran and ended well, with one file for each format asked for."""
    job = await submit(database, tenant, **changes)
    ref = (await claim(database, job)).ref
    files = [new_file(ref, f"deals.{format_}") for format_ in job.files]
    assert await finish(database, ref, Ending(**{**_fields(ending), "files": files}))
    return await look(database, job)


async def look(database: Database, job: JobRow) -> JobRow:
    """The job as it is now."""
    async with database.transaction(job.tenant_id) as tx:
        found = await tx.jobs.get(job.id)
    assert found is not None
    return found


async def events(database: Database, job: JobRow) -> list[JobEvent]:
    """The job's log."""
    async with database.transaction(job.tenant_id) as tx:
        return await tx.events.after(job.id)


async def types(database: Database, job: JobRow) -> list[str]:
    """The types of the rows in the job's log."""
    return [event.type.value for event in await events(database, job)]


async def payload(database: Database, job: JobRow, name: Any) -> bytes | None:
    """One of the job's payloads, opened."""
    async with database.transaction(job.tenant_id) as tx:
        return await tx.jobs.payload(job.id, name)


def _fields(ending: Ending) -> dict[str, Any]:
    return {name: getattr(ending, name) for name in ending.__struct_fields__}
