"""`milpa rotate-keys`: a new first key on the ring, and everything sealed anew under it, while Milpa works."""

import fcntl
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from deploy.local.secrets import write_private
from milpa.errors import UsageError
from milpa.settings import Settings
from storage.resealing import PLACES
from storage.seal import new_key, read_keys
from storage.transaction import Database

Tell = Callable[[int, int], None]
"""Hears how many rows are done, and how many there are in all."""

_MOST_PASSES = 20


class Ring(msgspec.Struct, frozen=True, kw_only=True):
    """The ring as it stands. file: where it is kept; None: in MILPA_SEAL_KEYS. keys: `id:base64key` each, in order."""

    file: Path | None
    keys: list[str]

    @property
    def ids(self) -> list[str]:
        """The ids of the keys, the one that seals first."""
        return [key.partition(":")[0] for key in self.keys]

    def write(self) -> None:
        """Keep it: every process takes it up by itself before it seals or opens the next thing."""
        if self.file is not None:
            write_private(self.file, "".join(f"{key}\n" for key in self.keys).encode())


def ring_of(settings: Settings) -> Ring:
    """Return the ring of the settings. FatalError: a key on it is not of that form."""
    file = Path(settings.seal_keys_file) if settings.seal_keys_file else None
    text = file.read_text() if file else settings.seal_keys.reveal()
    keys = [part.strip() for part in text.replace("\n", ",").split(",") if part.strip()]
    read_keys(text)
    return Ring(file=file, keys=keys)


def with_new_key(ring: Ring) -> Ring:
    """Return the ring with a fresh key in front."""
    key_id = f"{datetime.now(UTC):%Y-%m-%d}-{secrets.token_hex(2)}"
    return msgspec.structs.replace(ring, keys=[new_key(key_id), *ring.keys])


async def rotate(settings: Settings, tell: Tell) -> Ring:
    """Seal everything under the first key; returns the ring, whose other keys are needed no more.

    A ring in a file gets a new first key, unless an earlier rotation was cut short: then that one goes on. UsageError
    (`one_key`): a ring in MILPA_SEAL_KEYS has no second key to seal under. (`rotation_under_way`): another is at it.
    """
    with _alone(settings):
        return await _rotate(settings, tell)


async def _rotate(settings: Settings, tell: Tell) -> Ring:
    ring = ring_of(settings)
    if ring.file is None and len(ring.keys) == 1:
        raise UsageError("one_key", "MILPA_SEAL_KEYS has one key only.")
    async with opened(settings) as database:
        if ring.file is not None and not await _under_way(database, ring):
            ring = with_new_key(ring)
            ring.write()
        await _reseal(database, tell)
    return ring


async def _under_way(database: Database, ring: Ring) -> bool:
    return len(ring.keys) > 1 and await left(database) > 0


async def forget_old(settings: Settings) -> Ring:
    """Return the ring without its old keys, and keep it so where it is in a file.

    UsageError (`keys_in_use`): something is still sealed under one of them. (`rotation_under_way`): wait for it.
    """
    with _alone(settings):
        return await _forget_old(settings)


async def _forget_old(settings: Settings) -> Ring:
    ring = ring_of(settings)
    async with opened(settings) as database:
        if rows := await left(database):
            reason = f"{rows:,} rows are still sealed under other keys than {ring.ids[0]!r}; rotate first."
            raise UsageError("keys_in_use", reason)
    ring = msgspec.structs.replace(ring, keys=ring.keys[:1])
    ring.write()
    return ring


async def left(database: Database) -> int:
    """Return how many rows of all tenants are sealed under another key than the first."""
    async with database.fleet() as fleet:
        tenants = await fleet.tenants.ids()
    total = 0
    for tenant in tenants:
        async with database.transaction(tenant) as transaction:
            total += await transaction.resealing.left()
    return total


async def _reseal(database: Database, tell: Tell) -> None:
    """Pass over everything until nothing is left: what was under way with an older key may have come in behind."""
    done, total = 0, await left(database)
    for _ in range(_MOST_PASSES):
        tell(done, max(done, total))
        async with database.fleet() as fleet:
            tenants = await fleet.tenants.ids()
        for tenant in tenants:
            for place in PLACES:
                after = None
                while True:
                    async with database.transaction(tenant) as transaction:
                        bite = await transaction.resealing.bite(place, after)
                    if bite.after is None:
                        break
                    after, done = bite.after, done + bite.rows
                    tell(done, max(done, total))
        if not await left(database):
            return
    raise UsageError("keys_in_use", "Something keeps sealing under an old key: does every process have the new ring?")


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Let nobody else change the ring's file meanwhile: a key that was lost there would be lost for ever."""
    if not settings.seal_keys_file:
        yield
        return
    with Path(f"{settings.seal_keys_file}.lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError("rotation_under_way", "The keys are being rotated already.") from None
        yield


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Database]:
    """Open the database for an operator's command."""
    database = await Database.connect(settings)
    try:
        yield database
    finally:
        await database.close()
