"""Telling whoever started a process that it serves: the protocol of systemd's sd_notify."""

import contextlib
import os
import socket


def say_ready() -> None:
    """Send `READY=1` to the socket named in `NOTIFY_SOCKET`; without one, or nobody there, do nothing."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line, contextlib.suppress(OSError):
        line.sendto(b"READY=1", "\0" + address[1:] if address.startswith("@") else address)
