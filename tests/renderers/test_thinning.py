import random

from hypothesis import given
from hypothesis import strategies as st

from solvers.report import Mark
from workers.renderers.thinning import (
    CATEGORY_MARKS,
    MAX_CATEGORIES,
    MAX_GANTT_ROWS,
    MAX_POINTS,
    MAX_SERIES,
    Spot,
    keep,
)


def cloud(count: int, group: str = "a", seed: int = 1) -> list[Spot]:
    draw = random.Random(seed)
    return [Spot(group, "", draw.gauss(0, 1), draw.gauss(0, 1)) for _ in range(count)]


def test_few_points_are_all_drawn_and_nothing_is_said() -> None:
    for mark in Mark:
        kept = keep(cloud(30), mark, ordered=True)
        assert kept.indexes == list(range(30))
        assert kept.note == ""


def test_a_small_series_survives_whole_beside_a_large_one() -> None:
    points = cloud(30, "bought") + cloud(100_000, "rejected", seed=2)
    kept = keep(points, Mark.SCATTER, ordered=True)
    assert set(range(30)) <= set(kept.indexes)
    assert len(kept.indexes) <= MAX_POINTS
    assert kept.note == f"{len(kept.indexes):,} of 100,030 points shown: extremes kept, the rest evenly sampled."


def test_a_sample_keeps_the_extremes_on_both_axes() -> None:
    points = cloud(50_000)
    drawn = [points[i] for i in keep(points, Mark.SCATTER, ordered=True).indexes]
    for axis in (lambda p: p.place, lambda p: p.value):
        assert min(map(axis, drawn)) == min(map(axis, points))
        assert max(map(axis, drawn)) == max(map(axis, points))


def test_a_line_keeps_its_ends_and_a_single_peak() -> None:
    points = [Spot("a", "", float(i), 0.0) for i in range(60_000)]
    points[31_234] = Spot("a", "", 31_234.0, 9.0)
    kept = keep(points, Mark.LINE, ordered=True)
    assert {0, 31_234, 59_999} <= set(kept.indexes)
    assert len(kept.indexes) <= MAX_POINTS


def test_stacked_areas_keep_the_same_places_in_every_series() -> None:
    points = [Spot(group, "", float(i), random.Random(i).random()) for group in "abc" for i in range(9_000)]
    drawn = [points[i] for i in keep(points, Mark.AREA, ordered=True).indexes]
    places = [{p.place for p in drawn if p.series == group} for group in "abc"]
    assert places[0] == places[1] == places[2]
    assert len(drawn) <= MAX_POINTS


def test_bars_keep_the_largest_in_the_order_of_the_table() -> None:
    points = [Spot("a", f"c{i}", 0.0, float((i * 37) % 101)) for i in range(101)]
    kept = keep(points, Mark.BAR, ordered=False)
    assert kept.indexes == sorted(sorted(range(101), key=lambda i: -points[i].value)[:MAX_CATEGORIES])
    assert kept.note == "The largest 40 of 101 bars are shown."


def test_a_gantt_keeps_its_first_rows() -> None:
    kept = keep([Spot("a", f"p{i}", 0.0, 1.0) for i in range(200)], Mark.GANTT, ordered=True)
    assert kept.indexes == list(range(MAX_GANTT_ROWS))


@given(st.sampled_from(Mark), st.booleans(), st.integers(0, 12_000), st.integers(1, 8_000), st.integers(1, 40))
def test_what_is_kept_is_ascending_without_repeats_and_bounded(
    mark: Mark, ordered: bool, count: int, groups: int, series: int
) -> None:
    spots = [Spot(f"s{i % series}", f"c{i % groups}", float(i), float(i % 97)) for i in range(count)]
    kept = keep(spots, mark, ordered=ordered)
    assert kept.indexes == sorted(set(kept.indexes))
    assert bool(kept.note) == (len(kept.indexes) < count)
    assert len({spots[i].series for i in kept.indexes}) <= MAX_SERIES
    if mark not in CATEGORY_MARKS:
        assert len(kept.indexes) <= MAX_POINTS
