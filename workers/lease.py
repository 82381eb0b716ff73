"""Our claim on a running job: renewed while the database agrees, given up by our own clock when it is silent."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from enum import Enum

import structlog

from milpa.errors import TransientError
from milpa.jobs import EventType, JobProgress
from milpa.settings import Settings
from storage.jobs import JobStore
from storage.rows import ClaimRef, Heartbeat
from storage.transaction import Database, Transaction
from workers.waiting import is_set_within

PROGRESS_SECONDS = 1.0
"""The shortest time between two heartbeats that carry progress."""

RETRY_SECONDS = 0.5
"""The longest pause before the database is asked again after it did not answer."""

log = structlog.get_logger(__name__)


class Verdict(Enum):
    """Why an attempt has to end before its answer."""

    LOST = "lost"
    CANCELLED = "cancelled"


class Lease:
    """Held from the claim until `deadline` (monotonic seconds), which every heartbeat moves on.

    The deadline counts from before the claim or heartbeat was sent, so it always ends before the database's.
    """

    def __init__(self, database: Database, settings: Settings, ref: ClaimRef, taken_at: float) -> None:
        self.ref = ref
        self.stop = asyncio.Event()
        self._database = database
        self._settings = settings
        self._deadline = taken_at + settings.lease_seconds
        self._beat_at = taken_at
        self._due = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._progress: JobProgress | None = None
        self._told = JobProgress()

    @property
    def _patience(self) -> float:
        """How long one try at PostgreSQL may take, in seconds: a lease has room for three."""
        return self._settings.lease_seconds / 3

    @property
    def seconds_left(self) -> float:
        """How long the job is surely ours; nothing may be written when it is not above 0."""
        return self._deadline - time.monotonic()

    def beat_now(self) -> None:
        """Have the next heartbeat at once."""
        self._due.set()

    def report(self, progress: JobProgress) -> None:
        """Have the newest progress sent, at most once a second."""
        self._progress = progress
        if self._timer is None:
            pause = max(0.0, self._beat_at + PROGRESS_SECONDS - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(pause, self._due.set)

    async def keep(self) -> Verdict:
        """Renew the lease until it is lost or the job was cancelled. A stop asked for sets `stop`."""
        while True:
            await self._next_beat()
            if self.seconds_left <= 0:
                return Verdict.LOST
            sent_at = time.monotonic()
            try:
                heartbeat = await self._beat()
            except (TransientError, TimeoutError) as error:
                self._doubt(error)
                log.warning("heartbeat_unanswered", seconds_left=round(self.seconds_left, 1))
                await asyncio.sleep(_jitter(RETRY_SECONDS))
                self.beat_now()
                continue
            if heartbeat is None:
                return Verdict.LOST
            self._deadline = sent_at + self._settings.lease_seconds
            if heartbeat.cancel:
                return Verdict.CANCELLED
            if heartbeat.stop:
                self.stop.set()

    async def write(self, verb: Callable[[JobStore], Awaitable[bool]]) -> bool:
        """Do the guarded write that ends the attempt, again and again while PostgreSQL is away and the lease is ours.

        False: the attempt is stale, and nothing was written by this call.
        """
        patience = self._patience
        while self.seconds_left > 0:
            try:
                async with self._within(patience) as tenant:
                    written = await verb(tenant.jobs)
            except (TransientError, TimeoutError) as error:
                self._doubt(error)
                patience *= 2  # it may be much that is written
                await asyncio.sleep(_jitter(RETRY_SECONDS))
            else:
                return written
        return False

    @asynccontextmanager
    async def _within(self, seconds: float) -> AsyncIterator[Transaction]:
        """Open a transaction that may take so long, and no longer than the lease. TimeoutError: it took longer."""
        async with (
            asyncio.timeout(min(seconds, self.seconds_left)),
            self._database.transaction(self.ref.tenant_id) as tenant,
        ):
            yield tenant

    def _doubt(self, error: Exception) -> None:
        """Have the next try take a new connection after silence: a firewall may have forgotten all of the old ones."""
        if isinstance(error, TimeoutError):
            self._database.doubt_connections()

    async def _next_beat(self) -> None:
        pause = min(self._beat_at + self._settings.heartbeat_seconds - time.monotonic(), self.seconds_left)
        await is_set_within(self._due, pause)
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _beat(self) -> Heartbeat | None:
        self._beat_at = time.monotonic()
        progress, self._progress = self._progress, None
        event = _event(self._told, progress)
        async with self._within(self._patience) as tenant:
            heartbeat = await tenant.jobs.heartbeat(self.ref, self._settings.lease_seconds, progress, event)
        self._told = progress or self._told
        return heartbeat


def _event(told: JobProgress, progress: JobProgress | None) -> EventType | None:
    if progress is None or progress == told:
        return None
    better = (progress.objective, progress.bound) != (told.objective, told.bound)
    return EventType.INCUMBENT if better else EventType.PHASE


def _jitter(seconds: float) -> float:
    return random.uniform(seconds / 10, seconds)  # noqa: S311  no secret
