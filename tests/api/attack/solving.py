"""Jobs that really ended: solved, with their files, by the very code that workers run."""

import asyncio
from typing import Any
from uuid import UUID

import httpx

from milpa.jobs import FileFormat
from milpa.settings import Settings
from solvers.progress import Silent
from solvers.registry import get_kind
from storage.objects import ObjectStore
from storage.transaction import Database
from tests.api.jobs import LOG, JobDriver
from tests.api.things import make_things
from workers.compute import solve
from workers.protocol import Limits, Solve
from workers.run_job import success, upload

Things = dict[str, str]
"""Ids by the name that paths have for them."""


class SolvingDriver(JobDriver):
    """Ends jobs with true results."""

    def __init__(self, database: Database, tenant: UUID, settings: Settings) -> None:
        super().__init__(database, tenant)
        self._objects = ObjectStore(settings)

    async def succeed(self, job_id: UUID | str, **_: Any) -> None:
        """Solve the job, make its tables as CSV, and end it."""
        claim = await self.claim(job_id)
        row = await self.row(job_id)
        async with self.database.transaction(self.tenant) as transaction:
            problem = await transaction.jobs.payload(row.id, "input")
        assert problem is not None
        task = Solve(kind=row.kind, problem=problem, limits=Limits(seconds=10), formats=[FileFormat.CSV])
        solved = await asyncio.to_thread(solve, get_kind(row.kind), task, Silent())
        files = await upload(self._objects, self.tenant, row.id, 1, solved.files)
        await self.finish(claim, success(solved, files, LOG))


async def make_attackable(http: httpx.AsyncClient, driver: SolvingDriver) -> Things:
    """Make one of each thing with an id, and a good link to a file."""
    made = await make_things(http, driver)
    path = f"/v1/jobs/{made['job_id']}/files"
    name = (await http.get(path)).json()["items"][0]["name"]
    token = (await http.get(f"{path}/{name}")).headers["location"].rpartition("/")[2]
    return made | {"name": name, "token": token}
