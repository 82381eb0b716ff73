"""The points of a frontier: which are dominated, and their picture."""

from typing import Any
from uuid import UUID

import msgspec

from api.payloads import ChartSpec
from milpa.jobs import JobState, Outcome
from solvers.kind import Sense
from solvers.report import Unit

SAME = 1e-6
"""Of the objective: two values closer than this are the same to whoever compares answers."""
_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
_FORMATS = {Unit.SHARE: ".1%", Unit.MONEY: ",.0f", Unit.WHOLE: ",d"}
_BLUE, _GREY = "#24598F", "#94A3B8"


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One value of the limit. objective: null when there is no solution; dominated: null then too."""

    value: float
    objective: float | None
    state: JobState
    outcome: Outcome | None
    job_id: UUID
    dominated: bool | None = None


def mark_dominated(points: list[Point], better: Sense, sense: Sense) -> list[Point]:
    """Return the points, each with whether another one is no worse in limit and objective, and better in one.

    better: which limit is the better one; sense: which objective is. Objectives within a millionth count as equal.
    """
    return [
        point
        if point.objective is None
        else msgspec.structs.replace(point, dominated=any(_dominates(other, point, better, sense) for other in points))
        for point in points
    ]


def _dominates(one: Point, other: Point, better: Sense, sense: Sense) -> bool:
    if one.objective is None or other.objective is None:
        return False
    limit = _gain(one.value, other.value, better)
    objective = _gain(one.objective, other.objective, sense)
    room = SAME * max(1.0, abs(other.objective))
    return limit >= 0 and objective >= -room and (limit > 0 or objective > room)


def _gain(one: float, other: float, sense: Sense) -> float:
    return one - other if sense is Sense.MAXIMIZE else other - one


def frontier_chart(points: list[Point], label: str, unit: Unit) -> ChartSpec:
    """Return the curve through the points that have a solution; those that are dominated are grey."""
    values = [
        {
            "value": point.value,
            "objective": point.objective,
            "point": "dominated" if point.dominated else "efficient",
        }
        for point in points
        if point.objective is not None
    ]
    form = _FORMATS.get(unit)
    x = _axis("value", label) | ({"axis": {"format": form}} if form else {})
    y = _axis("objective", "Objective")
    color = {
        "field": "point",
        "type": "nominal",
        "title": None,
        "scale": {"domain": ["efficient", "dominated"], "range": [_BLUE, _GREY]},
    }
    spec: dict[str, Any] = {
        "$schema": _SCHEMA,
        "title": f"Objective against {label[:1].lower()}{label[1:]}",
        "width": 640,
        "height": 360,
        "data": {"values": values},
        "layer": [
            {"mark": {"type": "line", "color": _GREY}, "encoding": {"x": x, "y": y}},
            {
                "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1, "tooltip": True},
                "encoding": {"x": x, "y": y, "color": color},
            },
        ],
    }
    return ChartSpec(name="frontier", title=spec["title"], spec=spec)


def _axis(field: str, title: str) -> dict[str, Any]:
    return {"field": field, "type": "quantitative", "title": title, "scale": {"zero": False}}
