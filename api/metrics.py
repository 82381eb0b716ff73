"""Figures of this process for Prometheus. Labels are route templates, never ids."""

import time

from litestar.types import Message, Scope
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_STARTED = "started_monotonic"


class Metrics:
    """The registry of one app, and what it counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.requests = Counter(
            "milpa_requests", "Requests answered.", ["method", "route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "milpa_request_seconds",
            "From the request's head to the answer's.",
            ["method", "route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.streams = Gauge("milpa_streams", "Event streams that are open.", registry=self.registry)

    async def observe(self, message: Message, scope: Scope) -> None:
        """Count an answer as its head goes out."""
        if message["type"] != "http.response.start":
            return
        route = scope.get("path_template") or "none"
        method = str(scope.get("method"))
        self.requests.labels(method, route, message["status"]).inc()
        started = scope["state"].get(_STARTED)
        if started is not None:
            self.seconds.labels(method, route).observe(time.monotonic() - started)


def start_clock(scope: Scope) -> None:
    """Note when the request began."""
    scope["state"][_STARTED] = time.monotonic()
