"""What a caller says of a schedule: checked as a whole, so that all that is wrong comes at once."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from api.bodies import decode_body, off_loop
from api.entries import Entries, Loose, read_entries, read_loose
from api.problem_details import invalid
from api.submissions import Line
from api.web_addresses import WebAddress
from milpa.jobs import Priority
from milpa.settings import Settings
from solvers.issues import Issue
from storage.cron import timezones, why_bad_cron
from storage.rows import NewJob
from storage.schedule_rows import NewSchedule, Overlap, ScheduleChanges

MAX_JOBS = 1000

Name = Annotated[Line, msgspec.Meta(min_length=1)]
Cron = Annotated[str, msgspec.Meta(max_length=100, description="Minute, hour, day of month, month, day of week.")]
Timezone = Annotated[str, msgspec.Meta(max_length=64, description="An IANA name, such as Asia/Riyadh.")]
Jobs = Annotated[list[Raw], msgspec.Meta(min_length=1, max_length=MAX_JOBS)]
CatchUp = Annotated[int, msgspec.Meta(ge=1, le=10_080)]


class ScheduleRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A schedule to make. jobs: each as its own submit would say it, with its `kind`; their priority is `batch`.

    overlap: what a due time does while the run before has not ended: `skip` it, or `queue` its jobs behind.
    catch_up_minutes: due times that nobody was there for are made up for when they are not older than this.
    webhook_url: told when a batch has ended.
    """

    name: Name
    cron: Cron
    timezone: Timezone
    jobs: Jobs
    webhook_url: WebAddress | None = None
    overlap: Overlap = Overlap.SKIP
    catch_up_minutes: CatchUp = 60
    enabled: bool = True


class SchedulePatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a schedule; what is left out stays. Another time or place counts from now."""

    name: Name | UnsetType = UNSET
    cron: Cron | UnsetType = UNSET
    timezone: Timezone | UnsetType = UNSET
    jobs: Jobs | UnsetType = UNSET
    webhook_url: WebAddress | UnsetType | None = UNSET
    overlap: Overlap | UnsetType = UNSET
    catch_up_minutes: CatchUp | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


class _Given(msgspec.Struct, frozen=True):
    priority: Priority | UnsetType = UNSET


async def read_schedule(body: bytes, settings: Settings) -> NewSchedule:
    """Read a schedule to make; 422 with every issue, those of its jobs at `/jobs/3/problem/…`."""
    request, jobs = await _read(body, ScheduleRequest, settings)
    return NewSchedule(**{**msgspec.structs.asdict(request), "cron": _one_spaced(request.cron), "jobs": jobs})


async def read_changes(body: bytes, settings: Settings) -> ScheduleChanges:
    """Read what to change, as strictly."""
    request, jobs = await _read(body, SchedulePatch, settings)
    changes: dict[str, Any] = msgspec.structs.asdict(request)
    if request.jobs is not UNSET:
        changes["jobs"] = jobs
    if request.cron is not UNSET:
        changes["cron"] = _one_spaced(request.cron)
    return ScheduleChanges(**changes)


async def _read(body: bytes, type_: Any, settings: Settings) -> tuple[Any, list[NewJob]]:
    decoded = await off_loop(len(body), lambda: decode_body(body, type_, settings))
    loose = await read_loose(body, settings)
    raw = loose.entries(MAX_JOBS)
    entries = await read_entries(raw, settings)
    addresses = loose.address_issues(decoded.issues, settings)
    issues = [*decoded.issues, *_timing_issues(loose), *addresses, *entries.issues]
    if issues:
        raise invalid(issues, decoded.total + len(issues) - len(decoded.issues) - len(entries.issues) + entries.total)
    return decoded.value, _for_the_night(entries, raw)


def _timing_issues(loose: Loose) -> list[Issue]:
    issues: list[Issue] = []
    if isinstance(loose.cron, str) and (why := why_bad_cron(loose.cron)) is not None:
        issues.append(Issue(code="bad_cron", pointer="/cron", message=why))
    if isinstance(loose.timezone, str) and loose.timezone not in timezones():
        message = "There is no such time zone; an IANA name is meant, such as Asia/Riyadh."
        issues.append(Issue(code="unknown_timezone", pointer="/timezone", message=message))
    return issues


def _for_the_night(entries: Entries, raw: list[Raw]) -> list[NewJob]:
    """Let the jobs wait in the line for batches, unless they say otherwise."""
    return [
        job
        if msgspec.json.decode(entry, type=_Given).priority is not UNSET
        else msgspec.structs.replace(job, priority=Priority.BATCH)
        for job, entry in zip(entries.jobs, raw, strict=True)
    ]


def _one_spaced(cron: str) -> str:
    return " ".join(cron.split())
