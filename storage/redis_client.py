"""A client of the Redis that the settings name."""

from typing import Any, TypeVar

from redis.asyncio import Redis

from milpa.errors import UsageError
from milpa.settings import Settings

AnyRedis = TypeVar("AnyRedis", bound=Redis)


def redis_of(settings: Settings, client: type[AnyRedis], **more: Any) -> AnyRedis:
    """Return a client that has asked for nothing yet. UsageError (`bad_setting`): no address of a Redis is set."""
    address = settings.redis_url.reveal()
    try:
        made: AnyRedis = client.from_url(address, **more)
    except ValueError:  # its text quotes the address, and so the password
        said = "is no address of a Redis" if address else "is not set"
        raise UsageError("bad_setting", f"MILPA_REDIS_URL {said}; it looks like redis://host:6379") from None
    return made
