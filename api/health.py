"""Is it alive, is it ready, how does it do."""

import asyncio
from typing import Literal

import msgspec
from litestar import Response, get
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from redis.exceptions import RedisError

from api.bodies import AnyRequest, answer
from api.metrics import Metrics
from api.operations import Answer, Operation
from api.principal import Permission
from api.services import Services, services_of

_REDIS_SECONDS = 1.0
_FIGURES = CONTENT_TYPE_LATEST.removesuffix("; charset=utf-8")
"""Litestar says the charset itself."""


class Health(msgspec.Struct, frozen=True, omit_defaults=True):
    """status: `ok` or a problem. redis: away means slower news, never a lost job."""

    status: Literal["ok"]
    redis: Literal["ok", "away"] | None = None


@get(
    "/health/live",
    requires=Permission.PUBLIC,
    operation=Operation(tag="Service", answers={200: Answer("It runs.", Health)}),
    sync_to_thread=False,
)
def live() -> Response[bytes]:
    """Tell that the process answers."""
    return answer(Health("ok"))


@get(
    "/health/ready",
    requires=Permission.PUBLIC,
    operation=Operation(tag="Service", answers={200: Answer("It can take work.", Health)}, problems=(503,)),
)
async def ready(request: AnyRequest) -> Response[bytes]:
    """Tell whether work can be taken: PostgreSQL answers."""
    services = services_of(request)
    await services.database.ping()
    return answer(Health("ok", await _redis(services)))


async def _redis(services: Services) -> Literal["ok", "away"]:
    try:
        async with asyncio.timeout(_REDIS_SECONDS):
            await services.redis.ping()
    except (RedisError, OSError, TimeoutError):
        return "away"
    return "ok"


@get("/metrics", requires=Permission.PUBLIC, operation=None, sync_to_thread=False)
def show_metrics(request: AnyRequest) -> Response[bytes]:
    """Show the figures of this process to Prometheus."""
    metrics: Metrics = request.app.state.metrics
    metrics.streams.set(services_of(request).hub.streams)
    return Response(generate_latest(metrics.registry), media_type=_FIGURES)


ROUTES = [live, ready]
METRICS_ROUTES = [show_metrics]
