import io
import re
import zipfile
from datetime import datetime
from typing import Any

import msgspec
import openpyxl
import pytest
from openpyxl import Workbook
from openpyxl.chart import AreaChart, BarChart, LineChart, ScatterChart

from milpa.jobs import FileFormat
from solvers.report import Chart, Column, Mark, Report, Table, Unit
from tests.renderers import samples
from workers.renderers import render


def read(report: Report, *, values: bool = False) -> Workbook:
    (file,) = render(report, FileFormat.XLSX, stem="plan")
    assert file.name == "plan.xlsx"
    return openpyxl.load_workbook(io.BytesIO(file.data), data_only=values)


@pytest.fixture(scope="module")
def book() -> Workbook:
    return read(samples.deals())


@pytest.fixture(scope="module")
def cached() -> Workbook:
    return read(samples.deals(), values=True)


def test_there_is_a_summary_and_one_sheet_for_each_table_those_for_charts_only_last(book: Workbook) -> None:
    assert book.sheetnames == [
        "Summary",
        "What to buy",
        "By sector",
        "By city",
        "Frontier",
        "Yield against risk",
        "Chart data",
    ]
    assert book["Chart data"].sheet_state == "hidden"


def test_the_summary_says_title_facts_and_sentences(book: Workbook) -> None:
    report = samples.deals()
    cells = {cell.value: cell for row in book["Summary"].iter_rows() for cell in row if cell.value is not None}
    assert report.title in cells
    assert set(report.sentences) <= set(cells)
    for fact in report.facts:
        cell = cells[fact.label]
        value = book["Summary"].cell(cell.row, cell.column + 1)
        wanted = datetime(2026, 3, 31) if fact.unit is Unit.DATE else fact.value  # noqa: DTZ001
        assert value.value == (pytest.approx(wanted) if isinstance(wanted, float) else wanted)
    assert book["Summary"].cell(cells["Yield a year"].row, 3).number_format == '"€"#,##0'
    assert book["Summary"].cell(cells["Yield on cost"].row, 3).number_format == "0.00%"


def test_the_summary_links_to_every_sheet(book: Workbook) -> None:
    links = [cell.hyperlink.location for row in book["Summary"].iter_rows() for cell in row if cell.hyperlink]
    assert links == [f"'{name}'!A1" for name in book.sheetnames[1:-1]]


def test_values_are_numbers_in_the_formats_of_their_units(cached: Workbook) -> None:
    table, sheet = samples.deals().tables[0], cached["What to buy"]
    for i, row in enumerate(table.rows):
        read_back = [cell.value for cell in sheet[i + 2]]
        assert read_back == [pytest.approx(cell) if isinstance(cell, float) else cell for cell in row]
    assert [cell.number_format for cell in sheet[2]][4:] == ['"€"#,##0', "0%", '"€"#,##0', '"€"#,##0', "0.00%"]


def test_the_header_is_frozen_formatted_and_filters(book: Workbook) -> None:
    sheet = book["What to buy"]
    assert [cell.value for cell in sheet[1]] == [column.label for column in samples.deals().tables[0].columns]
    assert sheet.freeze_panes == "B2"
    assert sheet.auto_filter.ref == "A1:I31"
    assert all(cell.font.bold and cell.fill.fgColor.rgb == "FF16324F" for cell in sheet[1])
    assert sheet["G1"].alignment.horizontal == "right"
    assert sheet.print_title_rows == "$1:$1"


def test_columns_are_wide_enough_for_their_figures_and_long_names_wrap(book: Workbook) -> None:
    sheet = book["What to buy"]
    assert sheet.column_dimensions["G"].width >= len("€54,135,000")
    assert sheet.column_dimensions["B"].width == pytest.approx(60, abs=1)
    row = next(row for row in sheet.iter_rows() if str(row[1].value).startswith("Entrepôt"))
    assert row[1].alignment.wrap_text
    assert sheet.row_dimensions[row[1].row].height == pytest.approx(32, abs=1)


def test_words_keep_away_from_figures_before_them_and_long_headings_are_whole() -> None:
    columns = [
        Column(name="cost", label="Cost of all that is done in every month there is", unit=Unit.MONEY),
        Column(name="why", label="Why"),
    ]
    table = Table(name="left_out", title="Left out", columns=columns, rows=[(240_000.0, "no cash"), (1.0, "no time")])
    sheet = read(Report(title="Plan", currency="EUR", tables=[table]))["Left out"]
    assert [sheet[place].alignment.indent for place in ("A1", "A2", "B1", "B2")] == [0, 0, 1, 1]
    assert {sheet[place].alignment.horizontal for place in ("B1", "B2")} == {"left"}, "else nobody indents"
    width = sheet.column_dimensions["A"].width
    assert sheet.row_dimensions[1].height >= 16 * len(columns[0].label) / width


def test_formulas_are_live_and_keep_the_value_they_had(book: Workbook, cached: Workbook) -> None:
    table = samples.deals().tables[0]
    for i, row in enumerate(table.rows, start=2):
        assert book["What to buy"][f"G{i}"].value == f"=E{i} * F{i}"
        assert cached["What to buy"][f"G{i}"].value == pytest.approx(row[6])


def test_totals_are_live_sums_under_the_filtered_rows(book: Workbook, cached: Workbook) -> None:
    table = samples.deals().tables[0]
    total = [cell.value for cell in book["What to buy"][32]]
    assert total == ["Total", None, None, None, "=SUM(E2:E31)", None, "=SUM(G2:G31)", "=SUM(H2:H31)", None]
    assert cached["What to buy"]["G32"].value == pytest.approx(sum(row[6] for row in table.rows))


def test_a_formula_over_an_unknown_column_is_refused() -> None:
    table = Table(name="t", title="T", columns=[Column(name="a", label="A")], rows=[(1,)], formulas={"a": "{b} * 2"})
    with pytest.raises(KeyError, match="b"):
        render(Report(title="R", tables=[table]), FileFormat.XLSX, stem="r")


def references(chart: Any) -> tuple[list[str], list[str]]:
    return [
        (series.cat.strRef or series.cat.numRef).f if series.cat else series.xVal.numRef.f for series in chart.series
    ], [(series.val or series.yVal).numRef.f for series in chart.series]


def title(chart: Any) -> str:
    return "".join(run.t for paragraph in chart.title.tx.rich.p for run in paragraph.r)


def test_each_chart_is_native_and_reads_the_cells_of_its_table(book: Workbook) -> None:
    sector, city, scatter, frontier = book["Summary"]._charts
    assert [title(chart) for chart in (sector, city, scatter, frontier)] == [c.title for c in samples.deals().charts]
    assert references(sector) == (["'By sector'!$A$2:$A$6"], ["'By sector'!$B$2:$B$6"])
    assert references(sector._charts[1]) == (["'By sector'!$A$2:$A$6"], ["'By sector'!$D$2:$D$6"])
    assert isinstance(sector._charts[1], LineChart)
    assert (city.barDir, references(city)) == ("bar", (["'By city'!$A$2:$A$7"], ["'By city'!$B$2:$B$7"]))
    assert isinstance(frontier, ScatterChart)
    assert references(frontier) == (["Frontier!$A$2:$A$13"], ["Frontier!$B$2:$B$13"])
    assert isinstance(scatter, ScatterChart)


def test_series_by_colour_read_a_hidden_sheet_of_references(book: Workbook, cached: Workbook) -> None:
    scatter = book["Summary"]._charts[2]
    x, y = references(scatter)
    assert [series.tx.v for series in scatter.series] == ["Bought", "Rejected"]
    assert (x[0], y[0]) == ("'Chart data'!$A$2:$A$31", "'Chart data'!$B$2:$B$31")
    assert book["Chart data"]["A2"].value == "='Yield against risk'!$B$2"
    table = samples.deals().table("yield_risk")
    assert cached["Chart data"]["B2"].value == pytest.approx(table.rows[0][2])


def test_every_mark_has_a_native_chart() -> None:
    charts = read(samples.every_chart())["Summary"]._charts
    kinds = [type(chart) for chart in charts]
    assert kinds == [BarChart, LineChart, AreaChart, AreaChart, LineChart, BarChart, BarChart, BarChart, LineChart]
    assert [chart.grouping for chart in charts if isinstance(chart, BarChart)] == [
        "stacked",
        "clustered",
        "clustered",
        "stacked",
    ]


def test_bars_and_areas_begin_at_zero_unless_they_go_below_it() -> None:
    columns = [Column(name="month", label="Month"), Column(name="net", label="Net", unit=Unit.MONEY)]
    chart = Chart(name="net", title="Net", mark=Mark.BAR, table="net", x="month", y=["net"])

    def lowest(second: float, mark: Mark) -> list[str]:
        table = Table(name="net", title="Net", columns=columns, rows=[("1", 5.0), ("2", second)])
        drawn = msgspec.structs.replace(chart, mark=mark)
        (file,) = render(Report(title="Plan", tables=[table], charts=[drawn]), FileFormat.XLSX, stem="plan")
        xml = zipfile.ZipFile(io.BytesIO(file.data)).read("xl/charts/chart1.xml").decode()
        return re.findall('<c:min val="(.*?)"', xml)

    assert lowest(4.9, Mark.BAR) == lowest(4.9, Mark.AREA) == ["0"]
    assert lowest(-0.1, Mark.BAR) == lowest(4.9, Mark.LINE) == []


def test_a_gantt_is_a_stacked_bar_whose_first_series_is_invisible() -> None:
    book, cached = read(samples.every_chart()), read(samples.every_chart(), values=True)
    gantt = book["Summary"]._charts[0]
    assert (gantt.barDir, gantt.grouping) == ("bar", "stacked")
    assert gantt.series[0].graphicalProperties.noFill
    assert [series.tx.v for series in gantt.series] == ["Start", "Envelope", "Services", "Interior"]
    data, values = book["Chart data"], cached["Chart data"]
    assert (data["B2"].value, data["C2"].value) == (
        "=Schedule!$B$2".replace("Schedule", "'Schedule'"),
        "='Schedule'!$C$2-'Schedule'!$B$2",
    )
    assert (values["B2"].value, values["C2"].value) == (datetime(2026, 1, 1), 150)  # noqa: DTZ001


def test_a_step_goes_up_where_it_stands() -> None:
    book = read(samples.every_chart(), values=True)
    step = book["Summary"]._charts[1]
    (dates, _), (values, _) = references(step)
    sheet = book["Chart data"]
    days = [row[0].value for row in sheet[dates.split("!")[1].replace("$", "")]]
    spent = [row[0].value for row in sheet[values.split("!")[1].replace("$", "")]]
    assert len(days) == 2 * 24 - 1
    assert (days[1], spent[0], spent[1], spent[2]) == (days[2], 100_000, 100_000, 200_000)


def test_a_reference_is_a_level_line() -> None:
    lines = read(samples.every_chart())["Summary"]._charts[4]
    assert [series.tx.v for series in lines.series] == ["Spent", "Available", "Reference"]


def test_sheet_names_are_legal_unique_and_short() -> None:
    titles = ["Summary", "summary", "a/b:c*d?[e]\\", "x" * 60, "x" * 50, "'quoted'", "History", "", "Chart data"]
    tables = [
        Table(name=f"t{i}", title=t, columns=[Column(name="c", label="C")], rows=[(i,)]) for i, t in enumerate(titles)
    ]
    charts = [Chart(name="c", title="C", mark=Mark.BAR, table=t.name, x="c", y=["c"]) for t in tables]
    names = read(Report(title="R", tables=tables, charts=charts)).sheetnames
    assert names[0] == "Summary"
    assert len({name.casefold() for name in names}) == len(names) == len(titles) + 1
    assert all(0 < len(name) <= 31 and not set(name) & set("[]:*?/\\") and name.strip("'") == name for name in names)
    assert "History" not in names


def test_nothing_but_formulas_and_totals_is_a_formula() -> None:
    text = '=HYPERLINK("http://example.com","click")'
    book = read(samples.hostile(text))
    formulas = [cell.value for sheet in book for row in sheet.iter_rows() for cell in row if cell.data_type == "f"]
    assert {re.sub("'[^']*'", "SHEET", formula) for formula in formulas} == {
        "=SUM(B2:B4)",
        "=SHEET!$B$2",
        "=SHEET!$B$3",
    }
    (chart,) = book["Summary"]._charts
    assert title(chart) == f" {text}"
    assert chart.series[0].tx.v == f" {text}"
    assert b"example.com" not in b"".join(
        data for name, data in parts(samples.hostile(text)).items() if name.endswith(".rels")
    )


def parts(report: Report) -> dict[str, bytes]:
    (file,) = render(report, FileFormat.XLSX, stem="plan")
    with zipfile.ZipFile(io.BytesIO(file.data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_missing_infinite_and_true_cells_read_as_what_they_are() -> None:
    rows = [(None,), (float("nan"),), (float("inf"),), (True,), (10**400,)]
    table = Table(name="t", title="T", columns=[Column(name="c", label="C", unit=Unit.NUMBER)], rows=rows)
    sheet = read(Report(title="R", tables=[table]))["T"]
    assert [sheet[f"A{i}"].value for i in range(2, 7)] == [None, None, "∞", True, "∞"]


def test_a_table_without_rows_has_a_header_and_no_total() -> None:
    table = Table(name="t", title="T", columns=[Column(name="c", label="C", unit=Unit.MONEY, total=True)], rows=[])
    charts = [Chart(name="c", title="C", mark=Mark.BAR, table="t", x="c", y=["c"])]
    book = read(Report(title="R", tables=[table], charts=charts))
    assert book["T"].max_row == 1
    assert book["Summary"]._charts == []


def test_a_report_of_a_title_alone_is_a_workbook() -> None:
    assert read(Report(title="Nothing else")).sheetnames == ["Summary"]


@pytest.mark.slow
def test_a_hundred_thousand_rows_are_all_there() -> None:
    report = samples.long_table(100_000)
    (file,) = render(report, FileFormat.XLSX, stem="plan")
    book = openpyxl.load_workbook(io.BytesIO(file.data), read_only=True)
    rows = sum(1 for _ in book["Deals"].iter_rows())
    assert rows == 1 + 100_000 + 1


def test_the_limit_of_a_lying_bar_is_a_hollow_bar() -> None:
    report = samples.deals()
    chart = msgspec.structs.replace(report.charts[0], horizontal=True)
    (native,) = read(msgspec.structs.replace(report, charts=[chart]))["Summary"]._charts
    assert native.barDir == "bar"
    assert native.series[1].tx.v == "Cap"
    assert native.series[1].graphicalProperties.noFill


def test_few_points_carry_their_names() -> None:
    report = samples.deals(3)
    named = msgspec.structs.replace(report, charts=[msgspec.structs.replace(report.charts[2], label="deal_id")])
    drawn = parts(named)["xl/charts/chart1.xml"].decode()
    words = re.findall("<a:t>([^<]*)</a:t>", drawn)
    assert words == [report.charts[2].title, *(row[0] for row in report.table("yield_risk").rows)]
