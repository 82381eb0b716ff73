"""What the routes work with: opened when the app starts, closed when it ends."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import msgspec
from litestar import Litestar
from litestar.connection import ASGIConnection
from redis.asyncio import Redis

from api.event_hub import EventHub
from api.listeners import Listeners
from api.signing import Signer
from api.stream_places import StreamPlaces
from api.tenant_settings import TenantSettings
from milpa.settings import Settings
from storage.audit_buffer import AuditBuffer
from storage.dispatch import Dispatcher
from storage.limiter import Limiter
from storage.objects import ObjectStore
from storage.queue import Queue
from storage.redis_client import redis_client
from storage.transaction import Database


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of a running API."""

    settings: Settings
    redis: Redis
    database: Database
    objects: ObjectStore
    hub: EventHub
    listeners: Listeners
    audit: AuditBuffer
    cursors: Signer
    file_links: Signer
    export_links: Signer
    limiter: Limiter
    stream_places: StreamPlaces
    tenant_settings: TenantSettings


@asynccontextmanager
async def run_services(app: Litestar) -> AsyncIterator[None]:
    """Open every part, hand them to the routes, close them in reverse."""
    settings: Settings = app.state.settings
    async with AsyncExitStack() as stack:
        redis = redis_client(settings, Redis)
        stack.push_async_callback(redis.aclose)
        database = await Database.connect(settings, redis)
        stack.push_async_callback(database.close)
        dispatcher = Dispatcher(database, Queue(redis))
        stack.push_async_callback(dispatcher.close)
        audit = AuditBuffer(database)
        stack.push_async_callback(audit.close)
        hub = EventHub(database)
        stack.push_async_callback(hub.close)
        await hub.start()
        await stack.enter_async_context(app.state.tokens.running())
        limiter = Limiter(redis)
        stream_places = StreamPlaces(limiter)
        stack.push_async_callback(stream_places.close)
        signing_key = settings.signing_key.reveal()
        app.state.services = Services(
            settings=settings,
            redis=redis,
            database=database,
            objects=ObjectStore(settings),
            hub=hub,
            listeners=Listeners(),
            audit=audit,
            cursors=Signer(signing_key, "cursor"),
            file_links=Signer(signing_key, "file link"),
            export_links=Signer(signing_key, "export link"),
            limiter=limiter,
            stream_places=stream_places,
            tenant_settings=TenantSettings(database, settings),
        )
        yield


def services_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Services:
    """Return the parts that this request works with."""
    services: Services = connection.app.state.services
    return services


def settings_for(connection: ASGIConnection[Any, Any, Any, Any]) -> Settings:
    """Return the settings that hold for the tenant of the one who asks."""
    settings: Settings = connection.scope["state"]["settings"]
    return settings
