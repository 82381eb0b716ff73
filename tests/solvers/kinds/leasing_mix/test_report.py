"""What a reader sees of a plan: tables that add up, charts over them, and sentences with units."""

import msgspec
import pytest

from milpa.jobs import FileFormat
from solvers.kinds.leasing_mix import KIND
from solvers.kinds.leasing_mix.problem import Problem
from solvers.report import Report
from tests.solvers.kinds.leasing_mix.problems import solve, worked_example
from workers.renderers import chart_specs, render


def report_of(data: dict[str, object]) -> Report:
    return KIND.describe(msgspec.convert(data, Problem), solve(data))


def column(report: Report, table: str, name: str) -> list[object]:
    found = report.table(table)
    place = [one.name for one in found.columns].index(name)
    return [row[place] for row in found.rows]


def test_the_mix_shows_existing_space_and_every_use_by_area_and_rent() -> None:
    report = report_of(worked_example(mode="whole"))
    assert column(report, "mix", "use") == ["existing", "(no use)"]
    assert column(report, "mix", "area_share") == [pytest.approx(0.2), pytest.approx(0.6)]
    assert column(report, "mix", "annual_rent") == [40_000, 150_000]
    assert sum(column(report, "mix", "rent_share")) == pytest.approx(1)


def test_the_months_add_up_to_the_net_cash() -> None:
    report = report_of(KIND.example["problem"])
    facts = {fact.name: fact.value for fact in report.facts}
    assert sum(column(report, "monthly", "net")) == pytest.approx(facts["ncf_12m"])
    assert column(report, "monthly", "month") == list(range(1, 13))


def test_the_expiry_profile_has_every_year_up_to_the_last() -> None:
    report = report_of(worked_example(mode="whole"))
    assert column(report, "expiry", "year") == [1, 2, 3, 4, 5]
    assert column(report, "expiry", "annual_rent") == [0, 40_000, 30_000, 0, 120_000]
    assert column(report, "expiry", "leases") == ["", "E", "S", "", "L"]


def test_a_ground_lease_does_not_stretch_the_expiry_profile_to_a_thousand_years() -> None:
    ground = {"id": "G", "area": 10, "rent_per_sqm_year": 1, "remaining_years": 999}
    report = report_of(worked_example(mode="whole", existing=[*worked_example()["existing"], ground]))
    assert column(report, "expiry", "year") == [2, 3, 5, 999]


def test_sentences_say_what_limits_are_worth_with_units() -> None:
    sentences = report_of(worked_example()).sentences
    assert "Offer 5 × L and 1.33 × S." in sentences
    assert "Least mean lease term binds at 4 years: each tenth of a year less brings 17,333 EUR at first." in sentences
    assert "Most leases of L binds at 5: each lease more brings 27,400 EUR, up to 5.93." in sentences
    assert any(sentence.startswith("Solved again with Least mean lease term: 3.5 years") for sentence in sentences)


def test_without_a_plan_the_report_says_what_stands_in_the_way_and_what_would_help() -> None:
    report = report_of(worked_example(min_occupancy=1.0, incentive_budget=0))
    assert [table.name for table in report.tables] == ["conflicts", "repairs"]
    assert report.sentences[0].startswith("No plan meets all limits. These can't hold together: ")
    assert (report.facts, report.charts) == ([], [])


def test_every_chart_reads_columns_of_its_table() -> None:
    report = report_of(KIND.example["problem"])
    assert {chart.name for chart in report.charts} == {"mix", "monthly", "expiry"}
    for chart in report.charts:
        names = {one.name for one in report.table(chart.table).columns}
        assert {chart.x, *chart.y} <= names
    assert len(chart_specs(report)) == 3


def test_formulas_come_to_the_figures_beside_them() -> None:
    for table in report_of(KIND.example["problem"]).tables:
        names = [one.name for one in table.columns]
        for target, formula in table.formulas.items():
            for row in table.rows:
                values = dict(zip(names, row, strict=True))
                assert eval(formula.format(**values)) == pytest.approx(values[target])  # noqa: S307 (our own formula)


@pytest.mark.parametrize("format_", [FileFormat.XLSX, FileFormat.PDF, FileFormat.CSV])
def test_the_report_renders(format_: FileFormat) -> None:
    files = render(report_of(KIND.example["problem"]), format_, stem="leasing")
    assert files
    assert all(len(file.data) > 500 for file in files)
