"""`milpa check`: whether the promise is kept that no job is lost, none ends twice and everyone is told."""

import asyncio
import time

import msgspec
import psutil

from deploy.local.environment import settings_at_hand
from deploy.local.processes import alive
from milpa.settings import Settings
from storage.ledger import LedgerReport, check_ledger
from storage.objects import ObjectStore
from storage.transaction import Database

_SOLVER = ["-m", "workers.compute"]
_DYING_SECONDS = 1.0
"""How long a killed process may take to give back its memory."""


def check() -> LedgerReport:
    """Check the installation of the settings, else the `milpa up` in this folder; and the processes of this machine."""
    report = asyncio.run(_check(settings_at_hand()))
    return msgspec.structs.replace(report, orphan_solvers=len(orphan_solvers()))


async def _check(settings: Settings) -> LedgerReport:
    database = await Database.connect(settings)
    try:
        return await check_ledger(database, objects=ObjectStore(settings))
    finally:
        await database.close()


def orphan_solvers() -> list[psutil.Process]:
    """Return the solver processes on this machine that have outlived their worker by more than a moment."""
    found = [process for process in psutil.process_iter(["cmdline"]) if _outlived(process)]
    if found:
        time.sleep(_DYING_SECONDS)
    return [process for process in found if alive(process)]


def _outlived(process: psutil.Process) -> bool:
    words: list[str] = process.info["cmdline"] or []
    if not any(words[place : place + 2] == _SOLVER for place in range(len(words))) or "--parent" not in words:
        return False
    try:
        return not alive(psutil.Process(int(words[words.index("--parent") + 1])))
    except psutil.NoSuchProcess:
        return True
