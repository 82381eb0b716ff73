"""ARQ's worker as a doorbell: it waits at its queue, polls nothing, keeps nothing in Redis, is patient without it."""

import asyncio
from datetime import timedelta

import structlog
from arq.connections import ArqRedis
from arq.utils import timestamp_ms
from arq.worker import Worker, func
from redis.exceptions import RedisError

from milpa.jobs import Priority
from storage.queue import deserialize, queue_name, serialize
from storage.rows import Task
from workers.context import WorkerContext
from workers.make_files import make_files
from workers.run_job import run_job
from workers.waiting import is_set_within

WAIT_SECONDS = 0.5
"""How long it waits at its queue before it looks up: whether to drain, whether Redis has come back."""

NEVER = timedelta(days=365)
"""ARQ's own timeout. Limits are the child's affair."""

AWAY = (RedisError, OSError, TimeoutError)

log = structlog.get_logger(__name__)


class RingWorker(Worker):
    """Serves the rings of one queue, as many at once as it has slots.

    PostgreSQL is the truth, so a ring is worth nothing once it was heard: it leaves its queue before the job is
    claimed, no try is counted, no result is kept, nothing is retried or aborted here.
    """

    def __init__(self, priority: Priority, slots: int, redis: ArqRedis, context: WorkerContext) -> None:
        super().__init__(
            functions=[func(run_job, name=Task.RUN_JOB), func(make_files, name=Task.MAKE_FILES)],
            queue_name=queue_name(priority),
            redis_pool=redis,
            ctx={"worker": context},
            max_jobs=slots,
            max_tries=1,
            retry_jobs=False,
            keep_result=0,
            allow_abort_jobs=False,
            job_timeout=NEVER,
            health_check_key=f"{queue_name(priority)}:health:{context.id}",
            health_check_interval=60,
            handle_signals=False,
            job_serializer=serialize,
            job_deserializer=deserialize,
            log_results=False,
        )
        self._slot_freed = asyncio.Event()
        self._away = False

    async def serve(self, draining: asyncio.Event) -> None:
        """Serve rings until told to drain, then wait for the jobs under way to be given back."""
        while not draining.is_set():
            await self._listen()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)

    async def _listen(self) -> None:
        try:
            await self._poll_iteration()
        except AWAY as error:
            if not self._away:
                log.warning("redis_away", queue=self.queue_name, error=type(error).__name__)
            self._away = True
            await asyncio.sleep(WAIT_SECONDS)
        else:
            if self._away:
                log.info("redis_back", queue=self.queue_name)
            self._away = False

    async def _poll_iteration(self) -> None:
        """Take the next ring as soon as there is one, and a slot for it: it leaves its queue with whoever takes it.

        Redis gives it to whoever has waited longest. ARQ's own way leaves for later what was rung by a clock ahead of
        this one's, and holds a key for each ring under way, which outlives a killed worker, at four round trips a ring.
        """
        if self.job_counter >= self.max_jobs:
            self._slot_freed.clear()
            await is_set_within(self._slot_freed, WAIT_SECONDS)
        elif found := await self.pool.bzpopmin(self.queue_name, WAIT_SECONDS):
            _queue, ring, _rung_at = found
            await self._start(ring.decode())
        for ring, task in list(self.tasks.items()):
            if task.done():
                del self.tasks[ring]
                task.result()
        await self.heart_beat()

    async def _start(self, ring: str) -> None:
        await self.sem.acquire()
        self.job_counter += 1
        task = self.tasks[ring] = self.loop.create_task(self.run_job(ring, timestamp_ms()))
        task.add_done_callback(lambda _done: self._release_sem_dec_counter_on_complete())

    def _release_sem_dec_counter_on_complete(self) -> None:
        super()._release_sem_dec_counter_on_complete()
        self._slot_freed.set()
