"""Charts: Vega-Lite specifications with their data inside, and pictures of them."""

import re
import textwrap
from datetime import date
from functools import cache
from typing import Any

import msgspec

from solvers.report import Chart, Mark, Report, Unit
from workers.renderers.chart_layers import altair, figures_written, layers_of
from workers.renderers.figures import compact, money_prefix
from workers.renderers.plot import Plot, Point, groups, resolve
from workers.renderers.text import UNKNOWN, clean
from workers.renderers.theme import FONTS, chart_config

WIDTH = 760
HEIGHT = 420
BAR_STEP = 26
FRAME = 130
DPI = 300
TITLE_CHARACTERS = 80
VEGA_LITE = "6.4"
_PAIRS = re.compile("[\U00010000-\U0010ffff]")


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
        "$schema": altair().SCHEMA_URL,
        "data": {"values": _values(plot) or [{}]},
        "layer": layers_of(plot, width),
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


def natural_height(plot: Plot) -> int:
    """Return the height that shows every row of a lying chart, in pixels."""
    if plot.chart.mark is Mark.GANTT or plot.chart.horizontal:
        side_by_side = len(plot.series) if plot.chart.mark is Mark.BAR else 1
        return FRAME + BAR_STEP * max(4, len(plot.categories) * max(1, round(side_by_side * 0.7)))
    return HEIGHT


def picture(made: dict[str, Any], *, dpi: int = DPI) -> bytes:
    """Return a PNG of a specification: `dpi` pixels for 72 of the specification, which its header says too.

    What UTF-16 writes as a pair, such as an emoji, is a box: Vega cuts a long label amid a pair, and breaks.
    """
    drawable = _PAIRS.sub(UNKNOWN, msgspec.json.encode(made).decode())
    return bytes(_converter().vegalite_to_png(drawable, vl_version=VEGA_LITE, ppi=dpi))


@cache
def _converter() -> Any:
    """Return vl-convert, knowing our fonts: it finds no others on a machine without any."""
    import vl_convert

    vl_convert.register_font_directory(str(FONTS))
    return vl_convert


def warm() -> None:
    """Load what draws: the first chart of a process takes half a second longer than the next."""
    _converter().vegalite_to_svg({"mark": "point", "data": {"values": []}}, vl_version=VEGA_LITE)
    altair()


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
        "figure": compact(point.y, plot.y[0].style) if figures_written(plot) and not isinstance(point.y, str) else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _plain(place: str | float | date | None) -> str | float | None:
    return place.isoformat() if isinstance(place, date) else place
