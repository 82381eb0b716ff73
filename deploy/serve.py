"""The API as a process: `milpa api`, and the API part of `milpa up`."""

import argparse
import socket

import uvicorn

from api.main import create_app
from milpa.logging import configure
from milpa.settings import Settings

DRAIN_SECONDS = 5
"""How long requests may take to finish once the process was asked to end; streams are cut then and resume elsewhere."""


def serve(settings: Settings, listening: socket.socket | None = None) -> None:
    """Serve until SIGTERM or SIGINT, on a socket that already listens or on the host and port of the settings."""
    configure(settings.log_level, json=settings.log_format == "json")
    config = uvicorn.Config(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    uvicorn.Server(config).run(sockets=[listening] if listening else None)


def main() -> None:
    """Serve with the settings of the environment; `--fd N` hands over a socket that already listens."""
    parser = argparse.ArgumentParser(prog="python -m deploy.serve")
    parser.add_argument("--fd", type=int)
    descriptor = parser.parse_args().fd
    serve(Settings.from_env(), socket.socket(fileno=descriptor) if descriptor is not None else None)


if __name__ == "__main__":
    main()
