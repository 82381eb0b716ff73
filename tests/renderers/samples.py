"""Reports like those that kinds make: a portfolio of deals, and one with every shape of chart."""

import random
from datetime import date

from solvers.report import Cell, Chart, Column, Fact, Mark, Report, Table, Unit

SECTORS = ("Office", "Retail", "Logistics", "Residential", "Hotel")
CITIES = ("Córdoba", "Łódź", "München", "Åarhus", "Saint-Étienne", "Ñuñoa")
NAMES = (
    "Torre Diagonal, planta 14–18",
    "Žižkov Gardens phase II",
    "Kaufhaus am Königsplatz",
    "Entrepôt Saint-Étienne Nord, bâtiment B avec quais de chargement réfrigérés et bureaux attenants",
    "Парк Победы 7",
    "Μέγαρο Αθηνών",
    "東京駅前ビル",
    "נדל״ן רוטשילד 22, תל אביב",  # noqa: RUF001 (Hebrew is meant)
    "برج دبي الجديد 12",
    "서울 강남 타워",
)


def _deal_rows(count: int) -> list[tuple[Cell, ...]]:
    draw = random.Random(7)
    rows: list[tuple[Cell, ...]] = []
    for i in range(count):
        price = round(draw.uniform(4e5, 4e6), -3)
        rows.append(
            (
                f"D{i + 1:03}",
                NAMES[i % len(NAMES)] if i < 2 * len(NAMES) else f"Property {i + 1}",
                SECTORS[i % 5],
                CITIES[i % 6],
                price,
                share := (1.0 if i % 7 else 0.4),
                price * share,
                price * share * draw.uniform(0.045, 0.085),
                draw.uniform(0.005, 0.03),
            )
        )
    return sorted(rows, key=lambda row: -float(row[6]))


DEAL_COLUMNS = [
    Column(name="deal_id", label="Deal"),
    Column(name="name", label="Name"),
    Column(name="sector", label="Sector"),
    Column(name="city", label="City"),
    Column(name="price", label="Price", unit=Unit.MONEY, total=True),
    Column(name="allocation", label="Share bought", unit=Unit.SHARE),
    Column(name="amount", label="Amount", unit=Unit.MONEY, total=True),
    Column(name="yield", label="Yield a year", unit=Unit.MONEY, total=True),
    Column(name="risk", label="Risk", unit=Unit.SHARE),
]


def _sums(rows: list[tuple[Cell, ...]], place: int) -> list[tuple[str, float]]:
    found: dict[str, float] = {}
    for row in rows:
        found[str(row[place])] = found.get(str(row[place]), 0.0) + float(row[6])
    return sorted(found.items(), key=lambda item: -item[1])


def deals(count: int = 30) -> Report:
    """A deal picker's report: allocations, bars by sector and city, yield against risk, a frontier."""
    rows = _deal_rows(count)
    total, earned = sum(float(r[6]) for r in rows), sum(float(r[7]) for r in rows)
    draw = random.Random(3)
    scatter: list[tuple[Cell, ...]] = [(r[0], r[8], float(r[7]) / float(r[6]), "Bought", r[6]) for r in rows]
    scatter += [
        (f"X{i}", draw.uniform(0.01, 0.06), draw.uniform(0.02, 0.06), "Rejected", draw.uniform(4e5, 4e6))
        for i in range(4 * count)
    ]
    frontier: list[tuple[Cell, ...]] = [(0.2e6 + i * 2e4, earned * (0.7 + 0.3 * (i / 11) ** 0.5)) for i in range(12)]
    sector: list[tuple[Cell, ...]] = [(name, amount, amount / total, 0.3 * total) for name, amount in _sums(rows, 2)]
    city: list[tuple[Cell, ...]] = [(name, amount, amount / total) for name, amount in _sums(rows, 3)]
    return Report(
        title="Portfolio of 2026: where the next 40 million go",
        subtitle="Deal picker · fractional · risk penalty 0.1 · proven optimal",
        currency="EUR",
        facts=[
            Fact(name="total_yield", label="Yield a year", value=earned, unit=Unit.MONEY, note="before the risk penalty"),
            Fact(name="total_allocated", label="Invested", value=total, unit=Unit.MONEY, note="of a budget of €42,000,000"),
            Fact(name="rate", label="Yield on cost", value=earned / total, unit=Unit.SHARE),
            Fact(name="deal_count", label="Deals bought", value=count, unit=Unit.WHOLE, note=f"of {5 * count} offered"),
            Fact(name="unspent", label="Left over", value=1_234.5, unit=Unit.MONEY),
            Fact(name="wault", label="Average lease term", value=6.25, unit=Unit.YEARS),
            Fact(name="gap", label="Gap to the bound", value=0.00004, unit=Unit.SHARE, headline=False),
            Fact(name="dual", label="Prices from", value="linear programme", unit=Unit.TEXT, headline=False),
            Fact(name="decided", label="As of", value=date(2026, 3, 31), unit=Unit.DATE, headline=False),
        ],
        sentences=[
            "Every further €100,000 of budget is worth €7,420 of yield a year, up to a budget of €44,150,000.",
            "Office is at its cap of 30 %: one point more would add €1,900 a year; logistics has room for €3.2 million.",
            "“Kaufhaus am Königsplatz” was the closest miss: it enters the plan from a yield of €96,400 (it offers €91,000).",
        ],
        tables=[
            Table(
                name="allocations",
                title="What to buy",
                columns=DEAL_COLUMNS,
                rows=rows,
                note="Amount = price × share bought. Risk is the standard deviation of the yield.",
                formulas={"amount": "{price} * {allocation}"},
            ),
            Table(
                name="by_sector",
                title="By sector",
                columns=[
                    Column(name="sector", label="Sector"),
                    Column(name="amount", label="Amount", unit=Unit.MONEY, total=True),
                    Column(name="share", label="Share", unit=Unit.SHARE, total=True),
                    Column(name="cap", label="Cap", unit=Unit.MONEY),
                ],
                rows=sector,
            ),
            Table(
                name="by_city",
                title="By city",
                columns=[
                    Column(name="city", label="City"),
                    Column(name="amount", label="Amount", unit=Unit.MONEY, total=True),
                    Column(name="share", label="Share", unit=Unit.SHARE, total=True),
                ],
                rows=city,
            ),
            Table(
                name="yield_risk",
                title="Yield against risk",
                columns=[
                    Column(name="deal_id", label="Deal"),
                    Column(name="risk", label="Risk", unit=Unit.SHARE),
                    Column(name="rate", label="Yield rate", unit=Unit.SHARE),
                    Column(name="status", label="Status"),
                    Column(name="amount", label="Price", unit=Unit.MONEY),
                ],
                rows=scatter,
            ),
            Table(
                name="frontier",
                title="Frontier",
                columns=[
                    Column(name="max_risk", label="Allowed risk", unit=Unit.MONEY),
                    Column(name="yield", label="Yield a year", unit=Unit.MONEY),
                ],
                rows=frontier,
            ),
        ],
        charts=[
            Chart(name="by-sector", title="Invested by sector, against the cap", mark=Mark.BAR, table="by_sector", x="sector", y=["amount"], limit="cap"),
            Chart(name="by-city", title="Invested by city", mark=Mark.BAR, table="by_city", x="city", y=["amount"], horizontal=True),
            Chart(name="yield-risk", title="Yield against risk, bought and rejected", mark=Mark.SCATTER, table="yield_risk", x="risk", y=["rate"], color="status", size="amount"),
            Chart(name="frontier", title="How much yield another unit of risk buys", mark=Mark.LINE, table="frontier", x="max_risk", y=["yield"]),
        ],
        hidden_tables=["yield_risk"],
    )  # fmt: skip


def _months(count: int) -> list[date]:
    return [date(2026 + i // 12, i % 12 + 1, 1) for i in range(count)]


def every_chart() -> Report:
    """One chart of every mark, with limits, references, several series, dates and text on the axes."""
    months = _months(24)
    phases: list[tuple[Cell, ...]] = [
        ("Roof and façade", date(2026, 1, 1), date(2026, 5, 31), "Envelope", 4.0e5),
        ("Lifts", date(2026, 3, 1), date(2026, 6, 30), "Services", 1.8e5),
        ("Lobby refurbishment", date(2026, 6, 1), date(2026, 9, 30), "Interior", 2.6e5),
        ("Heating, ventilation, air conditioning", date(2026, 7, 1), date(2027, 2, 28), "Services", 7.5e5),
        ("Photovoltaics", date(2026, 10, 1), date(2026, 12, 31), "Envelope", 3.1e5),
    ]
    cash: list[tuple[Cell, ...]] = [
        (month, 1e5 * (1 + i % 5), 4.2e5 + 5e3 * i, 3.0e4 * i**1.2, 2.0e4 * i, f"{month:%Y-%m}")
        for i, month in enumerate(months)
    ]
    dscr: list[tuple[Cell, ...]] = [("Base", 1.61, 1.25), ("Rates +200 bp", 1.32, 1.25), ("Rent −10 %", 1.18, 1.25)]
    mix: list[tuple[Cell, ...]] = [
        (year, use, 2.1e5 * (1 + i % 3) + 4e4 * (year - 2026))
        for i, use in enumerate(("Office", "Retail", "Storage"))
        for year in range(2026, 2031)
    ]
    return Report(
        title="Every chart",
        currency="USD",
        tables=[
            Table(
                name="schedule",
                title="Schedule",
                columns=[
                    Column(name="project", label="Project"),
                    Column(name="start", label="Start", unit=Unit.DATE),
                    Column(name="finish", label="Finish", unit=Unit.DATE),
                    Column(name="trade", label="Trade"),
                    Column(name="cost", label="Cost", unit=Unit.MONEY, total=True),
                ],
                rows=phases,
            ),
            Table(
                name="cash",
                title="Cash by month",
                columns=[
                    Column(name="month", label="Month", unit=Unit.DATE),
                    Column(name="spent", label="Spent", unit=Unit.MONEY, total=True),
                    Column(name="available", label="Available", unit=Unit.MONEY),
                    Column(name="uplift", label="Uplift", unit=Unit.MONEY),
                    Column(name="rent", label="Rent", unit=Unit.MONEY),
                    Column(name="label", label="Month", unit=Unit.DATE),
                ],
                rows=cash,
            ),
            Table(
                name="dscr",
                title="Debt service cover",
                columns=[
                    Column(name="scenario", label="Scenario"),
                    Column(name="dscr", label="DSCR", unit=Unit.RATIO),
                    Column(name="covenant", label="Covenant", unit=Unit.RATIO),
                ],
                rows=dscr,
            ),
            Table(
                name="mix",
                title="Income by use",
                columns=[
                    Column(name="year", label="Year", unit=Unit.TEXT),
                    Column(name="use", label="Use"),
                    Column(name="income", label="Income", unit=Unit.MONEY, total=True),
                ],
                rows=mix,
            ),
        ],
        charts=[
            Chart(name="gantt", title="When each project runs", mark=Mark.GANTT, table="schedule", x="start", x2="finish", y=["project"], color="trade"),
            Chart(name="spending", title="Spending against cash", mark=Mark.STEP, table="cash", x="month", y=["spent"], limit="available"),
            Chart(name="uplift", title="Uplift and rent", mark=Mark.AREA, table="cash", x="month", y=["uplift", "rent"]),
            Chart(name="uplift-only", title="Cumulative uplift", mark=Mark.AREA, table="cash", x="label", y=["uplift"]),
            Chart(name="lines", title="Spent and available", mark=Mark.LINE, table="cash", x="month", y=["spent", "available"], reference=3e5),
            Chart(name="dscr", title="Debt service cover against the covenant", mark=Mark.BAR, table="dscr", x="scenario", y=["dscr"], reference=1.25),
            Chart(name="dscr-lying", title="Debt service cover, lying", mark=Mark.BAR, table="dscr", x="scenario", y=["dscr", "covenant"], horizontal=True),
            Chart(name="mix", title="Income by year and use", mark=Mark.STACKED_BAR, table="mix", x="year", y=["income"], color="use"),
            Chart(name="mix-points", title="Income by use", mark=Mark.SCATTER, table="mix", x="year", y=["income"], color="use", label="use"),
        ],
    )  # fmt: skip


def hostile(text: str) -> Report:
    """A report in which every text is `text`."""
    return Report(
        title=text,
        subtitle=text,
        currency=text,
        facts=[Fact(name="a", label=text, value=text, unit=Unit.TEXT, note=text), Fact(name="b", label=text, value=1.5, unit=Unit.MONEY)],
        sentences=[text],
        tables=[
            Table(
                name=text,
                title=text,
                columns=[Column(name="n", label=text), Column(name="v", label=text, unit=Unit.MONEY, total=True)],
                rows=[(text, 1.0), (f"={text}", 2.0), (text, None)],
                note=text,
            )
        ],
        charts=[Chart(name=text, title=text, mark=Mark.BAR, table=text, x="n", y=["v"])],
    )  # fmt: skip


def long_table(rows: int) -> Report:
    """A report of one table of eight columns."""
    cells: list[tuple[Cell, ...]] = [
        (f"D{i}", f"Property {i}", SECTORS[i % 5], CITIES[i % 6], 1e6 + i, 0.5, 5e5 + i / 2, 0.0123)
        for i in range(rows)
    ]
    table = Table(name="deals", title="Deals", columns=DEAL_COLUMNS[:7] + DEAL_COLUMNS[8:], rows=cells)
    return Report(title="A long table", currency="EUR", tables=[table])
