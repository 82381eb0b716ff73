"""Calls about schedules: jobs submitted again and again, when the clocks of a place say so."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias
from urllib.parse import quote
from uuid import UUID, uuid4

import msgspec

from milpa.client.answers import Schedule, ScheduleRun
from milpa.client.exchange import Call, Request, send
from milpa.client.paging import pages

ScheduleRef: TypeAlias = Schedule | UUID | str


def create_schedule(
    name: str,
    cron: str,
    timezone: str,
    jobs: Sequence[Mapping[str, Any]],
    *,
    idempotency_key: str | None = None,
    **more: Any,
) -> Call[Schedule]:
    """Make a schedule. RefusedError lists all that is wrong with it and its jobs.

    cron: minute, hour, day of month, month, day of week, such as "0 2 * * *". timezone: an IANA name. jobs: each
    `{"kind", "problem", …}` as the body of a submit; one batch for each due time. more: webhook_url, overlap ("skip" or
    "queue"), catch_up_minutes, enabled. Sending again after a lost connection never makes a second one.
    """
    body = {"name": name, "cron": cron, "timezone": timezone, "jobs": list(jobs), **more}
    return (yield from send(_write("POST", "/v1/schedules", body, _key(idempotency_key)))).read(Schedule)


def schedules(limit: int = 50) -> Call[list[Schedule]]:
    """Return the newest schedules, at most `limit`."""
    return (yield from pages("/v1/schedules", limit, Schedule))


def schedule(schedule: ScheduleRef) -> Call[Schedule]:
    """Return the schedule as it is now."""
    return (yield from send(Request(method="GET", path=_path(schedule)))).read(Schedule)


def change_schedule(schedule: ScheduleRef, **changes: Any) -> Call[Schedule]:
    """Change the fields given, as in `create_schedule`; another time or place counts from now."""
    return (yield from send(_write("PATCH", _path(schedule), changes))).read(Schedule)


def delete_schedule(schedule: ScheduleRef) -> Call[None]:
    """Remove the schedule; the batches it has started stay."""
    yield from send(Request(method="DELETE", path=_path(schedule), repeatable=False))


def run_schedule(schedule: ScheduleRef, *, idempotency_key: str | None = None) -> Call[ScheduleRun]:
    """Run the schedule now, whatever still runs; due times stay as they are."""
    request = Request(method="POST", path=f"{_path(schedule)}/run", headers=_key(idempotency_key))
    return (yield from send(request)).read(ScheduleRun)


def schedule_runs(schedule: ScheduleRef, limit: int = 50) -> Call[list[ScheduleRun]]:
    """Return its newest runs, at most `limit`."""
    return (yield from pages(f"{_path(schedule)}/runs", limit, ScheduleRun))


def _path(schedule: ScheduleRef) -> str:
    return f"/v1/schedules/{schedule.id if isinstance(schedule, Schedule) else quote(str(schedule), safe='')}"


def _key(given: str | None) -> dict[str, str]:
    return {"Idempotency-Key": given or str(uuid4())}


def _write(method: str, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Request:
    content = {"Content-Type": "application/json", **(headers or {})}
    return Request(method=method, path=path, headers=content, body=msgspec.json.encode(body))
