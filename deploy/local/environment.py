"""How the parts of a local stack, and the operator's commands beside it, find its servers and secrets."""

import os
from collections.abc import Mapping
from pathlib import Path

from deploy.local.folders import DataDir
from deploy.local.secrets import load_or_make
from deploy.local.servers import Servers
from milpa.errors import UsageError
from milpa.settings import NO_LIMITS, Settings


def environment(servers: Servers) -> Mapping[str, str]:
    """Return the `MILPA_*` variables of the stack over these servers."""
    folders = servers.folders
    secrets = load_or_make(folders)
    return {
        "MILPA_DATA_DIR": str(folders.root),
        "MILPA_DATABASE_URL": servers.postgres.app_url,
        "MILPA_DATABASE_OWNER_URL": servers.postgres.owner_url,
        "MILPA_REDIS_URL": servers.redis.url,
        "MILPA_OBJECT_STORE_URL": os.environ.get("MILPA_OBJECT_STORE_URL", folders.objects.as_uri()),
        "MILPA_SEAL_KEYS_FILE": str(folders.seal_keys),
        "MILPA_SIGNING_KEY": secrets.signing_key,
        **{name: os.environ.get(name, "0") for name in map(_variable, NO_LIMITS)},
    }


def _variable(setting: str) -> str:
    return f"MILPA_{setting.upper()}"


def settings_at_hand() -> Settings:
    """Return the settings of the environment or, where it names no database, of the `milpa up` in this folder.

    UsageError `no_database`: there is neither.
    """
    settings = Settings.from_env()
    if settings.database_url.reveal():
        return settings
    folders = DataDir(Path(settings.data_dir))
    if not folders.secrets.exists():
        raise UsageError(
            "no_database", f"There is no `milpa up` with its data in {folders.root}; or set MILPA_DATABASE_URL."
        )
    return Settings.from_env({**os.environ, **environment(Servers(folders))})
