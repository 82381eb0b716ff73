"""The life of a job, verb by verb."""

from uuid import uuid4

from milpa.jobs import EventType, JobOptions, JobProgress, JobState, Outcome, Priority
from storage.rows import Ending, NewJob


async def test_a_job_goes_from_submit_to_its_result(database, tenant):
    async with database.transaction(tenant) as tx:
        submitted = await tx.jobs.submit(
            NewJob(kind="k", kind_version=1, input=b"{}", options=JobOptions(seed=3), files=["xlsx"])
        )
    job = submitted.job
    assert (job.state, job.attempt, job.last_seq) == (JobState.QUEUED, 0, 1)
    async with database.fleet() as fleet:
        await fleet.workers.seen(uuid4(), "w", 2, 1)
        rings = await fleet.jobs.admit()
    assert [ring.job_id for ring in rings] == [job.id]
    async with database.transaction(tenant) as tx:
        claim = await tx.jobs.claim(job.id, rings[0].dispatch_no, uuid4(), 30)
    assert claim.input == b"{}"
    async with database.transaction(tenant) as tx:
        beat = await tx.jobs.heartbeat(claim.ref, 30, JobProgress(phase="solve"), EventType.PHASE)
    assert not beat.stop
    async with database.transaction(tenant) as tx:
        assert await tx.jobs.finish(
            claim.ref, Ending(state=JobState.SUCCEEDED, outcome=Outcome.OPTIMAL, objective=1.5, result=b"r", log=b"l")
        )
    async with database.transaction(tenant) as tx:
        job = await tx.jobs.get(job.id)
        events = await tx.events.after(job.id)
        assert await tx.jobs.payload(job.id, "result") == b"r"
    assert job.state is JobState.SUCCEEDED
    assert [event.type for event in events] == ["queued", "started", "phase", "succeeded"]
    assert [event.seq for event in events] == [1, 2, 3, 4]
