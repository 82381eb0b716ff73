"""Which points of a large table a chart draws: what matters stays, and the reader is told what does not."""

import math
from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple

from solvers.report import Mark

MAX_POINTS = 5_000
MAX_SERIES = 20
MAX_CATEGORIES = 40
MAX_ORDERED_CATEGORIES = 400
MAX_GANTT_ROWS = 80
CATEGORY_MARKS = (Mark.BAR, Mark.STACKED_BAR, Mark.GANTT)


class Spot(NamedTuple):
    """A point as thinning sees it. category: of a bar, "" for other marks; place: along the axis; value: its size."""

    series: str
    category: str
    place: float
    value: float


class Kept(NamedTuple):
    """Indexes of the points to draw, ascending, and what to say of the others ("" when there are none)."""

    indexes: list[int]
    note: str


def keep(spots: list[Spot], mark: Mark, *, ordered: bool) -> Kept:
    """Choose the points to draw.

    Series: the 20 with the most points. Bars: the categories with the largest totals, more of them along an ordered
    axis. Gantt: the first rows. Scatter: small series whole, of the large ones the extremes and an even sample. Lines:
    the lowest and highest point of each of many equal stretches, which keeps every peak that a screen could show.
    Areas: the same places in every series, since they are stacked.
    """
    indexes, about_series = _largest(
        list(range(len(spots))), lambda i: spots[i].series, lambda _: 1.0, MAX_SERIES, "series"
    )
    if mark in CATEGORY_MARKS:
        indexes, about_points = _categories(spots, indexes, mark, ordered=ordered)
    else:
        indexes, about_points = _points(spots, indexes, mark, ordered=ordered)
    return Kept(indexes, " ".join(note for note in (about_series, about_points) if note))


def _largest(
    indexes: list[int], name: Callable[[int], str], size: Callable[[int], float], most: int, what: str
) -> tuple[list[int], str]:
    """Keep the points of the `most` names whose sizes add up to the most."""
    totals: dict[str, float] = defaultdict(float)
    for index in indexes:
        totals[name(index)] += size(index)
    if len(totals) <= most:
        return indexes, ""
    shown = set(sorted(totals, key=lambda n: -totals[n])[:most])
    note = f"The largest {most} of {len(totals):,} {what} are shown."
    return [index for index in indexes if name(index) in shown], note


def _categories(spots: list[Spot], indexes: list[int], mark: Mark, *, ordered: bool) -> tuple[list[int], str]:
    if mark is not Mark.GANTT:
        most = MAX_ORDERED_CATEGORIES if ordered else MAX_CATEGORIES
        return _largest(indexes, lambda i: spots[i].category, lambda i: abs(spots[i].value), most, "bars")
    rows = list(dict.fromkeys(spots[index].category for index in indexes))
    if len(rows) <= MAX_GANTT_ROWS:
        return indexes, ""
    shown = set(rows[:MAX_GANTT_ROWS])
    note = f"The first {MAX_GANTT_ROWS} of {len(rows):,} rows are shown."
    return [index for index in indexes if spots[index].category in shown], note


def _points(spots: list[Spot], indexes: list[int], mark: Mark, *, ordered: bool) -> tuple[list[int], str]:
    if len(indexes) <= MAX_POINTS:
        return indexes, ""
    series: dict[str, list[int]] = defaultdict(list)
    for index in indexes:
        series[spots[index].series].append(index)
    choose = _sample if mark is Mark.SCATTER or not ordered else _envelope
    kept: list[int] = []
    waiting = sorted(series.values(), key=len)
    most = MAX_POINTS // len(waiting) if mark is Mark.AREA else MAX_POINTS
    for position, members in enumerate(waiting):
        room = (most - len(kept)) // (len(waiting) - position)
        kept += members if len(members) <= room else choose(spots, members, room)
    if mark is Mark.AREA:
        places = {spots[index].place for index in kept}
        kept = [index for index in indexes if spots[index].place in places]
    what = "extremes kept, the rest evenly sampled" if choose is _sample else "lows and highs kept"
    return sorted(kept), f"{len(kept):,} of {len(indexes):,} points shown: {what}."


def _sample(spots: list[Spot], members: list[int], room: int) -> list[int]:
    extremes = {
        choose(members, key=axis)
        for choose in (min, max)
        for axis in (lambda i: spots[i].place, lambda i: spots[i].value)
    }
    count = room - len(extremes)
    step = len(members) / count
    return sorted(extremes | {members[math.floor(position * step)] for position in range(count)})


def _envelope(spots: list[Spot], members: list[int], room: int) -> list[int]:
    stretches = room // 2 - 1
    size = len(members) / stretches
    kept = {members[0], members[-1]}
    for stretch in range(stretches):
        part = members[math.floor(stretch * size) : math.floor((stretch + 1) * size)]
        kept |= {min(part, key=lambda i: spots[i].value), max(part, key=lambda i: spots[i].value)}
    return sorted(kept)
