"""The API as a process: `milpa api`, and the API part of `milpa up`."""

import argparse
import asyncio
import gc
import socket
import sys
from contextlib import AsyncExitStack
from ipaddress import ip_network

import structlog
import uvicorn
from litestar import Litestar

from api.main import create_app
from api.services import run_services
from deploy.local.address import listen
from deploy.patient_protocol import patient_protocol
from milpa.ending import leave
from milpa.errors import MilpaError, TransientError, UsageError
from milpa.logging import configure
from milpa.readiness import say_ready
from milpa.settings import Settings

DRAIN_SECONDS = 5
"""How long requests may take to finish once the process was asked to end; streams are cut then and resume elsewhere."""
RETRY_SECONDS = 1.0
"""The pause before PostgreSQL is asked again at start-up."""
_COLLECT_AFTER = 100_000, 20, 20
"""Allocations before the youngest are walked, and how many walks of one generation come before one of the next."""

log = structlog.get_logger(__name__)


def serve(settings: Settings, listening: socket.socket | None = None) -> None:
    """Serve until SIGTERM or SIGINT, on a socket that already listens or on the host and port of the settings.

    What it can't start for is logged, and the exit code is that of `milpa --help`.
    """
    configure(settings.log_level, json=settings.log_format == "json")
    try:
        server = _Server(create_app(settings), settings)
        server.run(sockets=[listening] if listening else None)
    except KeyboardInterrupt:  # so uvicorn returns from SIGINT, once all is closed
        leave()
    except MilpaError as error:
        log.error("api_cannot_start", code=error.code, reason=error.message)  # noqa: TRY400  the message says it all
        sys.exit(error.exit_code)


class _Server(uvicorn.Server):
    """Opens and closes the app's services itself: what breaks in a lifespan comes out as a text, or in a group."""

    def __init__(self, app: Litestar, settings: Settings) -> None:
        super().__init__(server_config(app, settings))
        self._app = app
        self._services = AsyncExitStack()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen once PostgreSQL is there, and say so: of several on one socket, asking it tells nothing about one."""
        async with AsyncExitStack() as services:
            await self._open(services)
            if self.should_exit:
                return
            await super().startup(sockets or [listen(self.config.host, self.config.port)])
            self._services = services.pop_all()
        _collect_rarely()
        say_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        await self._services.aclose()

    async def _open(self, services: AsyncExitStack) -> None:
        while not self.should_exit:
            try:
                await services.enter_async_context(run_services(self._app))
                break
            except TransientError as error:
                log.warning("database_away", code=error.code)
                await asyncio.sleep(RETRY_SECONDS)


def _collect_rarely() -> None:
    """Leave what is there for good to itself, and walk what comes more rarely.

    With thousands of streams open a full walk of Python's garbage collector stops all of them for half a second.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)


def server_config(app: Litestar, settings: Settings) -> uvicorn.Config:
    """Return how uvicorn is to serve the app. UsageError: `trusted_proxies` names what is no address."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        http=patient_protocol(settings),
        ws="none",
        lifespan="off",
        timeout_keep_alive=settings.keep_alive_seconds,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=[_checked(proxy) for proxy in settings.trusted_proxies],
    )


def _checked(proxy: str) -> str:
    try:
        return str(ip_network(proxy))
    except ValueError as error:
        raise UsageError("bad_setting", f"MILPA_TRUSTED_PROXIES: {error}") from None


def main() -> None:
    """Serve with the settings of the environment; `--fd N` hands over a socket that already listens."""
    parser = argparse.ArgumentParser(prog="python -m deploy.serve")
    parser.add_argument("--fd", type=int)
    descriptor = parser.parse_args().fd
    serve(Settings.from_env(), socket.socket(fileno=descriptor) if descriptor is not None else None)


if __name__ == "__main__":
    main()
