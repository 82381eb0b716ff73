"""One log, many listeners: one query per job serves all who follow it.

A hint from Redis says which job's log has grown. Hints may be lost: every two seconds one query per tenant asks which
of the followed logs have grown.
"""

import asyncio
import time
from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID

import msgspec
import structlog

from api import sse
from api.problem_details import log_fault
from milpa.ending import end
from milpa.errors import TransientError
from milpa.jobs import JobEvent, JobState
from storage.rows import BatchRow, JobRow, StreamedEvent
from storage.signals import EVENTS
from storage.transaction import Database

POLL_SECONDS = 2.0
_PAGE = 1000
_READERS = 4
"""Logs read at once: listeners shall not take every connection from the requests."""
_HELD_BACK_SECONDS = 0.1
"""After a hint a tenant's log is read once more so much later: older open transactions hold rows back."""
_BATCH_SECONDS = 0.25
"""The counts of a batch are read no more often than this."""
_REMEMBERED = 1000
"""Ends heard of lately, so that a job which ends before anyone waits for it is not waited for."""

_log = structlog.get_logger("milpa.api")


class Bell:
    """Wakes everyone who waits. Take `next_ring` before looking, wait for it after: nothing between is missed."""

    def __init__(self) -> None:
        self.next_ring = asyncio.Event()

    def ring(self) -> None:
        """Wake those who wait now."""
        self.next_ring.set()
        self.next_ring = asyncio.Event()


class JobFeed:
    """The log of one job as frames ready to send. grown: rung when frames came; closed: when the job ended."""

    def __init__(self, tenant: UUID, job_id: UUID) -> None:
        self.tenant = tenant
        self.job_id = job_id
        self.followers = 0
        self.watchers = 0
        self.seqs: list[int] = []
        self.frames: list[bytes] = []
        self.ended = False
        self.grown = Bell()
        self.closed = Bell()

    @property
    def last_seq(self) -> int:
        """The newest seq read, 0 before the first."""
        return self.seqs[-1] if self.seqs else 0

    def take(self, event: JobEvent) -> None:
        """Take the next event of the log."""
        self.seqs.append(event.seq)
        self.frames.append(sse.frame(event.type, encode_event(event), event.seq))
        self.ended = self.ended or event.type.terminal

    def after(self, seq: int) -> list[bytes]:
        """Return the frames behind `seq`."""
        return self.frames[bisect_right(self.seqs, seq) :]


def encode_event(event: JobEvent, **more: object) -> bytes:
    """Return an event as one JSON object: what every event has, beside its own data."""
    fixed = {"job_id": event.job_id, "seq": event.seq, "type": event.type, "at": event.at}
    return msgspec.json.encode({**event.data, **more, **fixed})


class EventHub:
    """All listeners of this process. `streams` counts those that are open."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._feeds: dict[tuple[UUID, UUID], JobFeed] = {}
        self._stale: defaultdict[UUID, set[JobFeed]] = defaultdict(set)
        self._reading: set[UUID] = set()
        self._tenants: defaultdict[UUID, Bell] = defaultdict(Bell)
        self._shared: dict[Any, asyncio.Task[Any]] = {}
        self._readers = asyncio.Semaphore(_READERS)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._unlisten: Callable[[], None] = lambda: None
        self._ended_lately: deque[tuple[str, str]] = deque(maxlen=_REMEMBERED)
        self.streams = 0

    async def start(self) -> None:
        """Subscribe to hints, where there is someone to give them, and begin to poll."""
        if self._database.signals is not None:
            self._unlisten = await self._database.signals.listen(EVENTS, self._hint)
        self._keep(self._poll())

    async def close(self) -> None:
        """Stop reading; open streams end with their connections."""
        self._unlisten()
        await end(*self._tasks)

    # One job

    def follows(self, tenant: UUID, job_id: UUID) -> bool:
        """Tell whether the tenant's job is being followed already: then it exists."""
        feed = self._feeds.get((tenant, job_id))
        return feed is not None and bool(feed.seqs)

    async def follow_job(self, tenant: UUID, job_id: UUID, after: int) -> AsyncIterator[bytes]:
        """Replay the job's log behind `after`, follow it to its end, say `end`."""
        feed = self._feed(tenant, job_id)
        feed.followers += 1
        self._refresh(feed)
        try:
            while True:
                grown = feed.grown.next_ring
                if frames := feed.after(after):
                    after = feed.last_seq
                    for piece in sse.pieces(frames):
                        yield piece
                elif feed.ended:
                    yield sse.frame("end", b'{"job_id":"%b"}' % str(job_id).encode())
                    return
                elif not await _rung(grown, sse.HEARTBEAT_SECONDS):
                    yield sse.HEARTBEAT
        finally:
            feed.followers -= 1
            self._forget(feed)

    async def wait_for_end(
        self, tenant: UUID, job_id: UUID, seconds: float, known: JobRow | None = None
    ) -> tuple[JobRow | None, bytes | None]:
        """Wait until the job has ended, or so long; return it as it is then, with its result when it has one.

        known: the job as it was just submitted, which spares a look. TransientError: PostgreSQL is away.
        """
        deadline = time.monotonic() + seconds
        feed = self._feed(tenant, job_id)
        feed.watchers += 1
        try:
            closed = feed.closed.next_ring
            open_still = known and not known.state.ended and (str(tenant), str(job_id)) not in self._ended_lately
            row, result = (known, None) if open_still else await self._look(tenant, job_id)
            while row is not None and not row.state.ended and (left := deadline - time.monotonic()) > 0:
                await _rung(closed, min(left, POLL_SECONDS))
                closed = feed.closed.next_ring
                row, result = await self._look(tenant, job_id)
            return row, result
        finally:
            feed.watchers -= 1
            self._forget(feed)

    async def _look(self, tenant: UUID, job_id: UUID) -> tuple[JobRow | None, bytes | None]:
        async with self._database.transaction(tenant) as transaction:
            return await transaction.jobs.get_with_result(job_id)

    # A tenant, a batch

    async def follow_tenant(
        self, tenant: UUID, position: str, kind: str | None, jobs: tuple[UUID, ...]
    ) -> AsyncIterator[bytes]:
        """Follow the state changes of all the tenant's jobs behind `position`, and everything of `jobs`."""
        yield b"id: %b\n\n" % position.encode()
        quiet_since, hinted = time.monotonic(), False
        while True:
            changed = self._tenants[tenant].next_ring
            events = await self._read_stream(tenant, position, kind, jobs)
            if events:
                position = events[-1].position
                for piece in sse.pieces(_streamed(event) for event in events):
                    yield piece
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since >= sse.HEARTBEAT_SECONDS:
                yield sse.HEARTBEAT
                quiet_since = time.monotonic()
            if len(events) < _PAGE:
                hinted = await _rung(changed, _HELD_BACK_SECONDS if hinted else POLL_SECONDS)

    async def _read_stream(
        self, tenant: UUID, position: str, kind: str | None, jobs: tuple[UUID, ...]
    ) -> list[StreamedEvent]:
        async def read() -> list[StreamedEvent]:
            async with self._readers, self._database.transaction(tenant) as transaction:
                return await transaction.events.stream(position, _PAGE, kind, jobs)

        return await self._share((tenant, position, kind, jobs), read) or []

    async def follow_batch(self, tenant: UUID, batch_id: UUID) -> AsyncIterator[bytes]:
        """Tell the batch's counts by state whenever they change, `finished` once all have ended, then `end`."""

        async def read() -> BatchRow | None:
            async with self._readers, self._database.transaction(tenant) as transaction:
                return await transaction.batches.get(batch_id)

        told: tuple[dict[JobState, int], bool] | None = None
        quiet_since = time.monotonic()
        while True:
            changed = self._tenants[tenant].next_ring
            batch: BatchRow | None = await self._share((tenant, batch_id), read)
            if batch is not None and (batch.counts, batch.finished_at is not None) != told:
                finished = batch.finished_at is not None
                told = batch.counts, finished
                yield sse.frame("finished" if finished else "progress", _counts(batch))
                quiet_since = time.monotonic()
                if finished:
                    yield sse.frame("end", b'{"batch_id":"%b"}' % str(batch_id).encode())
                    return
            elif time.monotonic() - quiet_since >= sse.HEARTBEAT_SECONDS:
                yield sse.HEARTBEAT
                quiet_since = time.monotonic()
            await asyncio.sleep(_BATCH_SECONDS)
            await _rung(changed, POLL_SECONDS)

    async def _share(self, key: Any, read: Callable[[], Any]) -> Any:
        """Run `read` once for all who ask the same meanwhile; None while PostgreSQL is away."""
        task = self._shared.get(key)
        if task is None:
            task = self._shared[key] = self._keep(read())
            task.add_done_callback(lambda _done: self._shared.pop(key, None))
        try:
            return await asyncio.shield(task)
        except TransientError:
            return None

    # Reading

    def _hint(self, message: str) -> None:
        tenant, job, seq, closed = message.split(":")
        if int(closed):
            self._ended_lately.append((tenant, job))
        bell = self._tenants.get(UUID(tenant))
        if bell is not None:
            bell.ring()
        feed = self._feeds.get((UUID(tenant), UUID(job)))
        if feed is None:
            return
        if int(closed):
            feed.closed.ring()
        if feed.followers and int(seq) > feed.last_seq:
            self._refresh(feed)

    def _feed(self, tenant: UUID, job_id: UUID) -> JobFeed:
        return self._feeds.setdefault((tenant, job_id), JobFeed(tenant, job_id))

    def _forget(self, feed: JobFeed) -> None:
        if not feed.followers and not feed.watchers:
            self._feeds.pop((feed.tenant, feed.job_id), None)

    def _refresh(self, feed: JobFeed) -> None:
        """Have the feed's log read soon; what grows meanwhile is read together, by one query."""
        self._stale[feed.tenant].add(feed)
        if feed.tenant not in self._reading:
            self._reading.add(feed.tenant)
            self._keep(self._read_stale(feed.tenant))

    async def _read_stale(self, tenant: UUID) -> None:
        try:
            while stale := self._stale.pop(tenant, None):
                await self._read({feed.job_id: feed for feed in stale if self._wants_more(feed)}, tenant)
        except TransientError:
            _log.warning("event log not read; the poll will try again")
        finally:
            self._reading.discard(tenant)

    def _wants_more(self, feed: JobFeed) -> bool:
        return not feed.ended and self._feeds.get((feed.tenant, feed.job_id)) is feed

    async def _read(self, feeds: dict[UUID, JobFeed], tenant: UUID) -> None:
        known = {job_id: feed.last_seq for job_id, feed in feeds.items()}
        async with self._readers, self._database.transaction(tenant) as transaction:
            events = await transaction.events.after_each(known, _PAGE)
        for event in events:
            feeds[event.job_id].take(event)
        for job_id, feed in feeds.items():
            if feed.last_seq > known[job_id]:
                feed.grown.ring()
            if feed.last_seq >= known[job_id] + _PAGE:
                self._stale[tenant].add(feed)

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            followed: defaultdict[UUID, list[JobFeed]] = defaultdict(list)
            for feed in self._feeds.values():
                if feed.followers and not feed.ended:
                    followed[feed.tenant].append(feed)
            for tenant, feeds in followed.items():
                try:
                    await self._find_grown(tenant, feeds)
                except TransientError:
                    break
                except Exception as error:  # noqa: BLE001  one tenant's shall not end the poll
                    log_fault("event hub failed", error)

    async def _find_grown(self, tenant: UUID, feeds: list[JobFeed]) -> None:
        async with self._readers, self._database.transaction(tenant) as transaction:
            heads = await transaction.events.heads([feed.job_id for feed in feeds])
        for feed in feeds:
            head = heads.get(feed.job_id)
            if head is None:  # deleted meanwhile
                feed.ended = True
                feed.grown.ring()
            elif head > feed.last_seq:
                self._refresh(feed)

    def _keep(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, TransientError):
            log_fault("event hub failed", error)


def _streamed(event: StreamedEvent) -> bytes:
    return sse.frame(event.event.type, encode_event(event.event, kind=event.kind), event.position)


def _counts(batch: BatchRow) -> bytes:
    return msgspec.json.encode({"batch_id": batch.id, "size": batch.size, "counts": batch.counts})


async def _rung(bell: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await bell.wait()
    except TimeoutError:
        return False
    return True
