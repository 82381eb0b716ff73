"""Jobs in a list, each of its own kind: all of them, or the issues of all."""

import asyncio
from collections.abc import Sequence

import msgspec

from api.bodies import decode_body
from api.submissions import Reading, read_batch_item
from milpa.settings import Settings
from solvers.issues import Issue, pointer
from solvers.registry import all_kinds
from storage.rows import NewJob


class Entries(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the list: jobs in its order, unless there are issues. total: issues there are in all."""

    jobs: list[NewJob]
    issues: list[Issue]
    total: int


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
        message = "There is no such kind of job; GET /v1/kinds lists them."
        issue = Issue(code="unknown_kind", pointer="/kind", message=message)
        return Reading(new=None, issues=[issue], total=1)
    return await read_batch_item(kind, entry, settings)
