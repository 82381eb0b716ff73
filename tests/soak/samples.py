"""What is looked at again and again while the load runs: memory, descriptors, tables, Redis, objects, logs."""

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import asyncpg
import msgspec
import psutil
from redis.asyncio import Redis

from deploy.local.folders import DataDir
from deploy.local.processes import orphans
from deploy.local.servers import Servers
from storage.tables import metadata

MODULES = {"deploy.serve": "API", "workers.main": "workers", "workers.compute": "solver processes"}
POSTGRESQL = "PostgreSQL"
BUFFERS = "shared memory of PostgreSQL"
"""Grows up to `shared_buffers`, with every page of a table that is touched for the first time."""
KEPT = ("job_subjects", "jobs", "job_events", "batches", "audit_log")
"""Tables that keep something of every job, or of every request, on purpose."""

_SIZES = "SELECT relname, pg_total_relation_size(oid) FROM pg_class WHERE relname = ANY ($1) AND relkind IN ('r', 'p') ORDER BY 1"


class Sample(msgspec.Struct, frozen=True):
    """All figures at one moment. seconds: since the first sample; ended: jobs so far."""

    seconds: float
    ended: int
    figures: dict[str, float]


class Sampler:
    """Looks at one running stack."""

    def __init__(self, folders: DataDir) -> None:
        self._folders = folders
        self._servers = Servers(folders)
        self._began = time.monotonic()

    async def sample(self) -> Sample:
        """Look once."""
        tables, ended = await self._tables()
        figures = {**self._processes(), **tables, **await self._redis(), **self._disk()}
        return Sample(time.monotonic() - self._began, ended, figures)

    def _processes(self) -> dict[str, float]:
        memory: Counter[str] = Counter()
        open_files: Counter[str] = Counter()
        for process in orphans(self._folders.root, self._servers.folder_names):
            try:
                words, used, count = process.cmdline(), process.memory_full_info(), process.num_fds()
            except psutil.Error:
                continue  # ended meanwhile
            if not words:
                continue  # ended, and not yet reaped
            part = _part(words)
            if part == POSTGRESQL:
                memory[f"memory of {part}, MiB"] += used.uss / 2**20
                memory[f"{BUFFERS}, MiB"] += (used.pss - used.uss) / 2**20
            else:
                memory[f"memory of {part}, MiB"] += used.pss / 2**20
            open_files[f"descriptors of {part}"] += count
        return {**memory, **open_files}

    async def _tables(self) -> tuple[dict[str, float], int]:
        connection = await asyncpg.connect(self._servers.postgres.owner_url)
        try:
            sizes = dict(await connection.fetch(_SIZES, list(metadata.tables)))
            ended = await connection.fetchval("SELECT count(*) FROM jobs WHERE finished_at IS NOT NULL")
            rows = {name: await connection.fetchval(f"SELECT count(*) FROM {name}") for name in sizes}  # noqa: S608  our own names
        finally:
            await connection.close()
        figures = {f"rows of {name}": float(count) for name, count in rows.items()}
        return figures | {f"size of {name}, MiB": size / 2**20 for name, size in sizes.items()}, ended

    async def _redis(self) -> dict[str, float]:
        redis = Redis.from_url(self._servers.redis.url)
        try:
            used = (await redis.info("memory"))["used_memory"]
            return {"Redis, MiB": used / 2**20, "Redis keys": float(await redis.dbsize())}
        finally:
            await redis.aclose()

    def _disk(self) -> dict[str, float]:
        return {
            "objects": float(sum(1 for _ in below(self._folders.objects))),
            "logs, MiB": sum(_size(path) for path in below(self._folders.logs)) / 2**20,
        }


def _part(words: Sequence[str]) -> str:
    for module, part in MODULES.items():
        if module in words:
            return part
    return "Redis" if "redis-server" in words[0] else POSTGRESQL


def below(folder: Path) -> Iterator[Path]:
    """Everything below a folder, though it is removed meanwhile; empty folders count, for they must not pile up either."""
    for at, folders, files in os.walk(folder):
        yield from (Path(at, name) for name in (*folders, *files))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # a log that was turned over
        return 0
