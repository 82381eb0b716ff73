"""The layers of a chart, as Altair writes them.

Writing them costs Altair more than all else that a small job takes, and charts differ in little but names and figures:
so layers are written once for each look, with blanks, and every chart of that look fills in its own.
"""

from collections.abc import Callable, Iterable
from datetime import date
from functools import lru_cache
from typing import Any, Final, NamedTuple

from solvers.report import Mark, Unit
from workers.renderers.figures import chart_format
from workers.renderers.plot import BARS, Channel, Plot, Scale
from workers.renderers.theme import INK, LIMIT, MUTED, PALETTE
from workers.renderers.thinning import MAX_CATEGORIES

MOST_LABELLED_BARS = 14
MOST_LABELLED_POINTS = 20
MOST_DOTTED_POINTS = 40
LETTER_WIDTH, LABEL_GAP, AXIS_WIDTH = 6, 8, 70
"""Of text in 11-pixel type, in pixels: enough to tell whether labels fit beside each other."""
MOST_LEGEND_COLUMNS = 4
LEGEND_MARK, LONGEST_LEGEND_NAME = 26, 220
"""Of the legend, in pixels: what stands beside a name, and where a name is cut."""
ZERO_IN_SIGHT = 0.5
THOUSAND = 1000
ROOM_FOR_FIGURES = 1.2
DAYS_FOR_YEARS = 8 * 365
DAYS_FOR_MONTHS = 180
COMPACT = "replace(format(datum.value, '{format}'), 'G', 'B')"

CATEGORIES: Final = "@categories"
SERIES: Final = "@series"
FIRST_SERIES: Final = "@first series"
LEGEND: Final = "@legend"
COLORS: Final = "@colors"
REFERENCE: Final = "@reference"
AXIS_END: Final = "@axis end"
"""The blanks of a look."""


class Look(NamedTuple):
    """All that decides how a chart is drawn, but for its names and figures.

    y: the first column drawn. several_y, several: whether there are more columns, more series. figures, labels: whether
    each mark has its figure, its name written beside it. dotted, dense: whether points are few, or many. angle: of the
    names along the axis, in degrees. legend_columns: how many names of series stand beside each other. crowded: whether
    names have to give way. days: the format of dates. thousands: whether figures along x and along y are written short.
    """

    mark: Mark
    lying: bool
    x: Channel
    y: Channel
    several_y: bool
    several: bool
    limit: Channel | None
    size: Channel | None
    label: Channel | None
    ends: bool
    reference: bool
    figures: bool
    labels: bool
    dotted: bool
    dense: bool
    angle: int
    legend_columns: int
    crowded: bool
    zero: bool
    room: bool
    days: str
    thousands: tuple[bool, bool]


def layers_of(plot: Plot, width: int) -> list[dict[str, Any]]:
    """Return the layers of a chart, the lowest first; width: of all of it, in pixels."""
    if not plot.points:
        return list(_empty())
    filled: list[dict[str, Any]] = _filled(layers_of_look(_look(plot, width)), _blanks(plot))
    return filled


def figures_written(plot: Plot) -> bool:
    """Tell whether there are few enough bars to write its figure beside each."""
    few = len(plot.series) == 1 and len(plot.categories) <= MOST_LABELLED_BARS
    return plot.chart.mark in BARS and few and plot.limit is None


def _look(plot: Plot, width: int) -> Look:
    chart, points, count = plot.chart, len(plot.points), len(plot.series)
    lying = chart.horizontal and chart.mark in BARS
    flat = lying or chart.mark is Mark.GANTT
    needed = sum(len(name) * LETTER_WIDTH + LABEL_GAP for name in plot.categories)
    written = figures_written(plot)
    return Look(
        mark=chart.mark,
        lying=lying,
        x=plot.x,
        y=plot.y[0],
        several_y=len(plot.y) > 1,
        several=count > 1,
        limit=plot.limit,
        size=plot.size,
        label=plot.label,
        ends=bool(chart.x2),
        reference=chart.reference is not None,
        figures=written,
        labels=plot.label is not None and points <= MOST_LABELLED_POINTS,
        dotted=points <= MOST_DOTTED_POINTS * count,
        dense=points > MOST_DOTTED_POINTS * 10,
        angle=0 if flat or needed <= width - AXIS_WIDTH else -40,
        legend_columns=_legend_columns(_legend(plot), width - AXIS_WIDTH),
        crowded=not flat and len(plot.categories) > MAX_CATEGORIES,
        zero=chart.mark in {*BARS, Mark.AREA} or _zero_in_sight(plot),
        room=lying and written and _longest(plot) > 0,
        days=_days(plot),
        thousands=(_thousands(point.x for point in plot.points), _thousands(point.y for point in plot.points)),
    )


def _blanks(plot: Plot) -> dict[str, Any]:
    """Return what goes into the blanks. The limit, where there is one, is a series of its own in the legend."""
    names = list(plot.series)
    colors = [PALETTE[i % len(PALETTE)] for i in range(len(names))]
    with_limit = plot.limit is not None
    return {
        CATEGORIES: plot.categories,
        SERIES: names,
        FIRST_SERIES: names[0],
        LEGEND: _legend(plot),
        COLORS: [*colors, LIMIT] if with_limit else colors,
        REFERENCE: plot.chart.reference,
        AXIS_END: _longest(plot) * ROOM_FOR_FIGURES if figures_written(plot) else None,
    }


def _legend(plot: Plot) -> list[str]:
    return [*plot.series, *([plot.limit.label] if plot.limit is not None else [])]


def _legend_columns(names: list[str], room: float) -> int:
    """Return in how many columns the names fit into the room, written row by row."""
    widths = [LEGEND_MARK + min(LONGEST_LEGEND_NAME, LETTER_WIDTH * len(name)) for name in names]
    columns = range(min(MOST_LEGEND_COLUMNS, len(names)), 1, -1)
    return next((count for count in columns if sum(max(widths[at::count]) for at in range(count)) <= room), 1)


def _filled(part: Any, blanks: dict[str, Any]) -> Any:
    if isinstance(part, dict):
        return {name: _filled(value, blanks) for name, value in part.items()}
    if isinstance(part, list):
        return [_filled(value, blanks) for value in part]
    return blanks.get(part, part) if isinstance(part, str) else part


def _longest(plot: Plot) -> float:
    return max(float(point.y) for point in plot.points)


def _zero_in_sight(plot: Plot) -> bool:
    if plot.chart.mark in {Mark.SCATTER, Mark.GANTT}:
        return False
    values = [float(point.y) for point in plot.points]
    return 0 <= min(values) <= ZERO_IN_SIGHT * max(values)


def _days(plot: Plot) -> str:
    """Return the date format that tells neighbouring ticks apart over the span that is drawn."""
    if plot.x.scale is not Scale.DATE:
        return ""
    ends = [day for point in plot.points for day in (point.x, point.x2) if isinstance(day, date)]
    span = (max(ends) - min(ends)).days
    return "%Y" if span > DAYS_FOR_YEARS else "%b %Y" if span > DAYS_FOR_MONTHS else "%-d %b"


def _thousands(places: Iterable[str | float | date]) -> bool:
    return max((abs(place) for place in places if isinstance(place, int | float)), default=0) >= THOUSAND


def altair() -> Any:
    """Return Altair, untyped: its signatures list every literal that a mark could take."""
    import altair as alt

    return alt


@lru_cache(maxsize=256)
def layers_of_look(look: Look) -> list[dict[str, Any]]:
    """Return the layers of a look, their blanks unfilled."""
    return _written(lambda: _Drawing(look).layers())


@lru_cache(maxsize=1)
def _empty() -> list[dict[str, Any]]:
    return _written(lambda: [altair().Chart().mark_text(text="Nothing to show", color=MUTED, fontSize=13)])


def _written(draw: Callable[[], list[Any]]) -> list[dict[str, Any]]:
    """Return layers as Altair writes them, unchecked: that the whole is right is for the tests to check."""
    from altair.utils.schemapi import debug_mode

    with debug_mode(False):
        made = [layer.to_dict(validate=False, context={"top_level": False}) for layer in draw()]
    return [{name: part for name, part in layer.items() if name != "data"} for layer in made]


class _Drawing:
    """The layers of one chart: its marks, what is written on them, its limit and its reference."""

    def __init__(self, look: Look) -> None:
        self.alt = altair()
        self.look = look
        self.base = self.alt.Chart()

    def layers(self) -> list[Any]:
        """Return the layers, the lowest first."""
        draw: dict[Mark, Callable[[], list[Any]]] = {
            Mark.BAR: self._bars,
            Mark.STACKED_BAR: self._bars,
            Mark.LINE: self._lines,
            Mark.STEP: self._lines,
            Mark.AREA: self._areas,
            Mark.SCATTER: self._scatter,
            Mark.GANTT: self._gantt,
        }
        return [*draw[self.look.mark](), *self._limit(), *self._reference(), *self._written()]

    def _bars(self) -> list[Any]:
        alt = self.alt
        where = self._bar_places()
        if self._side_by_side():
            offset = alt.YOffset if self.look.lying else alt.XOffset
            where["yOffset" if self.look.lying else "xOffset"] = offset("series:N", sort=SERIES)
        return [self.base.mark_bar().encode(**where, color=self._color(), tooltip=self._tooltip())]

    def _side_by_side(self) -> bool:
        return self.look.several and self.look.mark is Mark.BAR

    def _bar_places(self) -> dict[str, Any]:
        stacked = self.look.several and not self._side_by_side()
        category = self._category(self.look.x)
        amount = self._amount(stack="zero" if stacked else None)
        return {"y": category, "x": amount} if self.look.lying else {"x": category, "y": amount}

    def _written(self) -> list[Any]:
        """Figures at the ends of a few bars, or names at a few marks, above all else and with a halo."""
        mark = self.look.mark
        if self.look.figures:
            place = {"align": "left", "dx": 5} if self.look.lying else {"baseline": "bottom", "dy": -4}
            return self._halo(place, {**self._bar_places(), "text": self.alt.Text("figure:N")})
        if not self.look.labels:
            return []
        if mark is Mark.GANTT:
            rows = self.alt.Y("y:N", sort=CATEGORIES)
            written = self.base.mark_text(align="left", dx=6, fontSize=10, color="white")
            return [written.encode(x=self._along(), y=rows, text=self.alt.Text("label:N"))]
        where = {"x": self._along(), "y": self._amount(), "text": self.alt.Text("label:N")}
        return [] if mark in BARS else self._halo({"align": "left", "dx": 8, "dy": -6}, where)

    def _halo(self, place: dict[str, Any], where: dict[str, Any]) -> list[Any]:
        behind = self.base.mark_text(fontSize=11, color="white", stroke="white", strokeWidth=4, opacity=0.85, **place)
        return [behind.encode(**where), self.base.mark_text(fontSize=11, color=INK, **place).encode(**where)]

    def _lines(self) -> list[Any]:
        shape = {"interpolate": "step-after"} if self.look.mark is Mark.STEP else {"point": self._dots()}
        line = self.base.mark_line(strokeWidth=2.5, strokeJoin="round", **shape)
        return [line.encode(x=self._along(), y=self._amount(), color=self._color(), tooltip=self._tooltip())]

    def _dots(self) -> Any:
        return self.alt.OverlayMarkDef(filled=True, size=36) if self.look.dotted else False

    def _areas(self) -> list[Any]:
        several = self.look.several
        look = {"opacity": 0.85} if several else {"opacity": 0.25, "line": {"strokeWidth": 2.5, "color": PALETTE[0]}}
        area = self.base.mark_area(**look)
        amount = self._amount(stack="zero" if several else None)
        return [area.encode(x=self._along(), y=amount, color=self._color(), tooltip=self._tooltip())]

    def _scatter(self) -> list[Any]:
        alt, many = self.alt, self.look.dense
        dots = self.base.mark_circle(
            opacity=0.6 if many else 0.85, size=36 if many else 80, stroke="white", strokeWidth=0.5
        )
        where = {"x": self._along(), "y": self._amount()}
        size = {"size": alt.Size("size:Q", scale=alt.Scale(range=[20, 500]), legend=None)} if self.look.size else {}
        return [dots.encode(**where, **size, color=self._color(), tooltip=self._tooltip())]

    def _gantt(self) -> list[Any]:
        alt = self.alt
        bars = self.base.mark_bar(cornerRadius=3, height=alt.RelativeBandSize(0.68)).encode(
            x=self._along(), x2="x2", y=self._category(self.look.y),
            color=self._color(), tooltip=self._tooltip(),
        )  # fmt: skip
        return [bars]

    def _limit(self) -> list[Any]:
        look, alt = self.look, self.alt
        if look.limit is None:
            return []
        kind = alt.Color(datum=look.limit.label)
        value = {"x": "limit:Q"} if self.look.lying else {"y": "limit:Q"}
        if self.look.mark in BARS:
            category = self._category(look.x)
            tick = self.base.mark_tick(thickness=2.5)
            return [tick.encode(**value, **({"y": category} if self.look.lying else {"x": category}), color=kind)]
        shape = {"interpolate": "step-after"} if self.look.mark is Mark.STEP else {}
        line = self.base.mark_line(strokeDash=[6, 4], strokeWidth=2, **shape)
        first = alt.FieldEqualPredicate(field="series", equal=FIRST_SERIES)
        return [line.transform_filter(first).encode(x=self._along(), **value, color=kind)]

    def _reference(self) -> list[Any]:
        if not self.look.reference:
            return []
        datum = self.alt.datum(REFERENCE)
        rule = self.base.mark_rule(color=LIMIT, strokeDash=[6, 4], strokeWidth=1.5)
        return [rule.encode(x=datum) if self.look.lying else rule.encode(y=datum)]

    def _color(self) -> Any:
        """Colour by series; the limit, where there is one, is a series of its own in the legend."""
        alt = self.alt
        symbol = "stroke" if self.look.mark in {Mark.LINE, Mark.STEP} else "square"
        columns, limit = self.look.legend_columns, LONGEST_LEGEND_NAME
        look = alt.Legend(labelLimit=limit, columns=columns, symbolType=symbol, symbolStrokeWidth=3)
        legend = look if self.look.several or self.look.limit else None
        return alt.Color("series:N", scale=alt.Scale(domain=LEGEND, range=COLORS), legend=legend)

    def _category(self, channel: Channel) -> Any:
        alt = self.alt
        flat = self.look.lying or self.look.mark is Mark.GANTT
        title = None if channel.column.unit is Unit.TEXT else channel.label
        axis = alt.Axis(title=title, labelAngle=self.look.angle, labelLimit=190, labelOverlap=self.look.crowded)
        field = "y:N" if self.look.mark is Mark.GANTT else "x:N"
        make = alt.Y if flat else alt.X
        return make(field, sort=CATEGORIES, axis=axis, scale=alt.Scale(paddingInner=0.28, paddingOuter=0.14))

    def _amount(self, stack: Any = None) -> Any:
        alt, look = self.alt, self.look
        title = None if look.several_y else look.y.header
        make = alt.X if look.lying else alt.Y
        room = {"domainMax": AXIS_END} if look.room else {}
        scale = alt.Scale(zero=look.zero, nice=True, **room)
        return make("y:Q", axis=self._axis(look.y, title, short=look.thousands[1]), stack=stack, scale=scale)

    def _along(self) -> Any:
        alt, channel = self.alt, self.look.x
        match channel.scale:
            case Scale.DATE:
                axis = alt.Axis(title=None, grid=self.look.mark is Mark.GANTT, format=self.look.days, tickCount=8)
                return alt.X("x:T", axis=axis, scale=alt.Scale(type="utc"))
            case Scale.NUMBER:
                scale = alt.Scale(zero=False, nice=self.look.mark is Mark.SCATTER, padding=8)
                axis = self._axis(channel, channel.header, short=self.look.thousands[0])
                return alt.X("x:Q", axis=axis, scale=scale)
            case Scale.CATEGORY:
                return self._category(channel)

    def _axis(self, channel: Channel, title: str | None, *, short: bool) -> Any:
        unit = channel.style.unit
        if unit is Unit.SHARE:
            return self.alt.Axis(title=title, format="~%", tickCount=6)
        compact = COMPACT.format(format="$~s" if unit is Unit.MONEY else "~s")
        plain = {"labelExpr": compact} if short else {"format": "$,~f" if unit is Unit.MONEY else ",~f"}
        return self.alt.Axis(title=title, tickCount=6, **plain)

    def _tooltip(self) -> list[Any]:
        look = self.look
        found = [self._tip("label", look.label)] if look.label else []
        found.append(self._tip("x", look.x))
        if look.ends:
            found.append(
                self.alt.Tooltip("x2", type="temporal" if look.x.scale is Scale.DATE else "quantitative", title="End")
            )
        found.append(self._tip("y", look.y, title="Value" if look.several_y else None))
        if look.several:
            found.append(self.alt.Tooltip("series:N", title="Series"))
        return [*found, *(self._tip(name, c) for name, c in (("limit", look.limit), ("size", look.size)) if c)]

    def _tip(self, field: str, channel: Channel, title: str | None = None) -> Any:
        name = title or channel.label
        gantt_row = self.look.mark is Mark.GANTT and field == "y"
        if field == "label" or gantt_row or (field == "x" and channel.scale is Scale.CATEGORY):
            return self.alt.Tooltip(f"{field}:N", title=name)
        if channel.scale is Scale.DATE:
            return self.alt.Tooltip(f"{field}:T", title=name, format="%Y-%m-%d")
        return self.alt.Tooltip(f"{field}:Q", title=name, format=chart_format(channel.style))
