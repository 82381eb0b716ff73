"""When schedules are due, on clocks that jump and clocks that don't."""

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from storage.cron import due_times, next_due, timezones, why_bad_cron

BERLIN, RIYADH = "Europe/Berlin", "Asia/Riyadh"


def due(cron: str, timezone: str, after: str, count: int) -> list[str]:
    """The next due times as the clocks of the place show them."""
    zone = ZoneInfo(timezone)
    start = datetime.fromisoformat(after).replace(tzinfo=zone)
    return [moment.astimezone(zone).isoformat() for moment in islice(due_times(cron, timezone, start), count)]


def test_an_hour_that_the_clocks_skip_in_spring_is_due_right_after_the_gap() -> None:
    assert due("30 2 * * *", BERLIN, "2026-03-28T00:00", 3) == [
        "2026-03-28T02:30:00+01:00",
        "2026-03-29T03:00:00+02:00",
        "2026-03-30T02:30:00+02:00",
    ]


def test_an_hour_that_the_clocks_show_twice_in_autumn_is_due_the_first_time() -> None:
    assert due("30 2 * * *", BERLIN, "2026-10-24T12:00", 2) == [
        "2026-10-25T02:30:00+02:00",
        "2026-10-26T02:30:00+01:00",
    ]


def test_asked_between_the_two_the_second_showing_is_not_due_again() -> None:
    second = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)
    assert second.astimezone(ZoneInfo(BERLIN)).isoformat() == "2026-10-25T02:10:00+01:00"
    assert next_due("30 2 * * *", BERLIN, second) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


def test_several_due_times_in_the_gap_are_one_right_after_it() -> None:
    assert due("0,30 2,3 * * *", BERLIN, "2026-03-29T00:00", 3) == [
        "2026-03-29T03:00:00+02:00",
        "2026-03-29T03:30:00+02:00",
        "2026-03-30T02:00:00+02:00",
    ]


@pytest.mark.parametrize(
    ("day", "hours"), [("2026-03-28", 24), ("2026-03-29", 23), ("2026-10-25", 25), ("2026-10-26", 24)]
)
def test_every_hour_goes_by_elapsed_time_through_both_changes(day: str, hours: int) -> None:
    times = due("0 * * * *", BERLIN, f"{day}T00:00", 30)
    assert sum(moment.startswith(day) for moment in times) + 1 == hours  # midnight itself is not after midnight
    moments = [datetime.fromisoformat(moment) for moment in times]
    assert {later - earlier for earlier, later in pairwise(moments)} == {timedelta(hours=1)}


@pytest.mark.parametrize("timezone", [RIYADH, "UTC"])
def test_a_place_without_summer_time_is_due_at_the_same_time_of_every_day(timezone: str) -> None:
    moments = list(islice(due_times("0 2 * * *", timezone, datetime(2026, 1, 1, tzinfo=UTC)), 366))
    assert {later - earlier for earlier, later in pairwise(moments)} == {timedelta(days=1)}
    assert moments[0].astimezone(ZoneInfo(timezone)).hour == 2


def test_over_a_year_of_berlin_every_day_has_exactly_one_nightly_run() -> None:
    start = datetime(2025, 12, 31, 12, tzinfo=UTC)
    days = [
        moment.astimezone(ZoneInfo(BERLIN)).date() for moment in islice(due_times("30 2 * * *", BERLIN, start), 365)
    ]
    assert days == [datetime(2026, 1, 1).date() + timedelta(days=n) for n in range(365)]  # noqa: DTZ001  a date


def test_weekdays_and_last_days_of_months() -> None:
    assert due("0 6 * * MON-FRI", RIYADH, "2026-05-01T12:00", 2) == [
        "2026-05-04T06:00:00+03:00",
        "2026-05-05T06:00:00+03:00",
    ]
    assert due("0 6 L * *", RIYADH, "2028-02-01T00:00", 2) == ["2028-02-29T06:00:00+03:00", "2028-03-31T06:00:00+03:00"]


@given(
    minute=st.sampled_from(["0", "30", "*", "*/7", "15,45", "59"]),
    hour=st.sampled_from(["0", "1", "2", "3", "*", "*/2", "1-3", "23"]),
    timezone=st.sampled_from([BERLIN, RIYADH, "America/New_York", "Africa/Cairo", "Australia/Lord_Howe", "UTC"]),
    start=st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)),  # noqa: DTZ001  the zone follows
)
@example("30", "2", BERLIN, datetime(2026, 3, 29, 0, 59, 59, 999_999))  # noqa: DTZ001
@example("*", "*", "Australia/Lord_Howe", datetime(2026, 4, 4, 14, 45))  # noqa: DTZ001
@example("0", "0", "Africa/Cairo", datetime(2026, 4, 23, 21, 0))  # noqa: DTZ001
def test_due_times_are_whole_minutes_that_only_ever_come_later(
    minute: str, hour: str, timezone: str, start: datetime
) -> None:
    after = start.replace(tzinfo=UTC)
    found = list(islice(due_times(f"{minute} {hour} * * *", timezone, after), 60))
    assert len(found) == 60
    assert all(earlier < later for earlier, later in pairwise([after, *found]))
    assert all((moment.second, moment.microsecond) == (0, 0) for moment in found)


@given(
    minute=st.sampled_from(["0", "30", "15,45"]),
    hour=st.sampled_from(["0", "2", "1-3", "23"]),
    day=st.integers(0, 364),
)
def test_where_it_goes_on_does_not_matter(minute: str, hour: str, day: int) -> None:
    cron, start = f"{minute} {hour} * * *", datetime(2026, 1, 1, 12, tzinfo=UTC) + timedelta(days=day)
    straight = list(islice(due_times(cron, BERLIN, start), 12))
    moment, steps = start, []
    for _ in range(12):
        moment = next_due(cron, BERLIN, moment) or moment
        steps.append(moment)
    assert steps == straight


@pytest.mark.parametrize(
    "cron", ["0 2 * * *", "*/5 * * * *", "0 0 29 2 *", "0 6 * * MON-FRI", "0 0 LW * *", "0 0 * * 5#2"]
)
def test_good_expressions(cron: str) -> None:
    assert why_bad_cron(cron) is None


@pytest.mark.parametrize(
    ("cron", "why"),
    [
        ("", "five fields"),
        ("@daily", "five fields"),
        ("* * * * * *", "five fields"),
        ("60 * * * *", "bad minute"),
        ("0 24 * * *", "bad hour"),
        ("0 0 0 * *", "bad day-of-month"),
        ("0 0 * 13 *", "bad month"),
        ("0 0 * * FOO", "bad day-of-week"),
        ("*/0 * * * *", "bad minute"),
        ("0 0 30 2 *", "bad day-of-month"),
        ("0 0 */30 2 MON#5", "ever like this"),
    ],
)
def test_bad_expressions_say_why(cron: str, why: str) -> None:
    assert why in (why_bad_cron(cron) or "")


@given(st.text("0123456789*/,-#LWMONJAE ²\n", max_size=40))
def test_any_text_is_judged(cron: str) -> None:
    if why_bad_cron(cron) is None:
        assert next_due(cron, BERLIN, datetime(2026, 1, 1, tzinfo=UTC)) is not None


def test_zones_are_places_and_never_the_machines_own() -> None:
    assert {BERLIN, RIYADH, "UTC", "America/New_York"} <= timezones()
    assert not {"localtime", "Europe", "../etc/passwd", ""} & timezones()
