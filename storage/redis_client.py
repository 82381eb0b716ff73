"""How every part talks to Redis: one that hangs is taken for one that is away."""

from typing import TypeVar

from redis.asyncio import Redis

from milpa.errors import UsageError
from milpa.settings import Settings

REDIS_SECONDS = 5.0
"""How long an answer, or a connection, may take."""

AnyRedis = TypeVar("AnyRedis", bound=Redis)


def redis_client(settings: Settings, kind: type[AnyRedis]) -> AnyRedis:
    """Return a client that has asked for nothing yet. kind: `Redis`, or ARQ's.

    UsageError (`bad_setting`): no address of a Redis is set.
    """
    address = settings.redis_url.reveal()
    try:
        client: AnyRedis = kind.from_url(address, socket_timeout=REDIS_SECONDS, socket_connect_timeout=REDIS_SECONDS)
    except ValueError:  # its text quotes the address, and so the password
        said = "is no address of a Redis" if address else "is not set"
        raise UsageError("bad_setting", f"MILPA_REDIS_URL {said}; it looks like redis://host:6379") from None
    return client
