"""Run a module as a program that gets stuck: `python -m tests.faults.stuck workers.main …`.

Names below `.hangs.example` are looked up for ever, and every entry of a zip takes a while. It says when that begins.
"""

import runpy
import socket
import sys
import threading
import time
import zipfile
from typing import Any

HANGING, PACKING = "a lookup hangs", "an entry is packed"
ENTRY_SECONDS = 0.5

_look_up, _pack = socket.getaddrinfo, zipfile.ZipFile.writestr


def _hang(host: str, *arguments: Any, **more: Any) -> Any:
    if host.endswith(".hangs.example"):
        print(HANGING, flush=True)
        threading.Event().wait()
    return _look_up(host, *arguments, **more)


def _take_time(archive: zipfile.ZipFile, *arguments: Any) -> None:
    print(PACKING, flush=True)
    with archive.open("slow", "w") as entry:
        entry.write(b"half")
        time.sleep(ENTRY_SECONDS)
    _pack(archive, *arguments)


def main() -> None:
    """Let it get stuck, and run the program."""
    module, *arguments = sys.argv[1:]
    socket.getaddrinfo = _hang  # type: ignore[assignment]
    zipfile.ZipFile.writestr = _take_time  # type: ignore[method-assign, assignment]
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
