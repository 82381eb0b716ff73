"""Real API processes to kill and start again on the same address."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path
from random import Random
from uuid import UUID, uuid4

from deploy.local import address
from deploy.local.readiness import Doorway
from milpa.client import AsyncClient
from milpa.settings import Settings
from storage.rows import Role
from tests.faults.crew import Crew, environ_of, until
from tests.faults.load import Submit
from tests.faults.proxy import Proxy, Streams, listening

ROOT = Path(__file__).parents[2]


class Api:
    """`python -m deploy.serve` on a socket that goes on listening while the process is dead.

    words: how it is run, before the name of the module.
    """

    def __init__(self, settings: Settings, folder: Path, *words: str) -> None:
        self._settings = settings
        self._folder = folder
        self._words = words
        self._listening = address.listen("127.0.0.1", 0)
        self._process: subprocess.Popen[bytes] | None = None
        self.url = address.url(self._listening)
        self.port = int(self._listening.getsockname()[1])

    async def start(self) -> None:
        """Start it and wait until it serves."""
        doorway, log = Doorway(self._folder / f"{self.port}.ready"), self._folder / f"{self.port}.log"
        self._process = self._run(log, doorway.environ)
        await until(doorway.ready, log.read_text)

    def _run(self, log: Path, environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
        descriptor = self._listening.fileno()
        with log.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", *self._words, "deploy.serve", "--fd", str(descriptor)],
                env=environ_of(self._settings) | environ,
                cwd=ROOT,
                stdout=output,
                stderr=output,
                pass_fds=(descriptor,),
                start_new_session=True,
            )

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    async def kill(self) -> None:
        """Kill -9."""
        self.send(signal.SIGKILL)
        assert self._process is not None
        await asyncio.to_thread(self._process.wait)

    async def end(self) -> None:
        """End it for good."""
        await self.kill()
        self._listening.close()


@asynccontextmanager
async def two_apis(settings: Settings, folder: Path, *words: str) -> AsyncIterator[tuple[Api, Api]]:
    """Two that serve, each on an address of its own."""
    apis = Api(settings, folder, *words), Api(settings, folder, *words)
    try:
        await asyncio.gather(*(api.start() for api in apis))
        yield apis
    finally:
        await asyncio.gather(*(api.end() for api in apis))


@asynccontextmanager
async def gateway(apis: Sequence[Api], dice: Random) -> AsyncIterator[Proxy]:
    """One address for all of them: connections go to one and the other in turn."""
    turns = cycle(apis)

    async def connect() -> Streams:
        return await asyncio.open_connection("127.0.0.1", next(turns).port)

    proxy = Proxy(connect, dice, late_seconds=0)
    async with listening(proxy):
        yield proxy


async def api_key(crew: Crew) -> str:
    """Return a key of the crew's tenant."""
    async with crew.database.fleet() as fleet:
        return (await fleet.tenants.create_key(crew.tenant, "faults", Role.ADMIN)).secret


async def submitting(crew: Crew, client: AsyncClient, asked: list[str]) -> Submit:
    """Return what submits a small portfolio through the API; `asked` has the key of each request that was made."""
    problem = await client.example("deal-picker")

    async def submit() -> list[UUID]:
        key = str(uuid4())
        asked.append(key)
        job = await client.submit("deal-picker", problem, idempotency_key=key)
        crew.accepted.append(job.id)
        return [job.id]

    return submit
