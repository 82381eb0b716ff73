"""Who rings: one fair choice in PostgreSQL, then the bells. Anyone may call it at any time.

Where nobody waits and there is room, there is nothing to choose: a submit rings for its own job.
"""

import asyncio
from collections.abc import Sequence

import structlog

from milpa.errors import MilpaError
from storage.queue import Queue
from storage.rows import Ring
from storage.transaction import Database

log = structlog.get_logger()


class Dispatcher:
    """Admits waiting jobs to the shallow queues in Redis; the database's commits wake it."""

    def __init__(self, database: Database, queue: Queue) -> None:
        self._database = database
        self._queue = queue
        self._asked = False
        self._running: asyncio.Task[None] | None = None
        self._ringing: set[asyncio.Task[None]] = set()
        database.on_waiting(self.wake)
        database.on_rung(self.ring)

    async def admit(self) -> int:
        """Ring for the jobs and files whose turn it is; returns how many. A lost ring is found by `ring_lost`.

        TransientError: PostgreSQL or Redis is away.
        """
        async with self._database.fleet() as fleet:
            rings = await fleet.jobs.admit()
        await self._queue.ring(rings)
        return len(rings)

    def ring(self, rings: Sequence[Ring]) -> None:
        """Ring now, in the background, for jobs whose row says so already. Never raises."""
        task = asyncio.get_running_loop().create_task(self._ring(rings))
        self._ringing.add(task)
        task.add_done_callback(self._ringing.discard)

    async def _ring(self, rings: Sequence[Ring]) -> None:
        try:
            await self._queue.ring(rings)
        except MilpaError as error:
            log.warning("ring_put_off", code=error.code)  # `ring_lost` finds it
        except Exception:
            log.exception("ring_broke")

    def wake(self) -> None:
        """Admit soon, in the background; calls that come meanwhile are one. Never raises."""
        self._asked = True
        if self._running is None:
            self._running = asyncio.get_running_loop().create_task(self._admit_while_asked())

    async def _admit_while_asked(self) -> None:
        try:
            while self._asked:
                self._asked = False
                await self.admit()
        except MilpaError as error:
            log.warning("admission_put_off", code=error.code)
        except Exception:
            log.exception("admission_broke")  # the sweeper comes by
        finally:
            self._running = None

    async def ring_lost(self, older_than_seconds: float) -> int:
        """Ring anew where Redis has lost a ring or its taker died before the claim; returns how many were lost.

        TransientError: PostgreSQL or Redis is away.
        """
        async with self._database.fleet() as fleet:
            rung = await fleet.jobs.rung(older_than_seconds)
        missing = await self._queue.missing(rung)
        if not missing:
            return 0
        async with self._database.fleet() as fleet:
            lost = await fleet.jobs.unring(missing)
        await self.admit()
        return lost

    async def close(self) -> None:
        """Wait for the admission and the rings under way."""
        await asyncio.gather(*self._ringing)
        if self._running is not None:
            await self._running
