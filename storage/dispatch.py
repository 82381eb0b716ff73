"""Who rings: one fair choice in PostgreSQL, then the bells. Anyone may call it at any time."""

from storage.queue import Queue
from storage.transaction import Database


class Dispatcher:
    """Admits waiting jobs to the shallow queues in Redis."""

    def __init__(self, database: Database, queue: Queue) -> None:
        self._database = database
        self._queue = queue

    async def admit(self) -> int:
        """Ring for the jobs and files whose turn it is; returns how many. A lost ring is found by `ring_lost`."""
        ...

    def wake(self) -> None:
        """Admit soon, in the background; calls that come meanwhile are one. Never raises."""
        ...

    async def ring_lost(self, older_than_seconds: float) -> int:
        """Ring anew where Redis has lost a ring or its taker died before the claim; returns how many were lost."""
        ...

    async def close(self) -> None:
        """Wait for the admission under way."""
        ...
