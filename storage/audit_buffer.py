"""Reads and refused requests reach the audit off the answer's path: gathered for a moment, written together."""

import asyncio
import time
from collections.abc import Sequence

import msgspec
import structlog

from milpa.errors import TransientError
from storage.audit_rows import NewAudit
from storage.transaction import Database

GATHER_SECONDS = 0.05
RETRY_SECONDS = 0.5
MOST_WAITING = 20_000
"""With so many waiting, PostgreSQL has been away for long: what must be audited is refused until it is back."""
_BITE = 1000
_CLOSING_SECONDS = 10.0

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
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        try:
            if not self._closing:
                await asyncio.sleep(GATHER_SECONDS)
            while self._waiting:
                bite = self._waiting[:_BITE]
                try:
                    await self._keep(bite)
                except TransientError as error:
                    log.warning("audit_put_off", code=error.code, count=len(self._waiting))
                    await asyncio.sleep(RETRY_SECONDS)
                else:
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
        try:
            async with asyncio.timeout(_CLOSING_SECONDS):
                if self._writing is not None:
                    await self._writing
        except TimeoutError:
            log.error("audit_lost", count=len(self._waiting))  # noqa: TRY400  where does not matter, how many does
