"""Jobs driven through the store as a worker would, so that the API's tests need none."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from milpa.jobs import JobError, JobProgress, JobState, Outcome, new_id
from storage.rows import Claim, Ending, JobRow, NewFile
from storage.transaction import Database

RESULT: dict[str, Any] = {
    "outcome": "optimal",
    "objective": 9400.0,
    "bound": 9400.0,
    "gap": 0.0,
    "solution": {"objective_value": 9400.0},
    "explanation": {"dual_kind": "lp"},
    "stats": {},
}
REPORT: dict[str, Any] = {"title": "Deals", "facts": [], "tables": [], "charts": []}
LOG = b"solved"


class JobDriver:
    """One tenant's worker: claims and ends jobs by hand."""

    def __init__(self, database: Database, tenant: UUID) -> None:
        self.database = database
        self.tenant = tenant

    async def row(self, job_id: UUID | str) -> JobRow:
        async with self.database.transaction(self.tenant) as transaction:
            row = await transaction.jobs.get(UUID(str(job_id)))
        assert row is not None
        return row

    async def claim(self, job_id: UUID | str) -> Claim:
        row = await self.row(job_id)
        async with self.database.transaction(self.tenant) as transaction:
            claim = await transaction.jobs.claim(row.id, row.dispatch_no, new_id(), 600.0)
        assert claim is not None
        return claim

    async def succeed(
        self,
        job_id: UUID | str,
        *,
        outcome: Outcome = Outcome.OPTIMAL,
        files: Sequence[NewFile] = (),
        claim: Claim | None = None,
        objective: float | None = 9400.0,
        result: dict[str, Any] | None = None,
        facts: Sequence[dict[str, Any]] = (),
    ) -> None:
        """End the job well; result, facts: what its result and its report say other than usual."""
        claim = claim or await self.claim(job_id)
        ending = Ending(
            state=JobState.SUCCEEDED,
            outcome=outcome,
            objective=objective,
            verified=True,
            solve_seconds=0.01,
            progress=JobProgress(phase="solve", fraction=1.0, objective=objective),
            result=msgspec.json.encode({**RESULT, "objective": objective, **(result or {})}),
            report=msgspec.json.encode({**REPORT, "facts": list(facts)}),
            log=LOG,
            files=files,
        )
        await self.finish(claim, ending)

    async def fail(self, job_id: UUID | str) -> None:
        error = JobError("boom", "It broke.")
        await self.finish(await self.claim(job_id), Ending(state=JobState.FAILED, error=error, log=LOG))

    async def finish(self, claim: Claim, ending: Ending) -> None:
        async with self.database.transaction(self.tenant) as transaction:
            assert await transaction.jobs.finish(claim.ref, ending)
