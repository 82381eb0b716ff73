"""The app: every route, one guard, one way to answer errors."""

import re

from litestar import Litestar
from litestar.config.cors import CORSConfig
from litestar.datastructures import State

from api import (
    api_keys,
    audit,
    batches,
    compare,
    docs,
    events,
    exports,
    files,
    frontier,
    health,
    jobs,
    kinds,
    payloads,
    schedules,
    subjects,
    tenants,
    webhook_deliveries,
    webhooks,
    what_if,
    why_not,
)
from api.answer_headers import AnswerHeaders
from api.auth import authorize, declared_routes
from api.head import HeadToo
from api.in_flight import InFlight
from api.limits import tell_limits
from api.metrics import Metrics
from api.problem_details import answer_error
from api.request_id import HEADER, stamp
from api.services import run_services
from api.tables import Templates
from api.tokens import Tokens
from api.trails import keep_trail
from milpa.errors import UsageError
from milpa.settings import Settings

_ROUTES = [
    *kinds.ROUTES,
    *jobs.ROUTES,
    *payloads.ROUTES,
    *events.ROUTES,
    *files.ROUTES,
    *batches.ROUTES,
    *schedules.ROUTES,
    *webhooks.ROUTES,
    *webhook_deliveries.ROUTES,
    *what_if.ROUTES,
    *why_not.ROUTES,
    *compare.ROUTES,
    *frontier.ROUTES,
    *tenants.ROUTES,
    *audit.ROUTES,
    *exports.ROUTES,
    *subjects.ROUTES,
    *api_keys.ROUTES,
    *health.ROUTES,
    *docs.ROUTES,
]
_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:\d{1,5})?|https?://\[[0-9a-f:]+\](:\d{1,5})?")
_ASKED = [
    HEADER,
    "Authorization",
    "Content-Encoding",
    "Content-Type",
    "Idempotency-Key",
    "If-None-Match",
    "Last-Event-ID",
    "Prefer",
]
_EXPOSED = [
    HEADER,
    "Location",
    "Link",
    "ETag",
    "Retry-After",
    "Idempotency-Replayed",
    "Preference-Applied",
    "RateLimit-Policy",
    "RateLimit",
]


def create_app(settings: Settings) -> Litestar:
    """Return the API; PostgreSQL and Redis are not asked for before it starts.

    UsageError (`bad_setting`): tokens could be forged under these settings. FatalError (`undeclared_route`): a route
    says nothing of who may.
    """
    metrics, in_flight = Metrics(), InFlight(settings)
    state = State(
        {
            "settings": settings,
            "metrics": metrics,
            "in_flight": in_flight,
            "tokens": Tokens(settings),
            "templates": Templates(),
        }
    )
    app = HeadToo(
        route_handlers=[*_ROUTES, *(health.METRICS_ROUTES if settings.metrics else [])],
        guards=[authorize],
        middleware=[in_flight],
        exception_handlers={Exception: answer_error},
        before_send=[stamp, tell_limits, AnswerHeaders(settings).add, metrics.observe, keep_trail],
        lifespan=[run_services],
        state=state,
        cors_config=_cors(settings),
        openapi_config=None,
        logging_config=None,
        debug=False,
    )
    declared_routes(app)
    return app


def _cors(settings: Settings) -> CORSConfig | None:
    if not settings.cors_origins:
        return None
    for origin in settings.cors_origins:
        if not _ORIGIN.fullmatch(origin):
            raise UsageError("bad_setting", f"MILPA_CORS_ORIGINS: {origin!r} is not of the form https://host or :port.")
    return CORSConfig(
        allow_origins=list(settings.cors_origins),
        allow_methods=["DELETE", "GET", "PATCH", "POST"],
        allow_headers=_ASKED,
        expose_headers=_EXPOSED,
    )
