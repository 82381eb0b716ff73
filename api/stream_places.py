"""Places of the streams open in this process: kept while a stream is open, freed when it ends or this process does."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from milpa.ending import end
from milpa.errors import TransientError
from milpa.repeating import patiently
from storage.limiter import LEASE_SECONDS, Limiter, Pool


class StreamPlaces:
    """Renews the leases of all open streams in one go, three times within the life of each."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self._open: dict[str, Sequence[Pool]] = {}
        self._renewing: asyncio.Task[None] | None = None
        self._releasing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def kept(self, lease: str, pools: Sequence[Pool]) -> AsyncIterator[None]:
        """Keep the lease in these pools while the block runs; free its places after it."""
        if not pools:
            yield
            return
        self._open[lease] = pools
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._renew())
        try:
            yield
        finally:
            del self._open[lease]
            # Apart from this task: a stream mostly ends by being cancelled, and then can wait for nothing.
            releasing = asyncio.create_task(self._release(pools, lease))
            self._releasing.add(releasing)
            releasing.add_done_callback(self._releasing.discard)

    async def _release(self, pools: Sequence[Pool], lease: str) -> None:
        with suppress(TransientError):
            await self._limiter.release(pools, lease)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            if self._open:
                await patiently(self._limiter.renew, list(self._open.items()))

    async def close(self) -> None:
        """Stop renewing, and finish giving places back."""
        if self._renewing is not None:
            await end(self._renewing)
            await asyncio.gather(*self._releasing, return_exceptions=True)
