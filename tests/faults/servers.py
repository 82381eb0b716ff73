"""Taking a real server away, and giving it back on the same socket."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from deploy.local.processes import start, wait_ready
from deploy.local.servers import Servers


@asynccontextmanager
async def away(servers: Servers, name: str, number: signal.Signals) -> AsyncIterator[None]:
    """Have the server of that name ended by a signal; at exit it serves again."""
    place = next(i for i, (part, _) in enumerate(servers._running) if part.name == name)
    part, process = servers._running[place]
    process.send_signal(number)
    await asyncio.to_thread(process.wait)
    try:
        yield
    finally:
        process = start(part)
        servers._running[place] = (part, process)
        await asyncio.to_thread(wait_ready, part, process)


@asynccontextmanager
async def hanging(servers: Servers, name: str) -> AsyncIterator[None]:
    """Have the server of that name hold its connections and answer nothing; at exit it goes on."""
    process = next(process for part, process in servers._running if part.name == name)
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)
