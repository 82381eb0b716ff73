"""Wake-ups through Redis: ids, never data. Hints are best effort; a poll stands behind each of them."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable
from typing import Final

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from milpa.ending import end

EVENTS: Final = "milpa:events"
"""Carries `tenant:job:seq:closed`: the job's log has grown up to seq; closed is 1 when the job has ended, else 0."""
ADMIT: Final = "milpa:admit"
"""Some job waits to be rung."""
DELIVER: Final = "milpa:deliver"
"""There may be webhooks to deliver."""
CONTROL: Final = "milpa:control"
"""Carries `job`: stop or cancel was asked; its worker heartbeats at once."""

Listener = Callable[[str], None]

_AWAY = (RedisError, OSError, asyncio.TimeoutError)
_RETRY_SECONDS = 0.5
_WAIT_SECONDS = 1.0
"""How long a listener waits to be subscribed; with Redis away it is when Redis is back."""
_SILENCE_SECONDS = 1.0
"""After so long without a message Redis is asked whether it is there, and has as long to answer."""
_BACKLOG = 10_000
"""Hints kept while Redis is slow; older ones are dropped, as hints may be."""

log = structlog.get_logger()


class Signals:
    """Publishes and listens, over one subscription per process. Redis away never raises to the caller."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._listeners: defaultdict[str, list[Listener]] = defaultdict(list)
        self._pending: list[tuple[str, str]] = []
        self._flushing: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._pubsub: PubSub | None = None
        self._connected = asyncio.Event()
        self._subscribed: set[str] = set()

    def publish(self, channel: str, message: str) -> None:
        """Send a hint soon, together with those that wait; never blocks and never raises."""
        self._pending.append((channel, message))
        del self._pending[:-_BACKLOG]
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().create_task(self._flush())

    async def _flush(self) -> None:
        try:
            while self._pending:
                batch, self._pending = self._pending, []
                pipe = self._redis.pipeline(transaction=False)
                for channel, message in dict.fromkeys(batch):
                    pipe.publish(channel, message)
                await pipe.execute()
        except _AWAY as error:
            log.warning("signals_dropped", error=type(error).__name__)
        finally:
            self._flushing = None

    async def listen(self, channel: str, listener: Listener) -> Callable[[], None]:
        """Call `listener` with each message of the channel from now on; returns the call that ends it.

        Listeners run in the event loop and must not block. What is published while Redis is away is lost.
        """
        self._listeners[channel].append(listener)
        if self._reading is None:
            self._reading = asyncio.get_running_loop().create_task(self._read())
        with contextlib.suppress(*_AWAY):
            async with asyncio.timeout(_WAIT_SECONDS):
                await self._subscribe_all()
        return lambda: self._listeners[channel].remove(listener)

    async def _subscribe_all(self) -> None:
        await self._connected.wait()
        new = self._listeners.keys() - self._subscribed
        if new and self._pubsub is not None:
            self._subscribed |= new
            await self._pubsub.subscribe(*new)

    async def _read(self) -> None:
        while True:
            self._pubsub = pubsub = self._redis.pubsub()
            self._subscribed = set()
            try:
                await pubsub.connect()  # type: ignore[no-untyped-call]
                self._connected.set()
                await self._subscribe_all()
                await self._hear(pubsub)
            except _AWAY as error:
                log.warning("signals_reconnecting", error=type(error).__name__)
            except Exception:
                log.exception("signals_broke")
            finally:
                self._connected.clear()
                with contextlib.suppress(*_AWAY):
                    await pubsub.aclose()  # type: ignore[no-untyped-call]
            await asyncio.sleep(_RETRY_SECONDS)

    async def _hear(self, pubsub: PubSub) -> None:
        """Tell the listeners what comes. TimeoutError: Redis says nothing, not even when it is asked."""
        asked = False
        while True:
            message = await pubsub.get_message(timeout=_SILENCE_SECONDS)
            if message is None and asked:
                raise TimeoutError
            asked = message is None
            if message is None:
                await pubsub.ping()
            elif message["type"] == "message":
                self._tell(message["channel"], message["data"])

    def _tell(self, channel: bytes | str, data: bytes | str) -> None:
        text = data.decode() if isinstance(data, bytes) else data
        name = channel.decode() if isinstance(channel, bytes) else channel
        for listener in tuple(self._listeners[name]):
            try:
                listener(text)
            except Exception:
                log.exception("listener_broke")  # the others hear all the same

    async def close(self) -> None:
        """Send what waits, and end the subscription."""
        if self._flushing is not None:
            await self._flushing
        if self._reading is not None:
            await end(self._reading)
