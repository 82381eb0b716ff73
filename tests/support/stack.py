"""A real PostgreSQL and a real Redis for tests, in a short folder that is removed afterwards."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local.folders import DataDir
from deploy.local.servers import Servers
from milpa.settings import NO_LIMITS, Secret, Settings
from tests.support.planted import WATCH

SEAL_KEYS = "test:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
SIGNING_KEY = "a signing key for tests, long enough to be one"


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A fresh folder with a path short enough for unix sockets."""
    folder = Path(tempfile.mkdtemp(prefix="milpa-test-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running_servers() -> Iterator[Servers]:
    """PostgreSQL and Redis, not migrated. A crash of the machine may lose the data: commits don't wait for the disk."""
    with temporary_folder() as folder:
        servers = Servers(DataDir(folder), durable=False)
        servers.start()
        try:
            yield servers
        finally:
            servers.stop()
            WATCH.look([servers.folders.logs])


def settings_of(servers: Servers) -> Settings:
    """Settings of API and workers that use these servers."""
    return Settings(
        data_dir=str(servers.folders.root),
        database_url=Secret(servers.postgres.app_url),
        database_owner_url=Secret(servers.postgres.owner_url),
        redis_url=Secret(servers.redis.url),
        object_store_url=servers.folders.objects.as_uri(),
        seal_keys=Secret(SEAL_KEYS),
        signing_key=Secret(SIGNING_KEY),
        **NO_LIMITS,
    )
