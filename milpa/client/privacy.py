"""Calls about privacy: who did what, taking everything along, erasing one person."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote
from uuid import UUID

import msgspec

from milpa.client.answers import AuditEntry, Erased, Export, Page
from milpa.client.exchange import Call, Request, send

ExportRef: TypeAlias = Export | UUID | str


def audit(*, limit: int = 50, **where: str) -> Call[list[AuditEntry]]:
    """Return the newest deeds, at most `limit` (200 at most).

    where: `subject`, `action`, `target`, `since`, `until`; all hold together.
    """
    request = Request(method="GET", path="/v1/audit", query={"limit": str(limit), **where})
    return (yield from send(request)).read(Page[AuditEntry]).items


def create_export(person_kind: str | None = None, person_id: str | None = None) -> Call[Export]:
    """Have everything packed into a zip, or what there is of one person. Not sent again when the answer is lost."""
    of = {"subject": {"kind": person_kind, "id": person_id}} if person_kind else {}
    return (yield from send(_write("/v1/exports", of))).read(Export)


def exports() -> Call[list[Export]]:
    """Return the newest exports."""
    return (yield from send(Request(method="GET", path="/v1/exports"))).read(Page[Export]).items


def export(export: ExportRef) -> Call[Export]:
    """Return how an export stands."""
    return (yield from send(Request(method="GET", path=_path(export)))).read(Export)


def download_export(export: ExportRef, to: Path | str) -> Call[Path]:
    """Write an export that is ready into the file `to`, and return its path."""
    path = Path(to)
    path.write_bytes((yield from send(Request(method="GET", path=f"{_path(export)}/file"))).body)
    return path


def erase_person(person_kind: str, person_id: str) -> Call[Erased]:
    """Put a pseudonym in one person's place, wherever ended jobs and schedules name them."""
    path = f"/v1/subjects/{quote(person_kind, safe='')}/{quote(person_id, safe='')}"
    return (yield from send(Request(method="DELETE", path=path, repeatable=False))).read(Erased)


def _path(export: ExportRef) -> str:
    return f"/v1/exports/{export.id if isinstance(export, Export) else quote(str(export), safe='')}"


def _write(path: str, body: Mapping[str, Any]) -> Request:
    headers = {"Content-Type": "application/json"}
    return Request(method="POST", path=path, headers=headers, body=msgspec.json.encode(body), repeatable=False)
