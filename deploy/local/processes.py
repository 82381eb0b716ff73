"""Child processes of the embedded stack: each in its own session, logging to a file, dying with its parent."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import psutil

from deploy.local.accounts import Account, become, die_with_parent
from milpa.bare_environment import OWNER_MARK
from milpa.errors import FatalError


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One process of the stack and how to treat it.

    stop_signal: asks it to end; stop_seconds: until SIGKILL. death_signal: what the kernel sends it when we die
    without a word. ready: whether it serves by now. pass_fds: descriptors it inherits.
    """

    name: str
    command: list[str]
    log: Path
    ready: Callable[[], bool]
    environ: Mapping[str, str] = {}
    account: Account | None = None
    stop_signal: int = signal.SIGTERM
    stop_seconds: float = 10.0
    death_signal: int = signal.SIGKILL
    pass_fds: tuple[int, ...] = ()


def start(part: Part) -> subprocess.Popen[bytes]:
    """Start the part; its output is appended to its log. Its own session keeps the terminal's Ctrl-C away from it."""

    def in_child() -> None:
        if part.account is not None:
            become(part.account)
        die_with_parent(part.death_signal)

    with part.log.open("ab") as log:
        return subprocess.Popen(
            part.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **part.environ},
            cwd="/" if part.account else None,
            start_new_session=True,
            preexec_fn=in_child,  # noqa: PLW1509 - the supervisor has one thread, so nothing can hold a lock here
            pass_fds=part.pass_fds,
        )


def wait_ready(part: Part, process: subprocess.Popen[bytes], seconds: float = 60.0) -> None:
    """Return once the part serves. FatalError, with the end of its log: it ended or took too long."""
    deadline = time.monotonic() + seconds
    while not part.ready():
        if process.poll() is not None:
            raise FatalError("part_ended", f"{part.name} ended with {process.returncode}; {_end_of(part.log)}")
        if time.monotonic() > deadline:
            raise FatalError("part_not_ready", f"{part.name} was not ready in {seconds:g} s; {_end_of(part.log)}")
        time.sleep(0.01)


def stop(part: Part, process: subprocess.Popen[bytes]) -> None:
    """Ask the part to end; kill it when it doesn't in time."""
    ask(process, part.stop_signal)
    wait_ended(part, process)


def ask(process: subprocess.Popen[bytes], signal_number: int) -> None:
    """Send a signal to the process, if it still runs."""
    if process.poll() is None:
        process.send_signal(signal_number)


def wait_ended(part: Part, process: subprocess.Popen[bytes]) -> None:
    """Return once a part that was asked to end has ended; kill it when it doesn't in time."""
    try:
        process.wait(part.stop_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _end_of(log: Path) -> str:
    return f"the end of {log}:\n{log_end(log)}"


def log_end(log: Path, lines: int = 12) -> str:
    """Return the last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def keep_small(log: Path, limit: int) -> None:
    """Set aside what a log says as `….log.1`, in place of what was there, once it is larger than `limit` bytes.

    Its part goes on writing to the same file, from the beginning; a line written in this very moment may be lost.
    """
    if log.exists() and log.stat().st_size > limit:
        shutil.copyfile(log, log.with_name(f"{log.name}.1"))
        os.truncate(log, 0)


def orphans(data_dir: Path, server_folders: frozenset[str]) -> list[psutil.Process]:
    """Return what an earlier, killed supervisor of this data directory left running.

    API, workers and solver processes carry the mark in their environment; PostgreSQL and Redis run as another account
    when we are root, whose environment may be hidden from us, so they are known by the folder in their arguments.
    """
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if process.pid != os.getpid() and (_serves(process, server_folders) or _marked(process, data_dir))
    ]


def end(processes: list[psutil.Process], signal_number: int, seconds: float) -> None:
    """Signal the processes, wait, and kill those that are left."""
    for number, patience in ((signal_number, seconds), (signal.SIGKILL, seconds)):
        for process in processes:
            _signal(process, number)
        deadline = time.monotonic() + patience
        while processes and time.monotonic() < deadline:
            time.sleep(0.01)
            processes = [process for process in processes if alive(process)]


def alive(process: psutil.Process) -> bool:
    """Tell whether the process runs. In a container whose init reaps nothing, the dead stay listed as zombies."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _serves(process: psutil.Process, folders: frozenset[str]) -> bool:
    info: dict[str, list[str] | None] = process.info
    program, *arguments = info["cmdline"] or [""]
    if program.startswith("postgres: "):
        return _folder(process) in folders
    return Path(program).name in {"postgres", "redis-server"} and not folders.isdisjoint(arguments)


def _folder(process: psutil.Process) -> str:
    """Return where the process runs: the sessions of a PostgreSQL name nothing else of theirs."""
    try:
        return process.cwd()
    except (psutil.Error, OSError):
        return ""


def _marked(process: psutil.Process, data_dir: Path) -> bool:
    try:
        return process.environ().get(OWNER_MARK) == str(data_dir)
    except (psutil.Error, OSError):
        return False


def _signal(process: psutil.Process, signal_number: int) -> None:
    try:
        process.send_signal(signal_number)
    except psutil.NoSuchProcess:
        return
