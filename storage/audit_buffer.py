"""Reads and refused requests reach the audit off the answer's path: gathered for a moment, written together."""

import asyncio
import contextlib
import time
from collections.abc import Sequence

import msgspec
import structlog

from storage.audit_rows import NewAudit
from storage.transaction import Database

GATHER_SECONDS = 0.05
RETRY_SECONDS = 0.5
MOST_WAITING = 20_000
"""With so many waiting, PostgreSQL has been away for long: what must be audited is refused until it is back."""
CLOSING_SECONDS = 10.0
_BITE = 1000

log = structlog.get_logger(__name__)


class AuditBuffer:
    """Deeds on their way into the audit. Nothing is dropped; what can't be written before the end is counted aloud."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[tuple[float, NewAudit]] = []
        self._writing: asyncio.Task[None] | None = None
        self._closing = False

    @property
    def full(self) -> bool:
        """Whether nothing more may be promised to the audit for now."""
        return len(self._waiting) >= MOST_WAITING

    def put(self, deed: NewAudit) -> None:
        """Write it soon; never blocks and never raises."""
        self._waiting.append((time.monotonic(), deed))
        self._begin()

    def _begin(self) -> asyncio.Task[None]:
        """Return the writing that is under way, begun if need be."""
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write())
        return self._writing

    async def _write(self) -> None:
        told = False
        try:
            if not self._closing:
                await asyncio.sleep(GATHER_SECONDS)
            while self._waiting:
                bite = self._waiting[:_BITE]
                try:
                    await self._keep(bite)
                except Exception:
                    if not told:  # once, not twice a second for as long as it lasts
                        log.warning("audit_put_off", count=len(self._waiting), exc_info=True)
                    told = True
                    await asyncio.sleep(RETRY_SECONDS)
                else:
                    told = False
                    del self._waiting[: len(bite)]
        finally:
            self._writing = None

    async def _keep(self, bite: Sequence[tuple[float, NewAudit]]) -> None:
        now = time.monotonic()
        async with self._database.fleet() as fleet:
            await fleet.audit.keep([msgspec.structs.replace(deed, age_seconds=now - at) for at, deed in bite])

    async def close(self) -> None:
        """Write what waits, for at most some seconds; what is lost then is logged as a number."""
        self._closing = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSING_SECONDS):
                while self._waiting:
                    await self._begin()
        if self._waiting:
            log.error("audit_lost", count=len(self._waiting))
