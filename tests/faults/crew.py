"""Real worker processes to start, hurt and count, and jobs for them."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import psutil

from deploy.local.readiness import Doorway
from milpa.jobs import EventType, JobEvent, JobOptions, Priority
from milpa.settings import Secret, Settings
from storage.rows import JobRow, NewJob
from storage.transaction import Database
from tests.support.planted import EMAIL, NAME

PATIENCE = 60.0
"""Seconds after which a test gives up waiting: generous, machines are slow."""


class Worker:
    """One real worker process."""

    def __init__(self, settings: Settings, folder: Path, number: int) -> None:
        self._doorway = Doorway(folder / f"{number}.ready")
        self.log = folder / f"{number}.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.worker"],
                env=environ_of(settings) | self._doorway.environ,
                cwd=Path(__file__).parents[2],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.pid = self._process.pid

    async def ready(self) -> None:
        await until(self._doorway.ready, self.said)

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

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
        self._settings = settings
        self._folder = folder
        self.workers: list[Worker] = []
        self.database = database
        self.mute = mute
        self.accepted: list[UUID] = []

    async def start(self, **changes: Any) -> Worker:
        """Start a worker and wait until it serves."""
        worker = Worker(msgspec.structs.replace(self._settings, **changes), self._folder, len(self.workers))
        self.workers.append(worker)
        await worker.ready()
        return worker

    async def end(self) -> None:
        """End all workers. No solver process may be left of any."""
        await asyncio.gather(*(worker.end() for worker in self.workers))
        await until(lambda: not list(solvers_of(*self.workers)), lambda: "orphan solver processes")

    async def submit(
        self, act: str, *, limit: float = 30.0, batch: bool = False, silent: bool = False, **problem: Any
    ) -> UUID:
        """Submit a probe job. silent: as if its submitter died right after the commit, telling nobody."""
        new = NewJob(
            kind="probe",
            kind_version=1,
            input=msgspec.json.encode({"act": act, "text": NAME, **problem}),
            name=NAME,
            tags=[EMAIL],
            options=JobOptions(time_limit_seconds=limit),
            priority=Priority.BATCH if batch else Priority.INTERACTIVE,
        )
        database = self.mute if silent else self.database
        async with database.transaction(self.tenant) as tenant:
            submitted = await tenant.jobs.submit(new)
        self.accepted.append(submitted.job.id)
        return submitted.job.id

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
        return "\n".join(worker.said() for worker in self.workers)


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
