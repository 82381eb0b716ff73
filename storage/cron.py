"""When a schedule is due: a cron expression on the clocks of a place, daylight saving included."""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

_FIELDS = 5
_A_DAY = datetime(2000, 1, 1, tzinfo=UTC)
_OF_THE_MACHINE = frozenset({"localtime"})
"""Names that mean another zone on another machine."""


def due_times(cron: str, timezone: str, after: datetime) -> Iterator[datetime]:
    """Yield the due times after that moment, each later than the one before, in UTC; they end when none comes any more.

    As in Debian's cron: an hour of the day that the clocks skip is due right after the gap, one that they show twice is
    due the first time. What comes every hour or every few minutes goes by elapsed time.
    """
    for local in CronSim(cron, after.astimezone(ZoneInfo(timezone))):
        due = local.astimezone(UTC)
        if due > after:  # around a change of the clocks the library may step back, or name one moment twice
            after = due
            yield due


def next_due(cron: str, timezone: str, after: datetime) -> datetime | None:
    """Return the first due time after that moment; None: none comes any more."""
    return next(due_times(cron, timezone, after), None)


def why_bad_cron(cron: str) -> str | None:
    """Return what is wrong with a cron expression, or None."""
    if len(cron.split()) != _FIELDS:
        return "A cron expression has five fields: minute, hour, day of month, month, day of week."
    try:
        due = next_due(cron, "UTC", _A_DAY)
    except CronSimError as error:
        return f"This is no cron expression: {str(error).lower()}."
    return None if due is not None else "No day is ever like this."


@cache
def timezones() -> frozenset[str]:
    """Return the names of the IANA time zones."""
    return frozenset(available_timezones() - _OF_THE_MACHINE)
