import io
import json
from datetime import date
from typing import Any

import altair as alt
import msgspec
import pytest
from PIL import Image, ImageChops

from milpa.jobs import FileFormat
from solvers.report import Chart, Column, Mark, Report, Table, Unit
from tests.renderers import samples
from workers.renderers import chart_layers, chart_specs, render
from workers.renderers.chart import VEGA_LITE, spec
from workers.renderers.chart import picture as picture_of

EVERY = [samples.deals(), samples.every_chart()]


def spec_of(report: Report, name: str) -> dict[str, Any]:
    return next(made.spec for made in chart_specs(report) if made.name == name)


def differing(one: Image.Image, other: Image.Image) -> float:
    """The share of pixels, at a tenth of the size, that the data of a chart accounts for."""
    small = [image.convert("L").resize((300, 150)) for image in (one, other)]
    return sum(ImageChops.difference(*small).point(lambda v: v > 24).histogram()[1:]) / (300 * 150)


def marks(spec: dict[str, Any]) -> list[str]:
    return [layer["mark"]["type"] for layer in spec["layer"]]


@pytest.mark.parametrize("report", EVERY, ids=["deals", "every"])
def test_every_specification_is_valid_and_holds_its_data(report: Report) -> None:
    for made, chart in zip(chart_specs(report), report.charts, strict=True):
        assert (made.name, made.title) == (chart.name, chart.title)
        alt.LayerChart.from_dict(made.spec)
        assert json.loads(msgspec.json.encode(made.spec)) == made.spec
        assert made.spec["data"]["values"]
        assert not any("data" in layer for layer in made.spec["layer"])
        assert "url" not in json.dumps(made.spec)
        assert made.spec["title"]["text"] == [chart.title]


def test_charts_that_look_alike_share_layers_and_keep_their_own_names_and_figures() -> None:
    reports = [samples.deals(5), samples.deals(6), samples.every_chart(), samples.hostile("@series"), renamed()]

    def made() -> list[dict[str, Any]]:
        return [made.spec for report in reports for made in chart_specs(report)]

    alone = []
    for report in reports:
        chart_layers.layers_of_look.cache_clear()
        alone += [made.spec for made in chart_specs(report)]
    assert made() == alone
    assert chart_layers.layers_of_look.cache_info().hits > 0
    blanks = (chart_layers.CATEGORIES, chart_layers.LEGEND, chart_layers.COLORS, chart_layers.AXIS_END)
    assert not any(json.dumps(blank) in json.dumps(spec["layer"]) for spec in alone for blank in blanks)


def renamed() -> Report:
    """The deals, every text of them another one."""
    report = samples.deals(5)
    tables = [
        msgspec.structs.replace(
            table, rows=[tuple(f"{cell}'" if isinstance(cell, str) else cell for cell in row) for row in table.rows]
        )
        for table in report.tables
    ]
    return msgspec.structs.replace(report, tables=tables)


def test_the_schema_is_the_version_that_draws_it() -> None:
    assert alt.SCHEMA_VERSION.startswith(f"v{VEGA_LITE}")
    assert f"/v{VEGA_LITE}" in spec_of(samples.deals(), "by-city")["$schema"]


@pytest.mark.parametrize("report", EVERY, ids=["deals", "every"])
def test_a_picture_of_each_chart_has_300_dots_an_inch_and_the_size_of_its_specification(report: Report) -> None:
    files = render(report, FileFormat.PNG, stem="Plan 7")
    assert [file.name for file in files] == [f"plan-7-{chart.name}.png" for chart in report.charts]
    for file, made in zip(files, chart_specs(report), strict=True):
        assert file.media_type == "image/png"
        picture = Image.open(io.BytesIO(file.data))
        picture.load()
        assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.01)
        wanted = (made.spec["width"] * 300 / 72, made.spec["height"] * 300 / 72)
        assert picture.size == pytest.approx(wanted, rel=0.06)
        empty = Image.open(io.BytesIO(picture_of(made.spec | {"data": {"values": []}})))
        assert differing(picture, empty) > 0.01


def test_a_report_without_charts_has_no_pictures() -> None:
    assert render(samples.long_table(3), FileFormat.PNG, stem="x") == []


def test_bars_stand_in_the_order_of_the_table_with_their_limit_beside_them() -> None:
    spec = spec_of(samples.deals(), "by-sector")
    bar, limit = spec["layer"]
    assert marks(spec) == ["bar", "tick"]
    assert bar["encoding"]["x"]["sort"] == [row[0] for row in samples.deals().table("by_sector").rows]
    assert bar["encoding"]["color"]["scale"]["domain"] == ["Amount", "Cap"]
    assert limit["encoding"]["color"]["datum"] == "Cap"
    assert {value["limit"] for value in spec["data"]["values"]} == {samples.deals().table("by_sector").rows[0][3]}


def test_lying_bars_swap_their_axes_and_carry_their_figures() -> None:
    spec = spec_of(samples.deals(), "by-city")
    encoding = spec["layer"][0]["encoding"]
    assert (encoding["x"]["field"], encoding["y"]["field"]) == ("y", "x")
    assert marks(spec) == ["bar", "text", "text"]
    assert spec["data"]["values"][0]["figure"].startswith("€11.4M")


def test_a_scatter_has_colour_size_and_exact_tooltips() -> None:
    spec = spec_of(samples.deals(), "yield-risk")
    encoding = spec["layer"][0]["encoding"]
    assert encoding["size"]["field"] == "size"
    tips = {tip["title"]: tip.get("format") for tip in encoding["tooltip"]}
    assert tips == {"Risk": ".2%", "Yield rate": ".2%", "Series": None, "Price": "$,.0f"}
    assert spec["data"]["values"][0]["series"] == "Rejected", "large series lie beneath small ones"


def test_several_columns_become_series_and_stacked_ones_start_at_zero() -> None:
    spec = spec_of(samples.every_chart(), "uplift")
    assert {value["series"] for value in spec["data"]["values"]} == {"Uplift", "Rent"}
    assert spec["layer"][0]["encoding"]["y"]["stack"] == "zero"


@pytest.mark.parametrize(("width", "columns"), [(760, 4), (340, 2), (150, 1)])
def test_a_legend_has_as_many_columns_as_fit(width: int, columns: int) -> None:
    names = ["Senior mortgage", "Floating bank loan", "Mezzanine", "Equity", "Purchase price"]
    sides = Table(
        name="stack",
        title="Stack",
        columns=[Column(name="side", label="Side"), Column(name="layer", label="Layer"), Column(name="x", label="X")],
        rows=[("Sources", name, 1.0) for name in names],
    )
    chart = Chart(name="stack", title="", mark=Mark.STACKED_BAR, table="stack", x="side", y=["x"], color="layer")
    made = spec(chart, Report(title="", tables=[sides], charts=[chart]), width=width)
    assert made["layer"][0]["encoding"]["color"]["legend"]["columns"] == columns


def test_a_step_runs_until_the_next_point_and_its_limit_is_dashed() -> None:
    spec = spec_of(samples.every_chart(), "spending")
    steps, limit = spec["layer"]
    assert steps["mark"]["interpolate"] == limit["mark"]["interpolate"] == "step-after"
    assert limit["mark"]["strokeDash"]


def test_a_reference_is_one_rule_at_its_value() -> None:
    assert spec_of(samples.every_chart(), "dscr")["layer"][1]["encoding"] == {"y": {"datum": 1.25}}


def test_a_gantt_runs_from_start_to_end_in_utc() -> None:
    spec = spec_of(samples.every_chart(), "gantt")
    first = spec["data"]["values"][0]
    assert (first["x"], first["x2"], first["y"]) == ("2026-01-01", "2026-05-31", "Roof and façade")
    assert spec["layer"][0]["encoding"]["x"]["scale"]["type"] == "utc"


def test_the_currency_is_in_the_configuration_and_never_in_an_expression() -> None:
    report = msgspec.structs.replace(samples.deals(), currency="'+alert(1)+'")
    spec = spec_of(report, "by-sector")
    assert spec["config"]["locale"]["number"]["currency"] == ["alert1 ", ""]
    assert "alert" not in json.dumps(spec["layer"][0]["encoding"]["y"]["axis"]["labelExpr"])


def cloud(count: int) -> Report:
    rows = [(i % 977, (i * 31) % 1009, "Rejected") for i in range(count)] + [(3, 2000, "Bought")] * 5
    columns = [
        Column(name="x", label="X", unit=Unit.NUMBER),
        Column(name="y", label="Y", unit=Unit.NUMBER),
        Column(name="c", label="C"),
    ]
    charts = [Chart(name="c", title="Cloud", mark=Mark.SCATTER, table="t", x="x", y=["y"], color="c")]
    return Report(title="R", tables=[Table(name="t", title="T", columns=columns, rows=rows)], charts=charts)


def test_a_large_scatter_is_thinned_and_its_subtitle_says_so() -> None:
    spec = spec_of(cloud(100_000), "c")
    values = spec["data"]["values"]
    assert len(values) <= 5_000
    assert sum(value["series"] == "Bought" for value in values) == 5
    assert spec["title"]["subtitle"].endswith("of 100,005 points shown: extremes kept, the rest evenly sampled.")


def test_missing_values_are_left_out() -> None:
    rows = [("a", 1.0), ("b", None), ("c", float("nan")), ("d", float("inf")), (None, 2.0)]
    table = Table(
        name="t",
        title="T",
        columns=[Column(name="x", label="X"), Column(name="y", label="Y", unit=Unit.NUMBER)],
        rows=rows,
    )
    chart = Chart(name="c", title="C", mark=Mark.BAR, table="t", x="x", y=["y"])
    values = spec_of(Report(title="R", tables=[table], charts=[chart]), "c")["data"]["values"]
    assert [(value["x"], value["y"]) for value in values] == [("a", 1.0), ("–", 2.0)]


def test_nothing_to_show_is_said() -> None:
    table = Table(name="t", title="T", columns=[Column(name="x", label="X")], rows=[])
    report = Report(
        title="R", tables=[table], charts=[Chart(name="c", title="C", mark=Mark.LINE, table="t", x="x", y=["x"])]
    )
    assert spec_of(report, "c")["layer"][0]["mark"]["text"] == "Nothing to show"
    assert len(render(report, FileFormat.PNG, stem="r")) == 1


@pytest.mark.parametrize("x", [[date(2026, 1, 1), date(2026, 1, 5)], ["2026-01", "2026-02"], [0, 7], [0.5, 7.25]])
@pytest.mark.parametrize("mark", [mark for mark in Mark if mark is not Mark.GANTT])
def test_every_mark_takes_every_kind_of_axis(mark: Mark, x: list[Any]) -> None:
    unit = Unit.NUMBER if isinstance(x[0], int | float) else Unit.DATE
    columns = [
        Column(name="x", label="X", unit=unit),
        Column(name="y", label="Y", unit=Unit.MONEY),
        Column(name="c", label="C"),
    ]
    rows = [(x[0], 1.0, "a"), (x[1], 2.0, "b"), (x[1], 3.0, "a")]
    chart = Chart(
        name="c", title="C", mark=mark, table="t", x="x", y=["y"], color="c", limit="y", reference=2.0, label="c"
    )
    report = Report(
        title="R", currency="EUR", tables=[Table(name="t", title="T", columns=columns, rows=rows)], charts=[chart]
    )
    for format in FileFormat:  # noqa: A001 (the house's word)
        assert all(file.data for file in render(report, format, stem="r"))


@pytest.mark.parametrize("count", [1, 3])
def test_a_gantt_of_months_counts_them(count: int) -> None:
    columns = [Column(name=n, label=n, unit=Unit.MONTHS) for n in ("start", "end")] + [Column(name="p", label="P")]
    rows = [(i, i + 2, f"Project {i}") for i in range(count)]
    chart = Chart(name="c", title="C", mark=Mark.GANTT, table="t", x="start", x2="end", y=["p"], label="p")
    report = Report(title="R", tables=[Table(name="t", title="T", columns=columns, rows=rows)], charts=[chart])
    alt.LayerChart.from_dict(spec_of(report, "c"))
    for format in FileFormat:  # noqa: A001 (the house's word)
        assert all(file.data for file in render(report, format, stem="r"))


@pytest.mark.parametrize("wrong", [{"table": "no"}, {"x": "no"}, {"limit": "no"}])
def test_a_chart_that_names_what_is_not_there_is_refused(wrong: dict[str, str]) -> None:
    report = samples.deals()
    chart = msgspec.structs.replace(report.charts[0], **wrong)
    with pytest.raises(KeyError, match="no"):
        chart_specs(msgspec.structs.replace(report, charts=[chart]))


@pytest.mark.parametrize("label", ["\\", '\\": 1, "', '"+alert(1)+"', "'", "${1}", "`", "a\\\\", "datum['x']"])
def test_neither_labels_nor_data_can_break_into_an_expression(label: str) -> None:
    columns = [Column(name=n, label=label, unit=Unit.NUMBER) for n in "xyz"] + [Column(name="c", label=label)]
    rows = [(1.0, 2.0, 3.0, label), (2.0, 1.0, 3.0, label + "b")]
    table = Table(name="t", title="T", columns=columns, rows=rows)
    charts = [
        Chart(name=mark, title=label, mark=mark, table="t", x="c", y=["y", "z"], limit="z", color="c", label="c")
        for mark in Mark
        if mark is not Mark.GANTT
    ]
    charts.append(
        Chart(name="g", title=label, mark=Mark.GANTT, table="t", x="x", x2="z", y=["c"], color="c", label="c")
    )
    report = Report(title="R", currency=label, tables=[table], charts=charts)
    for format in (FileFormat.XLSX, FileFormat.PNG):  # noqa: A001 (the house's word)
        assert all(file.data for file in render(report, format, stem="r"))
