"""The address of the API: its socket listens before anything starts, and goes on listening while the API restarts."""

import errno
import socket

from milpa.errors import UsageError


def listen(host: str, port: int) -> socket.socket:
    """Listen on the address; port 0 takes a free one. UsageError `port_taken`, `bad_address`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(2048)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise UsageError(
                "port_taken", f"Port {port} on {host} is taken: free it, or let --port 0 (MILPA_PORT=0) pick one."
            ) from None
        raise UsageError("bad_address", f"Can't listen on {host}:{port}: {error.strerror or error}.") from None
    return listening


def url(listening: socket.socket) -> str:
    """Return where a browser on this machine finds it."""
    host, port = listening.getsockname()[:2]
    reachable = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{reachable}:{port}"
