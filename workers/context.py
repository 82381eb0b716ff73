"""What the functions of one worker process share."""

import asyncio
from dataclasses import dataclass, field
from uuid import UUID

from milpa.settings import Settings
from storage.dispatch import Dispatcher
from storage.objects import ObjectStore
from storage.transaction import Database
from workers.compute_pool import ComputePool
from workers.lease import Lease


@dataclass(frozen=True, kw_only=True)
class WorkerContext:
    """The worker's id, its doors to the outside, and the jobs it holds. `draining`: it shuts down, give jobs back."""

    id: UUID
    settings: Settings
    database: Database
    objects: ObjectStore
    dispatcher: Dispatcher
    pool: ComputePool
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    leases: dict[UUID, Lease] = field(default_factory=dict)

    def on_control(self, message: str) -> None:
        """Ask at once what is wanted of the job that a control signal names, if it is one of ours."""
        lease = self.leases.get(UUID(message))
        if lease is not None:
            lease.beat_now()
