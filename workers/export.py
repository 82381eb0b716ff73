"""Exports asked for become zips in the object store, one at a time in each worker, while everything else goes on."""

import asyncio
from importlib import import_module
from types import MappingProxyType

import structlog

from milpa.repeating import patiently, repeat
from milpa.settings import Settings
from solvers.registry import AnyKind, find_kinds
from storage.export_rows import ExportRef, NewExportFile
from storage.objects import ObjectStore, export_key
from storage.transaction import Database
from workers.export_contents import Packer, RecalledError
from workers.zip_stream import ZipStream

log = structlog.get_logger(__name__)


class Exporter:
    """Makes what is asked for. An export that breaks is tried again, as often as a job may fail (a setting)."""

    def __init__(self, settings: Settings, database: Database, objects: ObjectStore, *, kinds: str) -> None:
        self._settings = settings
        self._database = database
        self._objects = objects
        self._package = kinds

    async def run(self) -> None:
        """Look for ever. What does not answer now is tried again next time. Cancelled, it gives back what it makes."""
        await repeat(self._settings.sweep_seconds, self._make_all)

    async def _make_all(self) -> None:
        while await self.make_next():
            pass

    async def make_next(self) -> bool:
        """Make the export that has waited longest. False: nothing waits."""
        async with self._database.fleet() as fleet:
            ref = await fleet.exports.take(self._settings.max_errors)
        if ref is None:
            return False
        try:
            await self._make(ref)
        except RecalledError:
            log.info("export_recalled", export=str(ref.export_id))
        except asyncio.CancelledError:
            await patiently(self._give_back, ref)
            raise
        return True

    async def _give_back(self, ref: ExportRef) -> None:
        async with self._database.transaction(ref.tenant_id) as tenant:
            await tenant.exports.release(ref)

    async def _make(self, ref: ExportRef) -> None:
        async with self._database.transaction(ref.tenant_id) as tenant:
            task = await tenant.exports.open(ref)
        if task is None:
            raise RecalledError
        key = export_key(ref.tenant_id, ref.export_id)
        try:
            async with self._objects.writer(key) as write, ZipStream(write) as archive:
                await Packer(self._database, self._objects, self._kinds(), ref, archive).pack(task)
        except BaseException:  # what is written so far may tell of someone who was just erased
            await patiently(self._objects.delete, [key])
            raise
        file = NewExportFile(object_key=key, size=archive.size, sha256=archive.sha256)
        async with self._database.transaction(ref.tenant_id) as tenant:
            kept = await tenant.exports.finish(ref, file, self._settings.export_days)
        if not kept:
            await self._objects.delete([key])
            raise RecalledError
        log.info("export_made", export=str(ref.export_id), bytes=file.size)

    def _kinds(self) -> MappingProxyType[str, AnyKind]:
        return find_kinds(import_module(self._package))
