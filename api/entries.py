"""Jobs in a list, each of its own kind: all of them, or the issues of all, whatever else is wrong with the body."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from api.bodies import decode_body, off_loop
from api.kinds import unknown_kind
from api.submissions import Reading, read_batch_item
from api.web_addresses import address_issues
from milpa.settings import Settings
from solvers.issues import Issue, pointer
from solvers.registry import all_kinds
from storage.rows import NewJob


class Entries(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the list: jobs in its order, unless there are issues. total: issues there are in all."""

    jobs: list[NewJob]
    issues: list[Issue]
    total: int


class Loose(msgspec.Struct, frozen=True):
    """The parts of a body that have rules of their own, whatever is wrong with the types of the others."""

    jobs: msgspec.Raw = msgspec.Raw(b"null")
    webhook_url: Any = None
    cron: Any = None
    timezone: Any = None

    def entries(self, most: int) -> list[msgspec.Raw]:
        """Return the jobs where they are a list, and not longer than it may be."""
        try:
            found = msgspec.json.decode(self.jobs, type=list[msgspec.Raw])
        except msgspec.ValidationError:
            return []
        return found if len(found) <= most else []

    def address_issues(self, found: Sequence[Issue], settings: Settings) -> list[Issue]:
        """Return what is wrong with the address beyond its type, of which `found` tells."""
        refused = any(issue.pointer == "/webhook_url" for issue in found)
        return [] if refused else address_issues(self.webhook_url, settings)


async def read_loose(body: bytes, settings: Settings) -> Loose:
    """Read those parts of a body that is JSON."""
    return (await off_loop(len(body), lambda: decode_body(body, Loose, settings))).value or Loose()


class _Kind(msgspec.Struct, frozen=True):
    kind: str


async def read_entries(entries: Sequence[msgspec.Raw], settings: Settings) -> Entries:
    """Read every entry of the field `jobs`; issues point from the body's root: `/jobs/3/problem/…`."""
    jobs: list[NewJob] = []
    issues: list[Issue] = []
    total = 0
    for index, entry in enumerate(entries):
        reading = await _read_entry(bytes(entry), settings)
        await asyncio.sleep(0)  # many small entries shall not hold up the others' requests either
        if reading.new is not None:
            jobs.append(reading.new)
            continue
        at = pointer("jobs", index)
        issues += [msgspec.structs.replace(issue, pointer=at + issue.pointer) for issue in reading.issues]
        total += reading.total
    return Entries(jobs=jobs, issues=issues, total=total)


async def _read_entry(entry: bytes, settings: Settings) -> Reading:
    decoded = decode_body(entry, _Kind, settings)
    if decoded.value is None:
        return Reading(new=None, issues=decoded.issues, total=decoded.total)
    kind = all_kinds().get(decoded.value.kind)
    if kind is None:
        issue = Issue(code="unknown_kind", pointer="/kind", message=unknown_kind(decoded.value.kind))
        return Reading(new=None, issues=[issue], total=1)
    return await read_batch_item(kind, entry, settings)
