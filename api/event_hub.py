"""One log, many listeners: one query per job serves all who follow it.

A hint from Redis says which job's log has grown. Hints may be lost: every two seconds one query per tenant asks which
of the followed logs have grown.
"""

import asyncio
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

import msgspec
import structlog

from api import sse
from milpa.errors import TransientError
from milpa.jobs import JobEvent, JobState
from storage.rows import BatchRow, JobRow, StreamedEvent
from storage.signals import EVENTS, Signals
from storage.transaction import Database

POLL_SECONDS = 2.0
_PAGE = 1000
_READERS = 4
"""Logs read at once: listeners shall not take every connection from the requests."""
_BATCH_SECONDS = 0.25
"""The counts of a batch are read no more often than this."""

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
    """The log of one job as frames ready to send. grown: rung when frames came; hinted: when a hint came."""

    def __init__(self, tenant: UUID, job_id: UUID) -> None:
        self.tenant = tenant
        self.job_id = job_id
        self.followers = 0
        self.watchers = 0
        self.seqs: list[int] = []
        self.frames: list[bytes] = []
        self.ended = False
        self.stale = False
        self.reading: asyncio.Task[None] | None = None
        self.grown = Bell()
        self.hinted = Bell()

    @property
    def last_seq(self) -> int:
        """The newest seq read, 0 before the first."""
        return self.seqs[-1] if self.seqs else 0

    def extend(self, events: list[JobEvent]) -> None:
        """Take the next events of the log."""
        for event in events:
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

    def __init__(self, database: Database, signals: Signals) -> None:
        self._database = database
        self._signals = signals
        self._feeds: dict[UUID, JobFeed] = {}
        self._tenants: defaultdict[UUID, Bell] = defaultdict(Bell)
        self._shared: dict[Any, asyncio.Task[Any]] = {}
        self._readers = asyncio.Semaphore(_READERS)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._unlisten: Callable[[], None] = lambda: None
        self.streams = 0

    async def start(self) -> None:
        """Subscribe, and begin to poll."""
        self._unlisten = await self._signals.listen(EVENTS, self._hint)
        self._keep(self._poll())

    async def close(self) -> None:
        """Stop reading; open streams end with their connections."""
        self._unlisten()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # One job

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
                    yield b"".join(frames)
                elif feed.ended:
                    yield sse.frame("end", b'{"job_id":"%b"}' % str(job_id).encode())
                    return
                elif not await _rung(grown, sse.HEARTBEAT_SECONDS):
                    yield sse.HEARTBEAT
        finally:
            feed.followers -= 1
            self._forget(feed)

    async def wait_for_end(self, tenant: UUID, job_id: UUID, seconds: float) -> tuple[JobRow | None, bytes | None]:
        """Wait until the job has ended, or so long; return it as it is then, with its result when it has one."""
        deadline = time.monotonic() + seconds
        feed = self._feed(tenant, job_id)
        feed.watchers += 1
        try:
            while True:
                hinted = feed.hinted.next_ring
                row, result = await self._look(tenant, job_id)
                left = deadline - time.monotonic()
                if row is None or row.state.ended or left <= 0:
                    return row, result
                await _rung(hinted, min(left, POLL_SECONDS))
        finally:
            feed.watchers -= 1
            self._forget(feed)

    async def _look(self, tenant: UUID, job_id: UUID) -> tuple[JobRow | None, bytes | None]:
        async with self._database.transaction(tenant) as transaction:
            row = await transaction.jobs.get(job_id)
            done = row is not None and row.state is JobState.SUCCEEDED
            return row, await transaction.jobs.payload(job_id, "result") if done else None

    # A tenant, a batch

    async def follow_tenant(
        self, tenant: UUID, position: str, kind: str | None, jobs: tuple[UUID, ...]
    ) -> AsyncIterator[bytes]:
        """Follow the state changes of all the tenant's jobs behind `position`, and everything of `jobs`."""
        yield b"id: %b\n\n" % position.encode()
        quiet_since = time.monotonic()
        while True:
            changed = self._tenants[tenant].next_ring
            events = await self._read_stream(tenant, position, kind, jobs)
            if events:
                position = events[-1].position
                yield b"".join(_streamed(event) for event in events)
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since >= sse.HEARTBEAT_SECONDS:
                yield sse.HEARTBEAT
                quiet_since = time.monotonic()
            if len(events) < _PAGE:
                await _rung(changed, POLL_SECONDS)

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

        told: dict[JobState, int] | None = None
        quiet_since = time.monotonic()
        while True:
            changed = self._tenants[tenant].next_ring
            batch: BatchRow | None = await self._share((tenant, batch_id), read)
            if batch is not None and batch.counts != told:
                told = batch.counts
                finished = all(state.ended for state in told)
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
        tenant, job, seq = message.split(":")
        bell = self._tenants.get(UUID(tenant))
        if bell is not None:
            bell.ring()
        feed = self._feeds.get(UUID(job))
        if feed is None:
            return
        feed.hinted.ring()
        if feed.followers and int(seq) > feed.last_seq:
            self._refresh(feed)

    def _feed(self, tenant: UUID, job_id: UUID) -> JobFeed:
        return self._feeds.setdefault(job_id, JobFeed(tenant, job_id))

    def _forget(self, feed: JobFeed) -> None:
        if not feed.followers and not feed.watchers:
            self._feeds.pop(feed.job_id, None)

    def _refresh(self, feed: JobFeed) -> None:
        feed.stale = True
        if feed.reading is None:
            feed.reading = self._keep(self._read_job(feed))

    async def _read_job(self, feed: JobFeed) -> None:
        try:
            while feed.stale and not feed.ended:
                feed.stale = False
                async with self._readers, self._database.transaction(feed.tenant) as transaction:
                    events = await transaction.events.after(feed.job_id, feed.last_seq, _PAGE)
                feed.extend(events)
                feed.stale = feed.stale or len(events) == _PAGE
                feed.grown.ring()
        except TransientError:
            _log.warning("event log not read; the poll will try again")
        finally:
            feed.reading = None

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            followed: defaultdict[UUID, list[JobFeed]] = defaultdict(list)
            for feed in self._feeds.values():
                if feed.followers and not feed.ended:
                    followed[feed.tenant].append(feed)
            for tenant, feeds in followed.items():
                with suppress(TransientError):
                    await self._find_grown(tenant, feeds)

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
        task.add_done_callback(self._tasks.discard)
        return task


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
