"""What to show of a plan: figures, the deals bought, where the money goes, and what the limits cost."""

from collections.abc import Iterator

from solvers.explanation_tables import limit_columns, what_if_table
from solvers.kinds.deal_picker.labels import label_of
from solvers.kinds.deal_picker.problem import Deal, Problem, Slice, Solution
from solvers.report import Cell, Chart, Column, Fact, Mark, Report, Table, Unit
from solvers.result import SolveResult

MOST_POINTS = 1_000
"""Of the scatter, of each sort: bought and rejected."""
MOST_BARS = 20

_TITLE = "Deal picker"
_FRONTIER = "frontier"


def describe(problem: Problem, result: SolveResult[Solution]) -> Report:
    """Return the report of a result; without a solution, why there is none and what would help."""
    solution = result.solution
    tables = [_conflicts(problem, result), _repairs(result)] if solution is None else _tables(problem, result, solution)
    missing = result.stats.get("frontier_missing", "")
    tables = [table for table in tables if table.rows or (table.name == _FRONTIER and missing)]
    drawn = {table.name for table in tables if table.rows}
    return Report(
        title=_TITLE,
        subtitle=_subtitle(problem),
        currency=problem.currency,
        facts=[] if solution is None else list(_facts(problem, result, solution)),
        sentences=result.explanation.sentences,
        tables=tables,
        charts=[chart for chart in _charts() if chart.table in drawn],
        hidden_tables=[name for name in ("scatter", _FRONTIER) if name in drawn],
    )


def _tables(problem: Problem, result: SolveResult[Solution], solution: Solution) -> list[Table]:
    return [
        _allocations(problem, solution),
        _slices("by_sector", "By sector", "Sector", solution.by_sector),
        _slices("by_city", "By city", "City", solution.by_city),
        _limits(result),
        _near_misses(problem, result),
        what_if_table(result.explanation, "Brings"),
        _scatter(problem, solution),
        _frontier(result),
    ]


def _subtitle(problem: Problem) -> str:
    mode = "whole deals" if problem.mode == "whole" else "shares of deals"
    return f"{mode.capitalize()} out of {len(problem.deals):,}, budget {problem.budget:,.0f} {problem.currency}"


def _facts(problem: Problem, result: SolveResult[Solution], solution: Solution) -> Iterator[Fact]:
    allocated, earned = solution.total_allocated, solution.total_yield
    yield Fact(name="total_yield", label="Yield a year", value=earned, unit=Unit.MONEY)
    yield Fact(
        name="yield_rate", label="Yield on money", value=earned / allocated if allocated else None, unit=Unit.SHARE
    )
    yield Fact(name="total_allocated", label="Allocated", value=allocated, unit=Unit.MONEY)
    yield Fact(name="unspent", label="Unspent", value=solution.unspent, unit=Unit.MONEY)
    yield Fact(name="deal_count", label="Deals", value=solution.deal_count, unit=Unit.WHOLE)
    yield Fact(name="total_risk", label="Risk", value=solution.total_risk, unit=Unit.NUMBER)
    if problem.risk_penalty:
        note = f"Yield less {problem.risk_penalty:g} per unit of risk"
        yield Fact(
            name="objective",
            label="Objective",
            value=solution.objective_value,
            unit=Unit.MONEY,
            note=note,
            headline=False,
        )
    yield Fact(name="gap", label="Gap to the proven bound", value=result.gap, unit=Unit.SHARE, headline=False)


def _allocations(problem: Problem, solution: Solution) -> Table:
    offers = {deal.id: deal for deal in problem.deals}
    rows: list[tuple[Cell, ...]] = []
    for bought in solution.allocations:
        deal = offers[bought.deal_id]
        rows.append(
            (
                deal.id,
                deal.name,
                deal.sector,
                deal.city,
                deal.price,
                bought.allocation,
                bought.amount,
                bought.yield_,
                bought.yield_ / bought.amount,
                bought.risk,
            )
        )
    return Table(
        name="allocations",
        title="What to buy",
        columns=[
            Column(name="deal_id", label="Deal"),
            Column(name="name", label="Name"),
            Column(name="sector", label="Sector"),
            Column(name="city", label="City"),
            Column(name="price", label="Price", unit=Unit.MONEY),
            Column(name="allocation", label="Share bought", unit=Unit.SHARE),
            Column(name="amount", label="Amount", unit=Unit.MONEY, total=True),
            Column(name="yield", label="Yield a year", unit=Unit.MONEY, total=True),
            Column(name="yield_rate", label="Yield on money", unit=Unit.SHARE),
            Column(name="risk", label="Risk", unit=Unit.NUMBER, total=True),
        ],
        rows=rows,
        formulas={"amount": "{price} * {allocation}", "yield_rate": "{yield} / {amount}"},
    )


def _slices(name: str, title: str, label: str, slices: dict[str, Slice]) -> Table:
    """Show the largest slices, and the rest together."""
    entries = list(slices.items())
    rows: list[tuple[Cell, ...]] = [
        (key or "(none)", part.amount, part.share, part.allocations) for key, part in entries[:MOST_BARS]
    ]
    rest = [part for _, part in entries[MOST_BARS:]]
    if rest:
        sums = [sum(values) for values in zip(*((p.amount, p.share, p.allocations) for p in rest), strict=True)]
        rows.append((f"{len(rest)} others", *sums))
    return Table(
        name=name,
        title=title,
        columns=[
            Column(name="name", label=label),
            Column(name="amount", label="Amount", unit=Unit.MONEY, total=True),
            Column(name="share", label="Share of money", unit=Unit.SHARE, total=True),
            Column(name="allocations", label="Deals (sum of shares)", unit=Unit.NUMBER, total=True),
        ],
        rows=rows,
    )


def _limits(result: SolveResult[Solution]) -> Table:
    return Table(
        name="limits",
        title="What the limits are worth",
        columns=limit_columns(Unit.NUMBER, Column(name="shadow_price", label="One more earns", unit=Unit.NUMBER)),
        rows=[
            (one.label, one.activity, one.limit, one.slack, one.shadow_price, one.valid_from, one.valid_to)
            for one in result.explanation.constraints
        ],
        note="Each in the unit of its field. Without a price: the model gives none.",
    )


def _near_misses(problem: Problem, result: SolveResult[Solution]) -> Table:
    unit = Unit.SHARE if problem.yield_basis == "rate" else Unit.MONEY
    return Table(
        name="near_misses",
        title="What only just missed",
        columns=[
            Column(name="deal_id", label="Deal"),
            Column(name="yield", label="Yield", unit=unit),
            Column(name="break_even_yield", label="Enters above", unit=unit),
        ],
        rows=[
            (miss["deal_id"], miss["yield"], miss["break_even_yield"])
            for miss in result.explanation.near_misses
            if miss["break_even_yield"] is not None
        ],
        note="Below the yield at which a deal enters, this plan stays the best.",
    )


def _scatter(problem: Problem, solution: Solution) -> Table:
    bought = {allocation.deal_id for allocation in solution.allocations}
    groups = {
        "bought": [deal for deal in problem.deals if deal.id in bought],
        "rejected": [deal for deal in problem.deals if deal.id not in bought],
    }
    shown = [(deal, state) for state, deals in groups.items() for deal in _spread(deals)]
    return Table(
        name="scatter",
        title="Yield against risk",
        columns=[
            Column(name="deal_id", label="Deal"),
            Column(name="risk", label="Risk per unit of price", unit=Unit.NUMBER),
            Column(name="yield", label="Yield on money", unit=Unit.SHARE),
            Column(name="state", label="State"),
        ],
        rows=[
            (deal.id, _per_price(problem, deal, deal.risk), _per_price(problem, deal, deal.yield_), state)
            for deal, state in shown
        ],
        note=""
        if len(shown) == len(problem.deals)
        else f"{len(shown):,} of {len(problem.deals):,} deals, evenly picked.",
    )


def _spread(deals: list[Deal]) -> list[Deal]:
    """Return at most MOST_POINTS deals, evenly picked."""
    step = -(-len(deals) // MOST_POINTS)
    return deals[:: max(1, step)]


def _per_price(problem: Problem, deal: Deal, value: float) -> float:
    return value if problem.yield_basis == "rate" else value / deal.price


def _frontier(result: SolveResult[Solution]) -> Table:
    """Return the plans by limit of risk; without rows, a table that says in their place why there are none."""
    return Table(
        name=_FRONTIER,
        title="What more risk would yield",
        columns=[
            Column(name="max_risk", label="Limit of risk", unit=Unit.NUMBER),
            Column(name="total_yield", label="Yield a year", unit=Unit.MONEY),
            Column(name="objective", label="Objective", unit=Unit.MONEY),
        ],
        rows=[(p["max_risk"], p["total_yield"], p["objective"]) for p in result.stats.get("frontier", [])],
        note=result.stats.get("frontier_missing") or "Each point was solved.",
    )


def _charts() -> list[Chart]:
    return [
        Chart(name="by_sector", title="Money by sector", mark=Mark.BAR, table="by_sector", x="name", y=["amount"]),
        Chart(
            name="by_city",
            title="Money by city",
            mark=Mark.BAR,
            table="by_city",
            x="name",
            y=["amount"],
            horizontal=True,
        ),
        Chart(
            name="scatter",
            title="Yield against risk",
            mark=Mark.SCATTER,
            table="scatter",
            x="risk",
            y=["yield"],
            color="state",
            label="deal_id",
        ),
        Chart(
            name="frontier",
            title="Yield against limit of risk",
            mark=Mark.LINE,
            table="frontier",
            x="max_risk",
            y=["total_yield"],
        ),
    ]


def _conflicts(problem: Problem, result: SolveResult[Solution]) -> Table:
    return Table(
        name="conflicts",
        title="What can't hold together",
        columns=[Column(name="constraint", label="Limit")],
        rows=[(label_of(problem, name),) for name in result.explanation.conflicts],
    )


def _repairs(result: SolveResult[Solution]) -> Table:
    return Table(
        name="repairs",
        title="What would help",
        columns=[Column(name="label", label="Change"), Column(name="cost", label="By how much", unit=Unit.NUMBER)],
        rows=[(repair.label, repair.cost) for repair in result.explanation.repairs],
        note="Each was solved and has a plan.",
    )
