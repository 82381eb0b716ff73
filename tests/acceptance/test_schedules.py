"""A schedule by the client, against a running Milpa."""

import time

import pytest

from milpa import Client
from milpa.client import RefusedError
from milpa.jobs import JobState

KIND = "deal-picker"
PATIENCE = 60.0


def test_a_schedule_from_its_making_to_the_end_of_a_run(client: Client) -> None:
    jobs = [{"kind": KIND, "problem": client.example(KIND), "name": f"night {number}"} for number in range(3)]
    schedule = client.create_schedule("night", "0 2 * * *", "Asia/Riyadh", jobs, overlap="queue", enabled=False)
    assert (schedule.size, schedule.overlap, schedule.next_due_at) == (3, "queue", None)
    assert client.change_schedule(schedule, enabled=True).next_due_at is not None
    assert schedule.id in {found.id for found in client.schedules()}
    run = client.run_schedule(schedule, idempotency_key="night")
    assert client.run_schedule(schedule, idempotency_key="night").id == run.id
    for job in client.jobs(batch_id=run.batch_id):
        assert client.wait(job, timeout=PATIENCE).state is JobState.SUCCEEDED
    (ended,) = client.schedule_runs(schedule)
    assert (ended.state, ended.due_at, ended.counts) == ("started", None, {JobState.SUCCEEDED: 3})
    client.delete_schedule(schedule)
    with pytest.raises(RefusedError):
        client.schedule(schedule)


def test_what_is_wrong_with_a_scheduled_job_is_said_when_the_schedule_is_made(client: Client) -> None:
    problem = {**client.example(KIND), "budget": -1}
    with pytest.raises(RefusedError) as refused:
        client.create_schedule("night", "0 25 * * *", "Asia/Riyadh", [{"kind": KIND, "problem": problem}])
    assert {issue.pointer for issue in refused.value.issues} == {"/cron", "/jobs/0/problem/budget"}


@pytest.mark.slow
def test_the_clock_starts_it(client: Client) -> None:
    jobs = [{"kind": KIND, "problem": client.example(KIND)}]
    schedule = client.create_schedule("minutely", "* * * * *", "UTC", jobs)
    deadline = time.monotonic() + 2 * PATIENCE
    while not (runs := client.schedule_runs(schedule)):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    client.delete_schedule(schedule)
    assert runs[0].due_at == schedule.next_due_at
    (job,) = client.jobs(batch_id=runs[0].batch_id)
    assert client.wait(job, timeout=PATIENCE).state is JobState.SUCCEEDED
