"""Which points of a large table a chart draws: what matters stays, and the reader is told what does not."""

import math
from collections import defaultdict
from typing import NamedTuple

from solvers.report import Mark

MAX_POINTS = 5_000
MAX_CATEGORIES = 40
MAX_ORDERED_CATEGORIES = 400
MAX_GANTT_ROWS = 80
CATEGORY_MARKS = (Mark.BAR, Mark.STACKED_BAR, Mark.GANTT)


class Points(NamedTuple):
    """One point as thinning sees it: its category or series, its place along the axis, its value."""

    group: str
    place: float
    value: float


class Kept(NamedTuple):
    """Indexes of the points to draw, ascending, and a sentence on the others ("" when there are none)."""

    indexes: list[int]
    note: str


def keep(points: list[Points], mark: Mark, *, ordered: bool) -> Kept:
    """Choose the points to draw.

    Bars: the categories with the largest totals, more of them along an ordered axis. Gantt: the first rows. Scatter:
    small series whole, of the large ones the extremes and an even sample. Lines: the lowest and highest point of each
    of many equal stretches, which keeps every peak that a screen could show. Areas: the same places in every series,
    since they are stacked.
    """
    if mark in CATEGORY_MARKS:
        return _largest_categories(points, mark, ordered=ordered)
    if len(points) <= MAX_POINTS:
        return Kept(list(range(len(points))), "")
    series: dict[str, list[int]] = defaultdict(list)
    for index, point in enumerate(points):
        series[point.group].append(index)
    choose = _sample if mark is Mark.SCATTER or not ordered else _envelope
    indexes: list[int] = []
    waiting = sorted(series.values(), key=len)
    most = MAX_POINTS // len(waiting) if mark is Mark.AREA else MAX_POINTS
    for position, members in enumerate(waiting):
        room = max(4, (most - len(indexes)) // (len(waiting) - position))
        indexes += members if len(members) <= room else choose(points, members, room)
    if mark is Mark.AREA:
        places = {points[index].place for index in indexes}
        indexes = [index for index, point in enumerate(points) if point.place in places]
    what = "extremes kept, the rest evenly sampled" if choose is _sample else "lows and highs kept"
    return Kept(sorted(indexes), f"{len(indexes):,} of {len(points):,} points shown: {what}.")


def _largest_categories(points: list[Points], mark: Mark, *, ordered: bool) -> Kept:
    totals: dict[str, float] = defaultdict(float)
    for point in points:
        totals[point.group] += point.value
    most = MAX_GANTT_ROWS if mark is Mark.GANTT else MAX_ORDERED_CATEGORIES if ordered else MAX_CATEGORIES
    if len(totals) <= most:
        return Kept(list(range(len(points))), "")
    names = list(totals) if mark is Mark.GANTT else sorted(totals, key=lambda name: -totals[name])
    shown = set(names[:most])
    indexes = [index for index, point in enumerate(points) if point.group in shown]
    return Kept(indexes, f"The {'first' if mark is Mark.GANTT else 'largest'} {most} of {len(totals):,} are shown.")


def _sample(points: list[Points], members: list[int], room: int) -> list[int]:
    extremes = {
        choose(members, key=axis)
        for choose in (min, max)
        for axis in (lambda i: points[i].place, lambda i: points[i].value)
    }
    step = len(members) / max(1, room - len(extremes))
    spread = {members[math.floor(position * step)] for position in range(max(0, room - len(extremes)))}
    return sorted(extremes | spread)


def _envelope(points: list[Points], members: list[int], room: int) -> list[int]:
    stretches = max(1, room // 2 - 1)
    size = len(members) / stretches
    kept = {members[0], members[-1]}
    for stretch in range(stretches):
        part = members[math.floor(stretch * size) : math.floor((stretch + 1) * size)]
        kept |= {min(part, key=lambda i: points[i].value), max(part, key=lambda i: points[i].value)}
    return sorted(kept)
