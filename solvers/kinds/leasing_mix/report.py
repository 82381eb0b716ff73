"""What to show of a plan: what to offer, the mix by area and rent, the cash month by month, and when leases end."""

from collections import defaultdict
from collections.abc import Iterator
from math import ceil

from solvers.explanation_tables import limit_columns, what_if_table
from solvers.kinds.leasing_mix.cash import MONTHS, incentives_of
from solvers.kinds.leasing_mix.fields import fields_of
from solvers.kinds.leasing_mix.problem import Mode, Problem, Solution
from solvers.kinds.leasing_mix.words import PRICED_STEPS, value_in_words
from solvers.report import Cell, Chart, Column, Fact, Mark, Report, Table, Unit
from solvers.result import SolveResult

Row = tuple[Cell, ...]
_EXISTING = "existing"
_MOST_YEARS = 40
"""Of the expiry profile without gaps; beyond, only years in which something ends."""


def describe(problem: Problem, result: SolveResult[Solution]) -> Report:
    """Return what a reader should see of one plan, or of why there is none."""
    solution = result.solution
    tables = _without_answer(problem, result) if solution is None else _tables(problem, result, solution)
    shown = [table for table in tables if table.rows]
    leases = "whole leases" if problem.mode is Mode.WHOLE else "shares of leases"
    return Report(
        title="Leasing mix",
        subtitle=f"{len(problem.packages):,} packages for a building of {problem.total_area:,.0f} sqm, {leases}",
        currency=problem.currency,
        facts=[] if solution is None else list(_facts(problem, result, solution)),
        sentences=result.explanation.sentences,
        tables=shown,
        charts=[chart for chart in _charts(problem) if any(table.name == chart.table for table in shown)],
    )


def _tables(problem: Problem, result: SolveResult[Solution], solution: Solution) -> list[Table]:
    return [
        _offers(problem, solution),
        _mix(problem, solution),
        _monthly(solution),
        _expiry(solution),
        _rent_roll(solution),
        _limits(problem, result),
        what_if_table(result.explanation, "More cash"),
    ]


def _without_answer(problem: Problem, result: SolveResult[Solution]) -> list[Table]:
    labels = {field.name: field.label for field in fields_of(problem)}
    conflicts = Table(
        name="conflicts",
        title="What can't hold together",
        columns=[Column(name="constraint", label="Limit")],
        rows=[(labels[name],) for name in result.explanation.conflicts],
    )
    repairs = Table(
        name="repairs",
        title="What would help",
        columns=[Column(name="label", label="Change"), Column(name="cost", label="By how much", unit=Unit.NUMBER)],
        rows=[(repair.label, repair.cost) for repair in result.explanation.repairs],
        note="Each was solved and works.",
    )
    return [conflicts, repairs]


def _facts(problem: Problem, result: SolveResult[Solution], solution: Solution) -> Iterator[Fact]:
    rent = sum(entry.annual_rent for entry in solution.rent_roll)
    months = solution.monthly
    yield Fact(name="ncf_12m", label="Net cash, twelve months", value=solution.ncf_12m, unit=Unit.MONEY)
    yield Fact(name="occupancy", label="Occupancy", value=solution.occupancy, unit=Unit.SHARE)
    yield Fact(name="wault_years", label="Mean lease term", value=solution.wault_years, unit=Unit.YEARS)
    yield Fact(name="incentives_spent", label="Incentives", value=solution.incentives_spent, unit=Unit.MONEY)
    yield Fact(name="annual_rent", label="Headline rent a year", value=rent, unit=Unit.MONEY)
    leases = sum(offer.leases for offer in solution.offers)
    yield Fact(name="new_leases", label="New leases", value=leases, unit=Unit.NUMBER, headline=False)
    vacant = (1 - solution.occupancy) * problem.total_area
    yield Fact(name="vacant_area", label="Area not let", value=vacant, unit=Unit.AREA, headline=False)
    for name, label, amount in (
        ("rent_12m", "Rent paid in twelve months", sum(month.rent for month in months)),
        ("fitout", "Fit-out", sum(month.fitout for month in months)),
        ("commission", "Commission", sum(month.commission for month in months)),
        ("opex", "Operating cost", sum(month.opex for month in months)),
        ("void", "Cost of vacant space", sum(month.void for month in months)),
    ):
        yield Fact(name=name, label=label, value=amount, unit=Unit.MONEY, headline=False)
    yield Fact(name="gap", label="Gap to the proven bound", value=result.gap, unit=Unit.SHARE, headline=False)


def _offers(problem: Problem, solution: Solution) -> Table:
    packages = {package.id: package for package in problem.packages}
    rows: list[Row] = []
    for offer in solution.offers:
        package = packages[offer.package_id]
        rows.append(
            (
                package.label,
                package.use,
                offer.leases,
                package.area_per_lease,
                offer.area,
                package.rent_per_sqm_year,
                offer.annual_rent,
                package.term_years,
                package.start_month,
                incentives_of(package) / package.area_per_lease,
                offer.incentives,
                offer.ncf_12m,
            )
        )
    return Table(
        name="offers",
        title="What to offer",
        columns=[
            Column(name="package", label="Package"),
            Column(name="use", label="Use"),
            Column(name="leases", label="Leases", unit=Unit.NUMBER, total=True),
            Column(name="area_per_lease", label="Area per lease", unit=Unit.AREA),
            Column(name="area", label="Area", unit=Unit.AREA, total=True),
            Column(name="rent_per_sqm_year", label="Rent per sqm and year", unit=Unit.MONEY),
            Column(name="annual_rent", label="Rent a year", unit=Unit.MONEY, total=True),
            Column(name="term_years", label="Term", unit=Unit.YEARS),
            Column(name="start_month", label="Starts in", unit=Unit.MONTHS),
            Column(name="incentives_per_sqm", label="Incentives per sqm", unit=Unit.MONEY),
            Column(name="incentives", label="Incentives", unit=Unit.MONEY, total=True),
            Column(name="ncf_12m", label="Cash, twelve months", unit=Unit.MONEY, total=True),
        ],
        rows=rows,
        note="Cash is rent paid less fit-out and commission, before operating cost and the cost of vacant space.",
        formulas={
            "area": "{leases} * {area_per_lease}",
            "annual_rent": "{area} * {rent_per_sqm_year}",
            "incentives": "{area} * {incentives_per_sqm}",
        },
    )


def _mix(problem: Problem, solution: Solution) -> Table:
    """Show area and rent by use; existing leases have none and stand together."""
    uses = {package.id: package.use or "(no use)" for package in problem.packages}
    areas, rents = defaultdict[str, float](float), defaultdict[str, float](float)
    there = len(problem.existing)
    for place, entry in enumerate(solution.rent_roll):
        use = _EXISTING if place < there else uses[entry.id]
        areas[use] += entry.area
        rents[use] += entry.annual_rent
    total_rent = sum(rents.values())
    rows: list[Row] = [
        (use, area, area / problem.total_area, rents[use], rents[use] / total_rent if total_rent else None)
        for use, area in areas.items()
    ]
    return Table(
        name="mix",
        title="Mix by area and rent",
        columns=[
            Column(name="use", label="Use"),
            Column(name="area", label="Area", unit=Unit.AREA, total=True),
            Column(name="area_share", label="Share of the building", unit=Unit.SHARE, total=True),
            Column(name="annual_rent", label="Rent a year", unit=Unit.MONEY, total=True),
            Column(name="rent_share", label="Share of the rent", unit=Unit.SHARE, total=True),
        ],
        rows=rows,
    )


def _monthly(solution: Solution) -> Table:
    rows: list[Row] = [
        (number, month.rent, month.fitout, month.commission, month.opex, month.void, month.net)
        for number, month in enumerate(solution.monthly, 1)
    ]
    return Table(
        name="monthly",
        title="Cash flow by month",
        columns=[
            Column(name="month", label="Month", unit=Unit.WHOLE),
            Column(name="rent", label="Rent", unit=Unit.MONEY, total=True),
            Column(name="fitout", label="Fit-out", unit=Unit.MONEY, total=True),
            Column(name="commission", label="Commission", unit=Unit.MONEY, total=True),
            Column(name="opex", label="Operating cost", unit=Unit.MONEY, total=True),
            Column(name="void", label="Vacant space", unit=Unit.MONEY, total=True),
            Column(name="net", label="Net", unit=Unit.MONEY, total=True),
        ],
        rows=rows,
        note="Rent is what is paid, after rent-free months.",
        formulas={"net": "{rent} - {fitout} - {commission} - {opex} - {void}"},
    )


def _expiry(solution: Solution) -> Table:
    """Show what ends in which year from now; year 1 are the first twelve months."""
    ends = [(max(1, ceil(entry.end_month / MONTHS)), entry) for entry in solution.rent_roll]
    last = max((year for year, _ in ends), default=0)
    years = range(1, last + 1) if last <= _MOST_YEARS else sorted({year for year, _ in ends})
    total = sum(entry.annual_rent for _, entry in ends)
    rows: list[Row] = []
    for year in years:
        ending = [entry for end, entry in ends if end == year]
        rent = sum(entry.annual_rent for entry in ending)
        area = sum(entry.area for entry in ending)
        rows.append((year, area, rent, rent / total if total else None, ", ".join(entry.id for entry in ending)))
    return Table(
        name="expiry",
        title="Leases that end, by year",
        columns=[
            Column(name="year", label="Year", unit=Unit.WHOLE),
            Column(name="area", label="Area", unit=Unit.AREA, total=True),
            Column(name="annual_rent", label="Rent a year", unit=Unit.MONEY, total=True),
            Column(name="rent_share", label="Share of the rent", unit=Unit.SHARE, total=True),
            Column(name="leases", label="Leases"),
        ],
        rows=rows,
        note="Years from now: 1 is the first twelve months.",
    )


def _rent_roll(solution: Solution) -> Table:
    rows: list[Row] = [
        (entry.id, entry.area, entry.annual_rent / entry.area, entry.annual_rent, entry.start_month, entry.end_month)
        for entry in solution.rent_roll
    ]
    return Table(
        name="rent_roll",
        title="Rent roll",
        columns=[
            Column(name="id", label="Lease"),
            Column(name="area", label="Area", unit=Unit.AREA, total=True),
            Column(name="rent_per_sqm_year", label="Rent per sqm and year", unit=Unit.MONEY),
            Column(name="annual_rent", label="Rent a year", unit=Unit.MONEY, total=True),
            Column(name="start_month", label="Starts in", unit=Unit.MONTHS),
            Column(name="end_month", label="Ends in", unit=Unit.MONTHS),
        ],
        rows=rows,
        formulas={"annual_rent": "{area} * {rent_per_sqm_year}"},
    )


def _limits(problem: Problem, result: SolveResult[Solution]) -> Table:
    """Show the limits of the building and of uses, and those of packages that are reached."""
    rows: list[Row] = []
    for field, one in zip(fields_of(problem), result.explanation.constraints, strict=True):
        if field.unit is Unit.WHOLE and not one.binding:
            continue
        step, price = PRICED_STEPS[field.unit], one.shadow_price
        worth = None if price is None else price * step
        bounds = (one.activity, one.limit, one.slack)
        more = value_in_words(problem, field, step)
        rows.append((one.label, *bounds, one.binding, more, worth, one.valid_from, one.valid_to))
    return Table(
        name="limits",
        title="What limits are worth",
        columns=limit_columns(
            Unit.NUMBER,
            Column(name="binding", label="Binds"),
            Column(name="step", label="So much more"),
            Column(name="price", label="brings", unit=Unit.MONEY),
        ),
        rows=rows,
        note="Shares are fractions. No end given: there is none, or exact only at first. Whole leases have no prices.",
    )


def _charts(problem: Problem) -> Iterator[Chart]:
    yield Chart(
        name="mix",
        title="Share of the building and of the rent",
        mark=Mark.BAR,
        table="mix",
        x="use",
        y=["area_share", "rent_share"],
    )
    yield Chart(
        name="monthly",
        title=f"Rent and net cash by month, {problem.currency}",
        mark=Mark.BAR,
        table="monthly",
        x="month",
        y=["rent", "net"],
    )
    yield Chart(
        name="expiry",
        title="Rent a year that ends, by year from now",
        mark=Mark.BAR,
        table="expiry",
        x="year",
        y=["annual_rent"],
    )
