"""Submitting: the job, its input, its first event and its idempotency key, in one transaction."""

from collections.abc import Sequence
from uuid import UUID

from storage.rows import Idempotency, JobRow, NewJob, Submitted, SubmittedBatch
from storage.session import Session


class Submission:
    """The verbs that make jobs."""

    _session: Session
    _tenant: UUID

    async def submit(self, new: NewJob) -> Submitted:
        """Make the job, or find the one that its idempotency key made before.

        UsageError (`idempotency_conflict`): the key was used with another body.
        """
        ...

    async def submit_batch(
        self,
        name: str | None,
        jobs: Sequence[NewJob],
        webhook_url: str | None = None,
        idempotency: Idempotency | None = None,
    ) -> SubmittedBatch:
        """Make up to 1,000 jobs that belong together; their own idempotency keys are not looked at.

        UsageError (`idempotency_conflict`): the key was used with another body.
        """
        ...

    async def resubmit(self, job_id: UUID) -> JobRow | None:
        """Make a new job from the input of a failed or cancelled one. None: there is no such job.

        UsageError (`not_retryable`): it has not failed or been cancelled. (`input_gone`): its input was pruned.
        """
        ...
