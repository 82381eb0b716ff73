"""The API as a process: `milpa api`, and the API part of `milpa up`."""

import argparse
import gc
import socket
from ipaddress import ip_network

import uvicorn
from litestar import Litestar

from api.main import create_app
from deploy.patient_protocol import patient_protocol
from milpa.errors import UsageError
from milpa.logging import configure
from milpa.readiness import say_ready
from milpa.settings import Settings

DRAIN_SECONDS = 5
"""How long requests may take to finish once the process was asked to end; streams are cut then and resume elsewhere."""
_COLLECT_AFTER = 100_000, 20, 20
"""Allocations before the youngest are walked, and how many walks of one generation come before one of the next."""


def serve(settings: Settings, listening: socket.socket | None = None) -> None:
    """Serve until SIGTERM or SIGINT, on a socket that already listens or on the host and port of the settings."""
    configure(settings.log_level, json=settings.log_format == "json")
    server = _Server(server_config(create_app(settings), settings))
    server.run(sockets=[listening] if listening else None)


class _Server(uvicorn.Server):
    """Says when it serves: of several on one socket, asking the socket tells nothing about this one."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            _collect_rarely()
            say_ready()


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
