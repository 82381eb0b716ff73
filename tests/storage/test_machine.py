"""The store against a model: whatever is done to jobs in whatever order, their rows are what the rules say."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from milpa.errors import UsageError
from milpa.jobs import TRANSITIONS, JobError, JobProgress, JobState, Outcome, Priority
from milpa.settings import Settings
from storage.ledger import check_ledger
from storage.rows import ClaimRef, Ending, Idempotency, Ring
from storage.transaction import Database
from tests.storage.conftest import TABLES
from tests.storage.steps import LEASE, WORKER, add_tenant, add_worker, admit, new_file, new_job

SLOTS = {Priority.INTERACTIVE: 2, Priority.BATCH: 1}
CAPS = (None, 1)
"""`max_running` of the two tenants."""


VERBS = ("claim", "heartbeat", "succeed", "fail", "retry", "crash", "release", "expire", "rescue", "stop", "cancel")
GIVE_BACK = ("retry", "crash", "release", "expire")


@dataclass
class Model:
    """What the rules say of one job."""

    tenant: UUID
    priority: Priority
    body: bytes
    state: JobState = JobState.QUEUED
    attempt: int = 0
    dispatch_no: int = 1
    error_count: int = 0
    crash_count: int = 0
    rung: bool = False
    alive: bool = False
    stop: bool = False
    cancel: bool = False
    outcome: Outcome | None = None
    log: list[str] = field(default_factory=lambda: ["queued"])

    def become(self, state: JobState, told: str | None = None, outcome: Outcome | None = None) -> None:
        assert state in TRANSITIONS[self.state], f"the model itself must obey: {self.state} to {state}"
        self.state, self.alive, self.outcome = state, False, outcome
        self.log.append(told or state.value)

    def go_back(self, told: str, *, errors: int = 0, crashes: int = 0) -> None:
        self.error_count, self.crash_count = self.error_count + errors, self.crash_count + crashes
        self.dispatch_no, self.rung = self.dispatch_no + 1, False
        if self.cancel:
            self.become(JobState.CANCELLED)
        elif (errors and self.error_count >= 3) or (crashes and self.crash_count >= 3):
            self.become(JobState.FAILED)
        elif self.stop:
            self.become(JobState.SUCCEEDED, outcome=Outcome.NO_SOLUTION)
        else:
            self.become(JobState.QUEUED, told)

    def ref(self, job: UUID, stale: int = 0) -> ClaimRef:
        return ClaimRef(self.tenant, job, self.attempt - stale)

    def ready_for(self) -> tuple[str, ...]:
        """Verbs that change something now."""
        if self.state is not JobState.RUNNING:
            return ("claim",)
        if not self.alive:
            return ("rescue", "rescue", *VERBS[1:7])
        if self.stop or self.cancel:
            return ("heartbeat", "succeed", "succeed", "fail", *GIVE_BACK)
        return ("heartbeat", "succeed", "stop", "cancel", *GIVE_BACK, *GIVE_BACK)

    def held(self, stale: int) -> bool:
        return self.state is JobState.RUNNING and self.alive and not stale


class JobsMachine(RuleBasedStateMachine):
    """Every verb of the store, on jobs of two tenants, by rings and attempts that may be stale."""

    run: Callable[[Coroutine[Any, Any, Any]], Any]
    database: Database
    ringing: Database
    heard: list[Ring]
    owner: asyncpg.Connection

    jobs = Bundle("jobs")
    rings = Bundle("rings")

    @initialize(target=jobs)
    def start(self) -> Any:
        self.run(self.owner.execute(f"TRUNCATE {TABLES}"))
        self.tenants = [self.run(add_tenant(self.database, cap)) for cap in CAPS]
        self.run(add_worker(self.database, SLOTS[Priority.INTERACTIVE], SLOTS[Priority.BATCH]))
        self.models: dict[UUID, Model] = {}
        self.keys: dict[str, tuple[bytes, UUID]] = {}
        return multiple(*(self.made(tenant, Priority.INTERACTIVE, b"a") for tenant in self.tenants))

    def do(self, job: UUID, act: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
        """Act on the jobs of the tenant whose job this is."""

        async def transact() -> Any:
            async with self.database.transaction(self.models[job].tenant) as tx:
                return await act(tx.jobs)

        return self.run(transact())

    # Making jobs

    @rule(
        target=jobs,
        tenant=st.integers(0, 1),
        priority=st.sampled_from(Priority),
        body=st.sampled_from([b"a", b"b"]),
        how=st.sampled_from(["plainly", "plainly", "for_later", "with_reuse"]),
        rings=st.booleans(),
    )
    def submit(self, tenant: int, priority: Priority, body: bytes, how: str, rings: bool) -> UUID:
        mine = self.tenants[tenant]
        if rings and how == "plainly":
            return self.made_and_rung(mine, priority, body)
        database = self.ringing if rings else self.database
        if how == "for_later":
            later = datetime.now(UTC) + timedelta(hours=1)
            job = self.made(mine, priority, b"later", database=database, run_at=later)
            self.models[job].state, self.models[job].log = JobState.SCHEDULED, []
            return job
        done = (mine, body, JobState.SUCCEEDED, Outcome.OPTIMAL)
        reusable = any((job.tenant, job.body, job.state, job.outcome) == done for job in self.models.values())
        job = self.made(mine, priority, body, database=database, reuse=how == "with_reuse")
        if reusable and how == "with_reuse":
            self.models[job].become(JobState.SUCCEEDED, outcome=Outcome.OPTIMAL)
        return job

    @rule(target=jobs, key=st.sampled_from("xy"), body=st.sampled_from([b"a", b"b"]))
    def submit_with_key(self, key: str, body: bytes) -> Any:
        idempotency = Idempotency(key, body)
        if key not in self.keys:
            job = self.made(self.tenants[0], Priority.INTERACTIVE, body, idempotency=idempotency)
            self.keys[key] = (body, job)
            return job
        again = self.submit_one(self.tenants[0], new_job(input=body, idempotency=idempotency))
        if self.keys[key][0] != body:
            with pytest.raises(UsageError, match="another body"):
                self.run(again)
        else:
            submitted = self.run(again)
            assert (submitted.job.id, submitted.replayed) == (self.keys[key][1], True)
        return multiple()

    @rule(target=jobs, job=jobs)
    def resubmit(self, job: UUID) -> Any:
        if job not in self.models:
            return multiple()
        model = self.models[job]
        if model.state not in {JobState.FAILED, JobState.CANCELLED}:
            with pytest.raises(UsageError):
                self.do(job, lambda jobs: jobs.resubmit(job))
            return multiple()
        again = self.do(job, lambda jobs: jobs.resubmit(job))
        self.models[again.id] = Model(model.tenant, model.priority, model.body)
        return again.id

    async def submit_one(self, tenant: UUID, new: Any, database: Database | None = None) -> Any:
        async with (database or self.database).transaction(tenant) as tx:
            return await tx.jobs.submit(new)

    def made_and_rung(self, tenant: UUID, priority: Priority, body: bytes) -> UUID:
        """Submit where submits may ring: they do just when the admission would ring for the job at once."""
        place = self.place_free(tenant, priority)
        job = self.made(tenant, priority, body, database=self.ringing)
        self.models[job].rung = place
        assert [(ring.job_id, ring.tenant_id, ring.priority) for ring in self.heard] == (
            [(job, tenant, priority)] if place else []
        )
        self.heard.clear()
        return job

    def place_free(self, tenant: UUID, priority: Priority) -> bool:
        open_jobs = [model for model in self.models.values() if not model.state.ended]
        line = [model for model in open_jobs if model.priority == priority]
        cap = dict(zip(self.tenants, CAPS, strict=True))[tenant]
        return (
            not any(model.state is JobState.QUEUED and not model.rung for model in line)
            and sum(model.rung for model in line) < 2 * SLOTS[priority]
            and (cap is None or sum(model.rung for model in open_jobs if model.tenant == tenant) < cap)
        )

    def made(
        self, tenant: UUID, priority: Priority, body: bytes, *, database: Database | None = None, **more: Any
    ) -> UUID:
        submitted = self.run(self.submit_one(tenant, new_job(input=body, priority=priority, **more), database))
        assert not submitted.replayed
        self.models[submitted.job.id] = Model(tenant, priority, body)
        return submitted.job.id

    # Ringing

    @rule(target=rings)
    def admit(self) -> Any:
        rung = self.run(admit(self.database))
        for ring in rung:
            model = self.models[ring.job_id]
            assert (model.state, model.rung, model.dispatch_no) == (JobState.QUEUED, False, ring.dispatch_no)
            assert (model.tenant, model.priority) == (ring.tenant_id, ring.priority)
            model.rung = True
        self.check_depth(rung)
        return multiple(*rung)

    def check_depth(self, rung: list[Ring]) -> None:
        """No queue was rung too deep, no tenant over its cap, and nobody waits who could be rung."""
        outstanding = [model for model in self.models.values() if model.rung and not model.state.ended]
        depth = Counter(model.priority for model in outstanding)
        running = Counter(model.tenant for model in outstanding)
        caps = dict(zip(self.tenants, CAPS, strict=True))
        for ring in rung:
            cap = caps[ring.tenant_id]
            assert depth[ring.priority] <= 2 * SLOTS[ring.priority]
            assert cap is None or running[ring.tenant_id] <= cap
        for model in self.models.values():
            if model.state is JobState.QUEUED and not model.rung:
                cap = caps[model.tenant]
                assert depth[model.priority] >= 2 * SLOTS[model.priority] or (
                    cap is not None and running[model.tenant] >= cap
                ), "nobody waits who could be rung"

    @rule(ring=consumes(rings))
    def lose_ring(self, ring: Ring) -> None:
        async def unring() -> int:
            async with self.database.fleet() as fleet:
                return await fleet.jobs.unring([ring])

        model = self.models.get(ring.job_id)
        lost = model is not None and model.state is JobState.QUEUED and model.dispatch_no == ring.dispatch_no
        lost = lost and model.rung
        assert self.run(unring()) == lost
        if lost:
            model.rung, model.dispatch_no = False, model.dispatch_no + 1

    @rule()
    def time_comes(self) -> None:
        async def start_due() -> int:
            await self.owner.execute("UPDATE jobs SET run_at = now() WHERE state = 'scheduled'")
            async with self.database.fleet() as fleet:
                return await fleet.jobs.start_due()

        due = [model for model in self.models.values() if model.state is JobState.SCHEDULED]
        assert self.run(start_due()) == len(due)
        for model in due:
            model.become(JobState.QUEUED)

    # The life of one job

    @rule(target=jobs, tenant=st.integers(0, 1), steps=st.integers(8, 24), data=st.data())
    def live(self, tenant: int, steps: int, data: st.DataObject) -> UUID:
        """Make a job and do this and that to it: mostly what it is ready for, now and then by a stale ring or attempt."""
        job = self.made(self.tenants[tenant], Priority.INTERACTIVE, b"a")
        model = self.models[job]
        for _ in range(steps):
            ready = st.sampled_from(model.ready_for())
            verb = data.draw(ready | ready | st.sampled_from(VERBS))
            getattr(self, verb)(job, model, data.draw(st.sampled_from((0, 0, 0, 1))))
            self.rows_are_what_the_model_says()
            if model.state.ended:
                break
        for verb in data.draw(st.lists(st.sampled_from(VERBS), max_size=3)):
            getattr(self, verb)(job, model, 0)
        return job

    def claim(self, job: UUID, model: Model, stale: int) -> None:
        claim = self.do(job, lambda jobs: jobs.claim(job, model.dispatch_no - stale, WORKER, LEASE))
        if model.state is not JobState.QUEUED or stale:
            assert claim is None
            return
        model.become(JobState.RUNNING, "started")
        model.attempt, model.alive, model.rung = model.attempt + 1, True, True
        assert claim.ref == model.ref(job)
        assert claim.input == model.body

    def heartbeat(self, job: UUID, model: Model, stale: int) -> None:
        beat = self.do(job, lambda jobs: jobs.heartbeat(model.ref(job, stale), LEASE, JobProgress(phase="solve")))
        assert (beat and (beat.stop, beat.cancel)) == ((model.stop, model.cancel) if model.held(stale) else None)

    def succeed(self, job: UUID, model: Model, stale: int) -> None:
        ref = model.ref(job, stale)
        ending = Ending(state=JobState.SUCCEEDED, outcome=Outcome.OPTIMAL, result=b"{}", files=[new_file(ref)])
        assert self.do(job, lambda jobs: jobs.finish(ref, ending)) == model.held(stale)
        if model.held(stale) and model.cancel:
            model.become(JobState.CANCELLED)
        elif model.held(stale):
            model.log.append("file")
            model.become(JobState.SUCCEEDED, outcome=Outcome.OPTIMAL)

    def fail(self, job: UUID, model: Model, stale: int) -> None:
        ending = Ending(state=JobState.FAILED, error=JobError("code", "Why."), log=b"log")
        assert self.do(job, lambda jobs: jobs.finish(model.ref(job, stale), ending)) == model.held(stale)
        if model.held(stale):
            model.become(JobState.CANCELLED if model.cancel else JobState.FAILED)

    def retry(self, job: UUID, model: Model, stale: int) -> None:
        ref = model.ref(job, stale)
        assert self.do(job, lambda jobs: jobs.retry(ref, JobError("away", "Away."), 0)) == model.held(stale)
        if model.held(stale):
            model.go_back("retrying", errors=1)

    def crash(self, job: UUID, model: Model, stale: int) -> None:
        assert self.do(job, lambda jobs: jobs.crash(model.ref(job, stale))) == model.held(stale)
        if model.held(stale):
            model.go_back("retrying", crashes=1)

    def release(self, job: UUID, model: Model, stale: int) -> None:
        assert self.do(job, lambda jobs: jobs.release(model.ref(job, stale))) == model.held(stale)
        if model.held(stale):
            model.go_back("queued")

    def expire(self, job: UUID, model: Model, _stale: int) -> None:
        late = "UPDATE jobs SET lease_until = now() - interval '1 second' WHERE id = $1 AND state = 'running'"
        self.run(self.owner.execute(late, job))
        model.alive = False

    def rescue(self, _job: UUID, _model: Model, _stale: int) -> None:
        async def rescue() -> Any:
            async with self.database.fleet() as fleet:
                return await fleet.jobs.rescue()

        running = [(job, model) for job, model in self.models.items() if model.state is JobState.RUNNING]
        dead = {job: model for job, model in running if not model.alive}
        assert {job.id for job in self.run(rescue())} == set(dead)
        for model in dead.values():
            model.go_back("rescued", crashes=1)

    def stop(self, job: UUID, model: Model, _stale: int) -> None:
        if self.asked(job, model, "stop"):
            model.become(JobState.SUCCEEDED, outcome=Outcome.NO_SOLUTION)

    def cancel(self, job: UUID, model: Model, _stale: int) -> None:
        if self.asked(job, model, "cancel"):
            model.become(JobState.CANCELLED)

    def asked(self, job: UUID, model: Model, what: str) -> bool:
        """Ask the job to end; says whether that ends it at once."""
        if model.state.ended:
            with pytest.raises(UsageError, match="ended already"):
                self.do(job, lambda jobs: getattr(jobs, f"request_{what}")(job))
            return False
        self.do(job, lambda jobs: getattr(jobs, f"request_{what}")(job))
        setattr(model, what, True)
        return model.state is not JobState.RUNNING

    @rule(job=jobs)
    def delete(self, job: UUID) -> None:
        if job not in self.models:
            return
        if not self.models[job].state.ended:
            with pytest.raises(UsageError, match="not ended"):
                self.do(job, lambda jobs: jobs.delete(job))
            return
        self.do(job, lambda jobs: jobs.delete(job))
        del self.models[job]
        self.keys = {key: used for key, used in self.keys.items() if used[1] != job}

    # What must always hold

    @invariant()
    def rows_are_what_the_model_says(self) -> None:
        rows = self.run(
            self.owner.fetch(
                """
                SELECT id, tenant_id, state, attempt, dispatch_no, error_count, crash_count, outcome, last_seq,
                    rung_at IS NOT NULL AS rung, coalesce(lease_until > now(), false) AS alive,
                    ARRAY(SELECT type FROM job_events WHERE job_id = id ORDER BY seq) AS log
                FROM jobs
                """
            )
        )
        assert {row["id"] for row in rows} == set(self.models)
        for row in rows:
            model = self.models[row["id"]]
            for name in ("state", "attempt", "dispatch_no", "error_count", "crash_count", "outcome", "alive", "log"):
                assert row[name] == getattr(model, name), (name, dict(row), model)
            assert row["last_seq"] == len(model.log)
            if not model.state.ended:
                assert row["rung"] == model.rung

    def teardown(self) -> None:
        report = self.run(check_ledger(self.database, list(self.models)))
        assert report.ok, report


@pytest.mark.slow
def test_whatever_happens_to_jobs_the_rows_are_what_the_rules_say(settings: Settings) -> None:
    with asyncio.Runner() as runner:
        database = runner.run(Database.connect(settings))
        ringing = runner.run(Database.connect(settings))
        owner = runner.run(asyncpg.connect(settings.database_owner_url.reveal()))
        heard: list[Ring] = []
        ringing.on_rung(heard.extend)
        parts = {"database": database, "ringing": ringing, "heard": heard, "owner": owner}
        run_machine(type("Machine", (JobsMachine,), {"run": staticmethod(runner.run), **parts}), settings=MANY)
        runner.run(owner.close())
        runner.run(ringing.close())
        runner.run(database.close())


MANY = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
