"""What the database of a local stack needs before anyone is served: the schema, the local tenant, an admin key.

A process of its own (`python -m deploy.local.prepare KEY_FILE`), so that `milpa up` stays small.
"""

import asyncio
import sys
from pathlib import Path

from deploy.local.secrets import write_private
from milpa.settings import Settings
from storage.migrate import migrate
from storage.transaction import Database


def prepare(settings: Settings, key_file: Path) -> None:
    """Migrate, make the local tenant when there is none, and an admin key unless the one in `key_file` is good."""
    known = key_file.read_text().strip() if key_file.exists() else None
    key = asyncio.run(_prepare(settings, known))
    if key != known:
        write_private(key_file, f"{key}\n".encode())


async def _prepare(settings: Settings, known_key: str | None) -> str:
    await migrate(settings)
    database = await Database.connect(settings)
    try:
        async with database.fleet() as fleet:
            _, key = await fleet.tenants.ensure_local(known_key)
            return key
    finally:
        await database.close()


if __name__ == "__main__":
    prepare(Settings.from_env(), Path(sys.argv[1]))
