"""One look for every picture: colours, type and the configuration of charts."""

from pathlib import Path
from typing import Any

FONTS = Path(__file__).with_name("fonts")
FONT = "Lato"

NAVY = "#16324F"
INK = "#1F2933"
MUTED = "#64748B"
HAIRLINE = "#D9E0E7"
PAPER = "#F4F7FA"
LIMIT = "#C0392B"
PALETTE = (
    "#24598F",  # blue
    "#E3A33B",  # amber
    "#2A9D8F",  # teal
    "#B5536B",  # berry
    "#7A8CA3",  # slate
    "#8AA04B",  # olive
    "#6C5BA7",  # violet
    "#5FB0D3",  # sky
    "#C97B45",  # copper
    "#3D6B5C",  # pine
)


def chart_config(currency_prefix: str) -> dict[str, Any]:
    """Return the Vega-Lite configuration of every chart; "$" in a number format becomes `currency_prefix`."""
    label = {"labelColor": MUTED, "labelFontSize": 11, "titleColor": INK, "titleFontSize": 11, "titleFontWeight": 400}
    return {
        "font": FONT,
        "background": "white",
        "padding": 14,
        "locale": {
            "number": {"decimal": ".", "thousands": ",", "grouping": [3], "currency": [currency_prefix, ""]},
        },
        "title": {
            "anchor": "start",
            "frame": "group",
            "color": NAVY,
            "fontSize": 16,
            "fontWeight": 700,
            "subtitleColor": MUTED,
            "subtitleFontSize": 11,
            "subtitlePadding": 4,
            "offset": 14,
        },
        "axis": {
            **label,
            "gridColor": HAIRLINE,
            "domain": False,
            "ticks": False,
            "labelPadding": 6,
            "labelSeparation": 6,
            "titlePadding": 10,
        },
        "axisBand": {"grid": False, "domain": True, "domainColor": MUTED, "labelColor": INK},
        "legend": {
            **label,
            "orient": "top",
            "title": None,
            "labelColor": INK,
            "symbolType": "square",
            "symbolOpacity": 1,
            "offset": 8,
        },
        "view": {"stroke": None},
        "bar": {"cornerRadiusEnd": 2},
        "range": {"category": list(PALETTE)},
    }
