"""How a part says that it is ready: the protocol of systemd's sd_notify, so that it works there too.

The part sends `READY=1` to the datagram socket named in `NOTIFY_SOCKET`.
"""

import socket
from pathlib import Path


class Doorway:
    """The socket on which one part reports."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(str(path))
        self.environ = {"NOTIFY_SOCKET": str(path)}

    def ready(self) -> bool:
        """Tell whether the part has reported since this was asked last."""
        try:
            return b"READY=1" in self._socket.recv(4096)
        except BlockingIOError:
            return False
