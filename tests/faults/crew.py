"""Real worker processes to start, hurt and count, and jobs for them."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import psutil
from sqlalchemy import text

from deploy.local.readiness import Doorway
from milpa.jobs import EventType, FileFormat, JobEvent, JobOptions, JobState, Priority
from milpa.settings import Secret, Settings
from storage.rows import Idempotency, JobRow, NewJob
from storage.transaction import Database
from tests.support.planted import EMAIL, NAME

PATIENCE = 120.0
"""Seconds after which a test gives up waiting: generous, machines are slow."""


SHOWN_CHARACTERS = 4000
"""Of each worker's log, how much a failure shows."""

PROBES = ("tests.faults.worker",)
"""A worker that serves probes alone, as the words after `python -m`."""


class Worker:
    """One real worker process. words: how it is run, after `python -m`."""

    def __init__(self, settings: Settings, folder: Path, number: int, words: Sequence[str] = PROBES) -> None:
        self._doorway = Doorway(folder / f"{number}.ready")
        self.log = folder / f"{number}.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *words],
                env=environ_of(settings) | self._doorway.environ,
                cwd=Path(__file__).parents[2],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.pid = self._process.pid

    async def ready(self) -> None:
        await until(self._doorway.ready, self.said)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def kill(self) -> float:
        """Kill -9; returns when, in seconds of the epoch. Its solvers go with it."""
        self.send(signal.SIGKILL)
        killed_at = time.time()
        await self.ended()
        await until(lambda: not list(solvers_of(self)), lambda: "a solver outlived its worker")
        return killed_at

    async def ended(self) -> int:
        return await asyncio.to_thread(self._process.wait, PATIENCE)

    async def end(self) -> None:
        """Let it drain; what does not is killed."""
        if self._process.poll() is None:
            self.send(signal.SIGCONT)
            self.send(signal.SIGTERM)
        try:
            await asyncio.to_thread(self._process.wait, 20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise

    def said(self) -> str:
        return self.log.read_text(errors="replace")


class Crew:
    """The workers of one test, and the database that they work for."""

    tenant: UUID

    def __init__(self, settings: Settings, folder: Path, database: Database, mute: Database) -> None:
        self.settings = settings
        self.folder = folder
        self.workers: list[Worker] = []
        self.database = database
        self.mute = mute
        self.accepted: list[UUID] = []

    async def start(self, words: Sequence[str] = PROBES, **changes: Any) -> Worker:
        """Start a worker and wait until it serves."""
        worker = Worker(self.changed(**changes), self.folder, len(self.workers), words)
        self.workers.append(worker)
        await worker.ready()
        return worker

    async def start_two(self, words: Sequence[str] = PROBES, **changes: Any) -> None:
        """Start two workers that compete, and wait until both serve."""
        await asyncio.gather(*(self.start(words, **changes) for _ in range(2)))

    def changed(self, **changes: Any) -> Settings:
        """Return the crew's settings with these changes."""
        return msgspec.structs.replace(self.settings, **changes)

    @property
    def alive(self) -> list[Worker]:
        """The workers that serve."""
        return [worker for worker in self.workers if worker.alive]

    @property
    def dead(self) -> list[Worker]:
        """The workers that have ended, however that came."""
        return [worker for worker in self.workers if not worker.alive]

    async def end(self) -> None:
        """End all workers. No solver process may be left of any."""
        await asyncio.gather(*(worker.end() for worker in self.workers))
        await until(lambda: not list(solvers_of(*self.workers)), lambda: "orphan solver processes")

    async def submit(
        self,
        act: str,
        *,
        limit: float = 30.0,
        batch: bool = False,
        silent: bool = False,
        key: str | None = None,
        files: Sequence[FileFormat] = (),
        **problem: Any,
    ) -> UUID:
        """Submit a probe job. silent: as if its submitter died right after the commit, telling nobody."""
        new = NewJob(
            kind="probe",
            kind_version=1,
            input=msgspec.json.encode({"act": act, "text": NAME, **problem}),
            name=NAME,
            tags=[EMAIL],
            options=JobOptions(time_limit_seconds=limit),
            files=files,
            priority=Priority.BATCH if batch else Priority.INTERACTIVE,
            idempotency=None if key is None else Idempotency(key, act.encode()),
        )
        database = self.mute if silent else self.database
        async with database.transaction(self.tenant) as tenant:
            submitted = await tenant.jobs.submit(new)
        self.accepted.append(submitted.job.id)
        return submitted.job.id

    async def submit_batch(self, size: int, *, key: str) -> list[UUID]:
        """Submit a batch of small probes; returns its jobs."""
        new = NewJob(kind="probe", kind_version=1, input=b'{"act":"answer"}')
        async with self.database.transaction(self.tenant) as tenant:
            made = await tenant.jobs.submit_batch("batch", [new] * size, None, Idempotency(key, b"batch"))
        jobs = [job.id for job in made.jobs]
        self.accepted += jobs
        return jobs

    async def batches(self) -> set[UUID]:
        """Return the batches there are."""
        async with self.database.transaction(self.tenant) as tenant:
            return {row.id for row in await tenant.connection.execute(text("SELECT id FROM batches"))}

    async def count(self) -> int:
        """Return how many jobs there are."""
        async with self.database.transaction(self.tenant) as tenant:
            return int((await tenant.connection.execute(text("SELECT count(*) FROM jobs"))).scalar_one())

    async def unended(self) -> list[UUID]:
        """Return the jobs that have not ended."""
        async with self.database.transaction(self.tenant) as tenant:
            rows = await tenant.connection.execute(text("SELECT id FROM jobs WHERE finished_at IS NULL"))
        return [row.id for row in rows]

    async def states(self, job_ids: Sequence[UUID]) -> set[JobState]:
        """Return the states that these jobs are in."""
        which = text("SELECT DISTINCT state FROM jobs WHERE id = ANY (:jobs)")
        async with self.database.transaction(self.tenant) as tenant:
            rows = await tenant.connection.execute(which, {"jobs": list(job_ids)})
        return {JobState(row.state) for row in rows}

    async def held_by(self, worker: Worker) -> list[UUID]:
        """Return the jobs that the worker runs, by what the database knows."""
        running = text("SELECT id, worker_id FROM jobs WHERE state = 'running'")
        async with self.database.fleet() as fleet:
            names = {row.id: row.name for row in await fleet.workers.list()}
            rows = (await fleet.connection.execute(running)).all()
        return [row.id for row in rows if names.get(row.worker_id, "").endswith(f":{worker.pid}")]

    async def claimed_after(self, moment: float) -> float:
        """Wait for a job that was claimed after this moment; both in seconds of the epoch."""
        deadline = time.monotonic() + PATIENCE
        first = text("SELECT min(at) FROM job_events WHERE type = 'started' AND at > to_timestamp(:moment)")
        while True:
            async with self.database.transaction(self.tenant) as tenant:
                at = (await tenant.connection.execute(first, {"moment": moment})).scalar_one()
            if at is not None:
                return float(at.timestamp())
            assert time.monotonic() < deadline, f"no job was claimed; {self.said()}"
            await asyncio.sleep(0.02)

    async def job(self, job_id: UUID) -> JobRow:
        async with self.database.transaction(self.tenant) as tenant:
            job = await tenant.jobs.get(job_id)
        assert job is not None
        return job

    async def holder(self, job_id: UUID) -> Worker:
        """Return the worker that runs the job."""
        await self.event(job_id, EventType.STARTED)
        held_by = (await self.job(job_id)).worker_id
        async with self.database.fleet() as fleet:
            names = {row.id: row.name for row in await fleet.workers.list()}
        return next(worker for worker in self.workers if names[held_by].endswith(f":{worker.pid}"))

    async def events(self, job_id: UUID) -> list[JobEvent]:
        async with self.database.transaction(self.tenant) as tenant:
            return list(await tenant.events.after(job_id, 0, 1000))

    async def event(self, job_id: UUID, type_: EventType) -> JobEvent:
        """Wait until the job has an event of this type; return the first."""
        deadline = time.monotonic() + PATIENCE
        while True:
            events = await self.events(job_id)
            for event in events:
                if event.type is type_:
                    return event
            assert time.monotonic() < deadline, f"no {type_} in {events}; {self.said()}"
            await asyncio.sleep(0.02)

    async def ended(self, job_id: UUID) -> JobRow:
        """Wait until the job has ended."""
        deadline = time.monotonic() + PATIENCE
        while not (job := await self.job(job_id)).state.ended:
            assert time.monotonic() < deadline, f"{job} has not ended; {self.said()}"
            await asyncio.sleep(0.02)
        return job

    async def solution(self, job_id: UUID) -> dict[str, Any]:
        async with self.database.transaction(self.tenant) as tenant:
            payload = await tenant.jobs.payload(job_id, "result")
        assert payload is not None
        return dict(msgspec.json.decode(payload)["solution"])

    def said(self) -> str:
        return "\n".join(worker.said()[-SHOWN_CHARACTERS:] for worker in self.workers)


def solvers_of(*workers: Worker) -> Iterator[psutil.Process]:
    """Return the solver processes of these workers, also of those that have died."""
    parents = {str(worker.pid) for worker in workers}
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "workers.compute" in words and words[words.index("--parent") + 1] in parents:
            yield process


def environ_of(settings: Settings) -> dict[str, str]:
    """Return an environment from which the same settings are read."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MILPA_")}
    for field in msgspec.structs.fields(Settings):
        value = getattr(settings, field.name)
        if value != field.default and (written := _written(value)) is not None:
            environ[f"MILPA_{field.name.upper()}"] = written
    return environ


def _written(value: object) -> str | None:
    match value:
        case Secret():
            return value.reveal()
        case str() | bool() | int() | float():
            return str(value)
        case tuple():
            return ",".join(map(str, value))
        case _:
            return None


async def until(holds: Callable[[], object], why: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, why()
        await asyncio.sleep(0.02)
