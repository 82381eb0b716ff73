"""Charts: Vega-Lite specifications with their data inside, and pictures of them."""

import textwrap
from collections.abc import Callable
from datetime import date
from functools import cache
from typing import Any

import msgspec

from solvers.report import Chart, Mark, Report, Unit
from workers.renderers.figures import chart_format, compact, money_prefix
from workers.renderers.plot import BARS, Channel, Plot, Point, Scale, groups, resolve
from workers.renderers.text import clean
from workers.renderers.theme import FONTS, INK, LIMIT, MUTED, PALETTE, chart_config
from workers.renderers.thinning import MAX_CATEGORIES

WIDTH = 760
HEIGHT = 420
BAR_STEP = 26
FRAME = 130
DPI = 300
TITLE_CHARACTERS = 80
MOST_LABELLED_BARS = 14
MOST_LABELLED_POINTS = 20
MOST_DOTTED_POINTS = 40
LETTER_WIDTH, LABEL_GAP, AXIS_WIDTH = 6, 8, 70
"""Of text in 11-pixel type, in pixels: enough to tell whether labels fit beside each other."""
ZERO_IN_SIGHT = 0.5
THOUSAND = 1000
ROOM_FOR_FIGURES = 1.2
DAYS_FOR_YEARS = 8 * 365
DAYS_FOR_MONTHS = 180
VEGA_LITE = "6.4"
COMPACT = "replace(format(datum.value, '{format}'), 'G', 'B')"


class ChartSpec(msgspec.Struct, frozen=True):
    """A chart as a Vega-Lite specification with its data inside."""

    name: str
    title: str
    spec: dict[str, Any]


def chart_specs(report: Report) -> list[ChartSpec]:
    """Return the specification of every chart of a report. KeyError: a chart names what its report does not have."""
    return [ChartSpec(chart.name, clean(chart.title), spec(chart, report)) for chart in report.charts]


def spec(
    chart: Chart, report: Report, *, width: int = WIDTH, height: int | None = None, titled: bool = True
) -> dict[str, Any]:
    """Return one chart; `width` and `height` in pixels hold all of it, titles and legends too."""
    return spec_of(resolve(chart, report), width=width, height=height, titled=titled)


def spec_of(plot: Plot, *, width: int, height: int | None, titled: bool) -> dict[str, Any]:
    """Return the specification of a chart that is already resolved."""
    made: dict[str, Any] = {
        "$schema": _altair().SCHEMA_URL,
        "data": {"values": _values(plot) or [{}]},
        "layer": _layers(plot, width),
        "width": width,
        "height": height or natural_height(plot),
        "autosize": {"type": "fit", "contains": "padding"},
    }
    if titled:
        made["title"] = {"text": textwrap.wrap(plot.title, TITLE_CHARACTERS) or [""]}
        made["title"] |= {"subtitle": plot.note} if plot.note else {}
    styles = [channel.style for channel in plot.y if channel.style.unit is Unit.MONEY] or [plot.x.style]
    made["config"] = chart_config(money_prefix(styles[0].currency))
    return made


def _layers(plot: Plot, width: int) -> list[dict[str, Any]]:
    """Return the layers as Altair writes them.

    Put together here and not by Altair, which copies and checks each part at every step and takes six times as long;
    that the whole is right is for the tests to check.
    """
    from altair.utils.schemapi import debug_mode

    with debug_mode(False):
        layers = _Drawing(plot, width).layers() if plot.points else [_nothing()]
        made = [layer.to_dict(validate=False, context={"top_level": False}) for layer in layers]
    return [{name: part for name, part in layer.items() if name != "data"} for layer in made]


def natural_height(plot: Plot) -> int:
    """Return the height that shows every row of a lying chart, in pixels."""
    if plot.chart.mark is Mark.GANTT or plot.chart.horizontal:
        side_by_side = len(plot.series) if plot.chart.mark is Mark.BAR else 1
        return FRAME + BAR_STEP * max(4, len(plot.categories) * max(1, round(side_by_side * 0.7)))
    return HEIGHT


def picture(made: dict[str, Any], *, dpi: int = DPI) -> bytes:
    """Return a PNG of a specification: `dpi` pixels for 72 of the specification, which its header says too."""
    return bytes(_converter().vegalite_to_png(made, vl_version=VEGA_LITE, ppi=dpi))


@cache
def _converter() -> Any:
    """Return vl-convert, knowing our fonts: it finds no others on a machine without any."""
    import vl_convert

    vl_convert.register_font_directory(str(FONTS))
    return vl_convert


def _altair() -> Any:
    """Return Altair, untyped: its signatures list every literal that a mark could take."""
    import altair as alt

    return alt


def warm() -> None:
    """Load what draws: the first chart of a process takes half a second longer than the next."""
    _converter().vegalite_to_svg({"mark": "point", "data": {"values": []}}, vl_version=VEGA_LITE)
    _altair()


def _values(plot: Plot) -> list[dict[str, Any]]:
    """Return one record for each point, the large series first so that they are drawn beneath the small ones."""
    if plot.chart.mark is not Mark.SCATTER:
        return [_value(plot, point) for point in plot.points]
    return [
        _value(plot, point) for members in sorted(groups(plot).values(), key=len, reverse=True) for point in members
    ]


def _value(plot: Plot, point: Point) -> dict[str, Any]:
    found = {
        "x": _plain(point.x),
        "y": point.y,
        "series": point.series,
        "x2": _plain(point.x2),
        "limit": plot.figure(point, plot.limit),
        "size": plot.figure(point, plot.size),
        "label": plot.words(point, plot.label),
        "figure": compact(point.y, plot.y[0].style)
        if _figures_written(plot) and not isinstance(point.y, str)
        else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _figures_written(plot: Plot) -> bool:
    """Tell whether there are few enough bars to write its figure beside each."""
    few = len(plot.series) == 1 and len(plot.categories) <= MOST_LABELLED_BARS
    return plot.chart.mark in BARS and few and plot.limit is None


def _plain(place: str | float | date | None) -> str | float | None:
    return place.isoformat() if isinstance(place, date) else place


def _nothing() -> Any:
    return _altair().Chart().mark_text(text="Nothing to show", color=MUTED, fontSize=13)


class _Drawing:
    """The layers of one chart: its marks, what is written on them, its limit and its reference."""

    def __init__(self, plot: Plot, width: int) -> None:
        """Take a chart and the width of all of it, in pixels."""
        self.alt = _altair()
        self.plot = plot
        self.width = width
        self.chart = plot.chart
        self.lying = plot.chart.horizontal and plot.chart.mark in BARS
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
        return [*draw[self.chart.mark](), *self._limit(), *self._reference(), *self._written()]

    def _bars(self) -> list[Any]:
        alt = self.alt
        where = self._bar_places()
        if self._side_by_side():
            offset = alt.YOffset if self.lying else alt.XOffset
            where["yOffset" if self.lying else "xOffset"] = offset("series:N", sort=self.plot.series)
        return [self.base.mark_bar().encode(**where, color=self._color(), tooltip=self._tooltip())]

    def _side_by_side(self) -> bool:
        return len(self.plot.series) > 1 and self.chart.mark is Mark.BAR

    def _bar_places(self) -> dict[str, Any]:
        stacked = len(self.plot.series) > 1 and not self._side_by_side()
        category = self._category(self.plot.x, self.plot.categories)
        amount = self._amount(stack="zero" if stacked else None)
        return {"y": category, "x": amount} if self.lying else {"x": category, "y": amount}

    def _written(self) -> list[Any]:
        """Figures at the ends of a few bars, or names at a few marks, above all else and with a halo."""
        plot, mark = self.plot, self.chart.mark
        if _figures_written(plot):
            place = {"align": "left", "dx": 5} if self.lying else {"baseline": "bottom", "dy": -4}
            return self._halo(place, {**self._bar_places(), "text": self.alt.Text("figure:N")})
        if not plot.label or len(plot.points) > MOST_LABELLED_POINTS:
            return []
        if mark is Mark.GANTT:
            rows = self.alt.Y("y:N", sort=plot.categories)
            written = self.base.mark_text(align="left", dx=6, fontSize=10, color="white")
            return [written.encode(x=self._along(), y=rows, text=self.alt.Text("label:N"))]
        where = {"x": self._along(), "y": self._amount(), "text": self.alt.Text("label:N")}
        return [] if mark in BARS else self._halo({"align": "left", "dx": 8, "dy": -6}, where)

    def _halo(self, place: dict[str, Any], where: dict[str, Any]) -> list[Any]:
        behind = self.base.mark_text(fontSize=11, color="white", stroke="white", strokeWidth=4, opacity=0.85, **place)
        return [behind.encode(**where), self.base.mark_text(fontSize=11, color=INK, **place).encode(**where)]

    def _lines(self) -> list[Any]:
        shape = {"interpolate": "step-after"} if self.chart.mark is Mark.STEP else {"point": self._dots()}
        line = self.base.mark_line(strokeWidth=2.5, strokeJoin="round", **shape)
        return [line.encode(x=self._along(), y=self._amount(), color=self._color(), tooltip=self._tooltip())]

    def _dots(self) -> Any:
        few = len(self.plot.points) <= MOST_DOTTED_POINTS * len(self.plot.series)
        return self.alt.OverlayMarkDef(filled=True, size=36) if few else False

    def _areas(self) -> list[Any]:
        several = len(self.plot.series) > 1
        look = {"opacity": 0.85} if several else {"opacity": 0.25, "line": {"strokeWidth": 2.5, "color": PALETTE[0]}}
        area = self.base.mark_area(**look)
        amount = self._amount(stack="zero" if several else None)
        return [area.encode(x=self._along(), y=amount, color=self._color(), tooltip=self._tooltip())]

    def _scatter(self) -> list[Any]:
        alt, plot = self.alt, self.plot
        many = len(plot.points) > MOST_DOTTED_POINTS * 10
        dots = self.base.mark_circle(
            opacity=0.6 if many else 0.85, size=36 if many else 80, stroke="white", strokeWidth=0.5
        )
        where = {"x": self._along(), "y": self._amount()}
        size = {"size": alt.Size("size:Q", scale=alt.Scale(range=[20, 500]), legend=None)} if plot.size else {}
        return [dots.encode(**where, **size, color=self._color(), tooltip=self._tooltip())]

    def _gantt(self) -> list[Any]:
        alt = self.alt
        bars = self.base.mark_bar(cornerRadius=3, height=alt.RelativeBandSize(0.68)).encode(
            x=self._along(), x2="x2", y=self._category(self.plot.y[0], self.plot.categories),
            color=self._color(), tooltip=self._tooltip(),
        )  # fmt: skip
        return [bars]

    def _limit(self) -> list[Any]:
        plot, alt = self.plot, self.alt
        if plot.limit is None:
            return []
        kind = alt.Color(datum=plot.limit.label)
        value = {"x": "limit:Q"} if self.lying else {"y": "limit:Q"}
        if self.chart.mark in BARS:
            category = self._category(plot.x, plot.categories)
            tick = self.base.mark_tick(thickness=2.5)
            return [tick.encode(**value, **({"y": category} if self.lying else {"x": category}), color=kind)]
        shape = {"interpolate": "step-after"} if self.chart.mark is Mark.STEP else {}
        line = self.base.mark_line(strokeDash=[6, 4], strokeWidth=2, **shape)
        first = alt.FieldEqualPredicate(field="series", equal=plot.series[0])
        return [line.transform_filter(first).encode(x=self._along(), **value, color=kind)]

    def _reference(self) -> list[Any]:
        if self.chart.reference is None:
            return []
        datum = self.alt.datum(self.chart.reference)
        rule = self.base.mark_rule(color=LIMIT, strokeDash=[6, 4], strokeWidth=1.5)
        return [rule.encode(x=datum) if self.lying else rule.encode(y=datum)]

    def _color(self) -> Any:
        """Colour by series; the limit, where there is one, is a series of its own in the legend."""
        alt, names = self.alt, list(self.plot.series)
        colors = [PALETTE[i % len(PALETTE)] for i in range(len(names))]
        if self.plot.limit:
            names, colors = [*names, self.plot.limit.label], [*colors, LIMIT]
        symbol = "stroke" if self.chart.mark in {Mark.LINE, Mark.STEP} else "square"
        look = alt.Legend(labelLimit=220, columns=4, symbolType=symbol, symbolStrokeWidth=3)
        legend = look if len(names) > 1 else None
        return alt.Color("series:N", scale=alt.Scale(domain=names, range=colors), legend=legend)

    def _category(self, channel: Channel, names: list[str]) -> Any:
        alt = self.alt
        flat = self.lying or self.chart.mark is Mark.GANTT
        title = None if channel.column.unit is Unit.TEXT else channel.label
        needed = sum(len(label) * LETTER_WIDTH + LABEL_GAP for label in names)
        angle = 0 if flat or needed <= self.width - AXIS_WIDTH else -40
        crowded = not flat and len(names) > MAX_CATEGORIES
        axis = alt.Axis(title=title, labelAngle=angle, labelLimit=190, labelOverlap=crowded)
        field = "y:N" if self.chart.mark is Mark.GANTT else "x:N"
        make = alt.Y if flat else alt.X
        return make(field, sort=names, axis=axis, scale=alt.Scale(paddingInner=0.28, paddingOuter=0.14))

    def _amount(self, stack: Any = None) -> Any:
        alt, channel = self.alt, self.plot.y[0]
        title = channel.header if len(self.plot.y) == 1 else None
        axis = self._axis(channel, title)
        zero = self.chart.mark in {*BARS, Mark.AREA} or self._zero_in_sight()
        make = alt.X if self.lying else alt.Y
        room = self._room_for_figures()
        return make("y:Q", axis=axis, stack=stack, scale=alt.Scale(zero=zero, nice=True, **room))

    def _room_for_figures(self) -> dict[str, float]:
        """Lengthen the axis of lying bars, so that the figure beside the longest is not cut."""
        longest = max(float(point.y) for point in self.plot.points)
        return (
            {"domainMax": longest * ROOM_FOR_FIGURES}
            if self.lying and longest > 0 and _figures_written(self.plot)
            else {}
        )

    def _zero_in_sight(self) -> bool:
        if self.chart.mark is Mark.SCATTER:
            return False
        values = [float(point.y) for point in self.plot.points]
        return 0 <= min(values) <= ZERO_IN_SIGHT * max(values)

    def _along(self) -> Any:
        alt, channel = self.alt, self.plot.x
        match channel.scale:
            case Scale.DATE:
                axis = alt.Axis(title=None, grid=self.chart.mark is Mark.GANTT, format=self._days(), tickCount=8)
                return alt.X("x:T", axis=axis, scale=alt.Scale(type="utc"))
            case Scale.NUMBER:
                scale = alt.Scale(zero=False, nice=self.chart.mark is Mark.SCATTER, padding=8)
                return alt.X("x:Q", axis=self._axis(channel, channel.header), scale=scale)
            case Scale.CATEGORY:
                return self._category(channel, self.plot.categories)

    def _days(self) -> str:
        """Return the date format that tells neighbouring ticks apart over the span that is drawn."""
        ends = [day for point in self.plot.points for day in (point.x, point.x2) if isinstance(day, date)]
        span = (max(ends) - min(ends)).days
        return "%Y" if span > DAYS_FOR_YEARS else "%b %Y" if span > DAYS_FOR_MONTHS else "%-d %b"

    def _axis(self, channel: Channel, title: str | None) -> Any:
        unit = channel.style.unit
        if unit is Unit.SHARE:
            return self.alt.Axis(title=title, format="~%", tickCount=6)
        compact = COMPACT.format(format="$~s" if unit is Unit.MONEY else "~s")
        small = max((abs(v) for v in self._figures(channel)), default=0) < THOUSAND
        plain = {"format": "$,~f" if unit is Unit.MONEY else ",~f"} if small else {"labelExpr": compact}
        return self.alt.Axis(title=title, tickCount=6, **plain)

    def _figures(self, channel: Channel) -> list[float]:
        on_x = channel is self.plot.x
        return [v for p in self.plot.points if isinstance(v := p.x if on_x else p.y, int | float)]

    def _tooltip(self) -> list[Any]:
        plot = self.plot
        found = [self._tip("label", plot.label)] if plot.label else []
        found.append(self._tip("x", plot.x))
        if self.chart.x2:
            found.append(
                self.alt.Tooltip("x2", type="temporal" if plot.x.scale is Scale.DATE else "quantitative", title="End")
            )
        found.append(self._tip("y", plot.y[0], title="Value" if len(plot.y) > 1 else None))
        if len(plot.series) > 1:
            found.append(self.alt.Tooltip("series:N", title="Series"))
        return [*found, *(self._tip(name, c) for name, c in (("limit", plot.limit), ("size", plot.size)) if c)]

    def _tip(self, field: str, channel: Channel, title: str | None = None) -> Any:
        name = title or channel.label
        gantt_row = self.chart.mark is Mark.GANTT and field == "y"
        if field == "label" or gantt_row or (field == "x" and channel.scale is Scale.CATEGORY):
            return self.alt.Tooltip(f"{field}:N", title=name)
        if channel.scale is Scale.DATE:
            return self.alt.Tooltip(f"{field}:T", title=name, format="%Y-%m-%d")
        return self.alt.Tooltip(f"{field}:Q", title=name, format=chart_format(channel.style))
