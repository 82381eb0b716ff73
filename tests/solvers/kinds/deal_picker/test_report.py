"""The report shows what was found: figures, tables that hold together, charts of tables that are there."""

import subprocess
import sys
from io import BytesIO

import pytest
from pypdf import PdfReader

from milpa.jobs import FileFormat
from solvers.kinds.deal_picker import KIND, frontier
from solvers.kinds.deal_picker.cases import make_sacramento
from solvers.kinds.deal_picker.problem import Problem
from solvers.kinds.deal_picker.report import MOST_POINTS
from solvers.kinds.deal_picker.words import amount, joined, percent
from solvers.limits import SolveLimits
from solvers.progress import Silent
from solvers.report import Report
from tests.solvers.kinds.deal_picker.problems import case, problem_of
from tests.solvers.kinds.deal_picker.test_solve import hard, portfolio
from workers.renderers import render


def report_of(name: str) -> Report:
    problem = problem_of(case(name))
    return KIND.describe(problem, KIND.solve(problem, SolveLimits(), Silent()))


@pytest.mark.parametrize("name", ["worked_example", "example", "sacramento"])
def test_rows_fit_columns_and_charts_fit_tables(name: str) -> None:
    report = report_of(name)
    for table in report.tables:
        assert table.rows
        assert {len(row) for row in table.rows} == {len(table.columns)}
        assert set(table.formulas) <= {column.name for column in table.columns}
    for chart in report.charts:
        columns = {column.name for column in report.table(chart.table).columns}
        assert {chart.x, *chart.y} | ({chart.color} - {None}) | ({chart.label} - {None}) <= columns
    assert set(report.hidden_tables) <= {table.name for table in report.tables}


def test_near_misses_are_shown_where_they_have_a_yield_at_which_they_enter() -> None:
    entering = report_of("worked_example").table("near_misses")
    assert all(row[2] is not None for row in entering.rows)
    body = case("worked_example") | {"mode": "whole"}
    result = KIND.solve(problem_of(body), SolveLimits(), Silent())
    assert result.explanation.near_misses
    report = KIND.describe(problem_of(body), result)
    assert "near_misses" not in {table.name for table in report.tables}
    told = "each change below was solved anew" in " ".join(report.sentences)
    assert told == bool(result.explanation.what_if)


def test_figures_allocations_bars_scatter_and_frontier_are_there() -> None:
    report = report_of("sacramento")
    assert {fact.name for fact in report.facts if fact.headline} >= {"total_yield", "total_allocated", "deal_count"}
    assert [chart.name for chart in report.charts] == ["by_sector", "by_city", "scatter", "frontier"]
    assert len(report.table("scatter").rows) == 932
    assert {row[3] for row in report.table("scatter").rows} == {"bought", "rejected"}
    assert report.currency == "USD"
    assert any(sentence.startswith("One more USD of budget earns") for sentence in report.sentences)


def test_formulas_give_the_figures_beside_them() -> None:
    table = report_of("example").table("allocations")
    names = [column.name for column in table.columns]
    for row in table.rows:
        cells = dict(zip(names, row, strict=True))
        assert cells["amount"] == pytest.approx(cells["price"] * cells["allocation"])
        assert cells["yield_rate"] == pytest.approx(cells["yield"] / cells["amount"])


def test_a_crowd_is_shown_by_a_sample() -> None:
    problem = portfolio(20_000)
    report = KIND.describe(problem, KIND.solve(problem, SolveLimits(), Silent()))
    scatter = report.table("scatter")
    assert len(scatter.rows) <= 2 * MOST_POINTS
    assert scatter.note.endswith("deals, evenly picked.")
    assert len(report.table("by_city").rows) <= 21
    assert sum(row[2] for row in report.table("by_city").rows) == pytest.approx(1)


@pytest.mark.parametrize(
    ("problem", "seconds", "reason"),
    [
        (portfolio(301), 30, "of free shares of deals it is drawn up to 300, and there are 301"),
        (portfolio(201, mode="whole"), 30, "of deals that are bought or not it is drawn up to 200, and there are 201"),
        (hard(), 0.5, "the search ended before its plan was proven the best"),
    ],
)
def test_a_frontier_that_is_not_drawn_says_why_where_it_would_stand(
    problem: Problem, seconds: float, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frontier, "MOST_DEALS", 300)
    result = KIND.solve(problem, SolveLimits(seconds=seconds, relative_gap=0.001 if seconds > 1 else 0.0), Silent())
    report = KIND.describe(problem, result)
    sentence = f"Yield against limits of risk is not drawn: {reason}. It can be asked for as a frontier."
    assert (report.table("frontier").rows, report.table("frontier").note) == ([], sentence)
    assert "frontier" not in {*report.hidden_tables, *(chart.table for chart in report.charts)}
    assert report.sentences[-1] == sentence
    assert sentence.removesuffix(" It can be asked for as a frontier.") in _words_of_the_pdf(report)


def _words_of_the_pdf(report: Report) -> str:
    (file,) = render(report, FileFormat.PDF, stem="report")
    return " ".join("".join(page.extract_text() for page in PdfReader(BytesIO(file.data)).pages).split())


def test_a_portfolio_without_risk_misses_no_frontier() -> None:
    report = report_of("worked_example")
    assert "frontier" not in {table.name for table in report.tables}
    assert not any("not drawn" in sentence for sentence in report.sentences)


def test_the_sacramento_case_is_what_its_formula_makes_of_the_sales() -> None:
    assert case("sacramento")["deals"] == make_sacramento.deals()
    assert {key: value for key, value in case("sacramento").items() if key != "deals"} == make_sacramento.LIMITS


def test_numbers_read_well() -> None:
    assert [amount(value) for value in (80_000.2, 0.08, 1.5, 400.0, 0.00003681, -1234.5, 0.0)] == [
        "80,000", "0.08", "1.5", "400", "0.00003681", "-1,234", "0",
    ]  # fmt: skip
    assert percent(0.0654) == "6.54 %"
    assert joined(["a"]) == "a"
    assert joined(["a", "b", "c"]) == "a, b and c"
    assert joined([str(n) for n in range(9)]) == "0, 1, 2, 3, 4, 5 and 3 more"


def test_declaring_the_kind_loads_no_solver() -> None:
    code = "import sys, solvers.kinds.deal_picker as k; k.KIND.check; print({'highspy', 'scipy', 'ortools', 'polars', 'numpy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
