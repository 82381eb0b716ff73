"""What to show of a funding: the stack, a term sheet to sign, cover by scenario, and how the debt is repaid."""

from solvers.kinds.debt_stack.problem import EXPECTED, Problem, Solution, Source, Tranche
from solvers.kinds.debt_stack.terms import scenarios_of
from solvers.report import Cell, Chart, Column, Fact, Mark, Report, Table, Unit
from solvers.result import SolveResult

Row = tuple[Cell, ...]


def describe(problem: Problem, result: SolveResult[Solution]) -> Report:
    """Return what a reader should see of one funding, or of why there is none."""
    solution = result.solution
    if solution is None:
        return _without_answer(problem, result)
    return Report(
        title="Debt stack",
        subtitle=f"Term sheet: funding a purchase of {problem.purchase_price:,.0f} {problem.currency}",
        currency=problem.currency,
        facts=_facts(problem, solution),
        sentences=result.explanation.sentences,
        tables=[
            _terms(problem, solution),
            _uses(solution),
            _cover(problem, solution),
            _signatures(problem, solution),
            _stack(problem, solution),
            _amortization(problem, solution),
        ],
        charts=_charts(problem, solution),
        hidden_tables=["stack", "amortization"],
    )


def _without_answer(problem: Problem, result: SolveResult[Solution]) -> Report:
    columns = [
        Column(name="repair", label="What would make it possible"),
        Column(name="cost", label="By how much", unit=Unit.NUMBER),
    ]
    rows: list[Row] = [(repair.label, repair.cost) for repair in result.explanation.repairs]
    return Report(
        title="Debt stack",
        subtitle=f"No funding found for a purchase of {problem.purchase_price:,.0f} {problem.currency}",
        currency=problem.currency,
        facts=[Fact(name="outcome", label="Outcome", value=result.status.value, unit=Unit.TEXT)],
        sentences=result.explanation.sentences,
        tables=[Table(name="repairs", title="Repairs that were solved and work", columns=columns, rows=rows)]
        if rows
        else [],
    )


def _facts(problem: Problem, solution: Solution) -> list[Fact]:
    debt = sum(source.amount for source in solution.sources)
    covers = [ratio for name, ratio in solution.dscr.items() if name != EXPECTED and ratio is not None]
    uses = solution.uses
    money = [
        ("annual_cost", "Expected cost a year", solution.annual_cost, True),
        ("debt", "Debt", debt, True),
        ("equity", "Equity", solution.equity, True),
        ("total_uses", "Total uses", uses.total, False),
        ("fees", "Fees", uses.fees, False),
        ("hedge_premium", "Hedge premium", uses.hedge_premium, False),
        ("noi_annual", "Net operating income a year", problem.noi_annual, False),
    ]
    figures = [
        ("weighted_cost_of_capital", "Weighted cost of capital", solution.weighted_cost_of_capital, Unit.SHARE, True),
        ("ltv", "Loan to value", solution.ltv, Unit.SHARE, True),
        ("dscr_expected", "Debt service cover, expected", solution.dscr[EXPECTED], Unit.RATIO, True),
        ("dscr_lowest", "Debt service cover, worst scenario", min(covers, default=None), Unit.RATIO, False),
        ("debt_yield", "Debt yield", solution.debt_yield, Unit.SHARE, False),
    ]
    return [
        *(Fact(name=n, label=text, value=value, unit=Unit.MONEY, headline=top) for n, text, value, top in money),
        *(Fact(name=n, label=text, value=value, unit=unit, headline=top) for n, text, value, unit, top in figures),
    ]


def _drawn(problem: Problem, solution: Solution) -> list[tuple[Tranche, Source]]:
    offers = {tranche.id: tranche for tranche in problem.tranches}
    return [(offers[source.id], source) for source in solution.sources]


def _pricing(tranche: Tranche, source: Source) -> str:
    """Say the rate as a term sheet does: "5.00 % fixed", "index + 2.00 %, capped"."""
    if not tranche.floating:
        return f"{tranche.rate or 0.0:.2%} fixed"
    capped = f", {source.hedged / source.amount:.0%} capped" if source.hedged else ""
    return f"index + {tranche.spread or 0.0:.2%}{capped}"


def _repayment(tranche: Tranche) -> str:
    years = tranche.amortization_years
    return "interest only" if years is None else f"level over {years:g} years"


def _terms(problem: Problem, solution: Solution) -> Table:
    balloons = {plan.tranche_id: plan.balloon for plan in solution.amortization}
    rows: list[Row] = [
        (
            tranche.label,
            tranche.seniority,
            source.amount,
            source.share,
            _pricing(tranche, source),
            source.rate_expected,
            tranche.fee_rate,
            _repayment(tranche),
            tranche.term_years,
            balloons[tranche.id],
            source.cumulative_ltv,
        )
        for tranche, source in _drawn(problem, solution)
    ]
    share = solution.equity / solution.uses.total
    rows.append(("Equity", None, solution.equity, share, "", problem.equity.cost_rate, None, "", None, None, None))
    return Table(
        name="terms",
        title="Sources and terms",
        columns=[
            Column(name="source", label="Source"),
            Column(name="seniority", label="Rank", unit=Unit.WHOLE),
            Column(name="amount", label="Amount", unit=Unit.MONEY, total=True),
            Column(name="share", label="Share", unit=Unit.SHARE, total=True),
            Column(name="pricing", label="Pricing"),
            Column(name="rate_expected", label="Expected rate", unit=Unit.SHARE),
            Column(name="fee_rate", label="Fee", unit=Unit.SHARE),
            Column(name="repayment", label="Repayment"),
            Column(name="term_years", label="Term", unit=Unit.YEARS),
            Column(name="balloon", label="Due at end", unit=Unit.MONEY),
            Column(name="cumulative_ltv", label="LTV up to here", unit=Unit.SHARE),
        ],
        rows=rows,
    )


def _use_rows(solution: Solution) -> list[tuple[str, float]]:
    uses = solution.uses
    rows = [
        ("Purchase price", uses.purchase_price),
        ("Closing costs", uses.closing_costs),
        ("Lenders' fees", uses.fees),
        ("Hedge premium", uses.hedge_premium),
    ]
    return [(label, amount) for label, amount in rows if amount]


def _uses(solution: Solution) -> Table:
    return Table(
        name="uses",
        title="Uses",
        columns=[Column(name="use", label="Use"), Column(name="amount", label="Amount", unit=Unit.MONEY, total=True)],
        rows=list(_use_rows(solution)),
    )


def _cover(problem: Problem, solution: Solution) -> Table:
    """Income and service are shown as the covenant reads them: service = income ÷ cover."""
    scenarios = scenarios_of(problem)
    mean = sum(scenario.weight * scenario.noi_factor for scenario in scenarios)
    entries: list[tuple[str, float | None, float | None, float]] = [
        (one.name, one.weight, one.index_rate, problem.noi_annual * one.noi_factor) for one in scenarios
    ]
    entries.append((EXPECTED, None, None, problem.noi_annual * mean))
    rows: list[Row] = [
        (name, weight, index, income, solution.dscr[name], problem.min_dscr) for name, weight, index, income in entries
    ]
    tested = "in every scenario" if problem.dscr_scope == "every_scenario" else "in the mean over the scenarios"
    return Table(
        name="dscr",
        title="Debt service cover",
        columns=[
            Column(name="scenario", label="Scenario"),
            Column(name="weight", label="Weight", unit=Unit.SHARE),
            Column(name="index_rate", label="Index", unit=Unit.SHARE),
            Column(name="income", label="Net operating income", unit=Unit.MONEY),
            Column(name="dscr", label="Cover", unit=Unit.RATIO),
            Column(name="covenant", label="Covenant", unit=Unit.RATIO),
        ],
        rows=rows,
        note=f"The covenant is tested {tested}.",
    )


def _signatures(problem: Problem, solution: Solution) -> Table:
    parties = ["Borrower", *(f"Lender: {tranche.label}" for tranche, _ in _drawn(problem, solution))]
    return Table(
        name="signatures",
        title="Signatures",
        columns=[
            Column(name="party", label="Party"),
            Column(name="name", label="Name"),
            Column(name="place_date", label="Place and date"),
            Column(name="signature", label="Signature"),
        ],
        rows=[(party, "", "", "") for party in parties],
        note="Indicative terms; they bind nobody until a facility agreement is signed.",
    )


def _stack(problem: Problem, solution: Solution) -> Table:
    sources = [(tranche.label, source.amount) for tranche, source in _drawn(problem, solution)]
    layers = [("Sources", *entry) for entry in [*sources, ("Equity", solution.equity)]]
    layers += [("Uses", *entry) for entry in _use_rows(solution)]
    return Table(
        name="stack",
        title="The stack",
        columns=[
            Column(name="side", label=""),
            Column(name="layer", label="Layer"),
            Column(name="amount", label="Amount", unit=Unit.MONEY),
        ],
        rows=list(layers),
    )


def _amortization(problem: Problem, solution: Solution) -> Table:
    labels = {tranche.id: tranche.label for tranche in problem.tranches}
    rows: list[Row] = [
        (labels[plan.tranche_id], m.month, plan.rate, m.opening, m.interest, m.principal, m.closing)
        for plan in solution.amortization
        for m in plan.months
    ]
    return Table(
        name="amortization",
        title="Amortization",
        columns=[
            Column(name="tranche", label="Tranche"),
            Column(name="month", label="Month", unit=Unit.WHOLE),
            Column(name="rate", label="Rate a year", unit=Unit.SHARE),
            Column(name="opening", label="Opening", unit=Unit.MONEY),
            Column(name="interest", label="Interest", unit=Unit.MONEY, total=True),
            Column(name="principal", label="Principal", unit=Unit.MONEY, total=True),
            Column(name="closing", label="Closing", unit=Unit.MONEY),
        ],
        rows=rows,
        note="Illustrative: at each tranche's mean rate over the scenarios throughout.",
        formulas={"interest": "{opening} * {rate} / 12", "closing": "{opening} - {principal}"},
    )


def _charts(problem: Problem, solution: Solution) -> list[Chart]:
    stack = Chart(
        name="stack",
        title="Sources and uses",
        mark=Mark.STACKED_BAR,
        table="stack",
        x="side",
        y=["amount"],
        color="layer",
    )
    cover = Chart(
        name="dscr",
        title="Debt service cover by scenario",
        mark=Mark.BAR,
        table="dscr",
        x="scenario",
        y=["dscr"],
        reference=problem.min_dscr,
    )
    balance = Chart(
        name="balance",
        title="Debt outstanding",
        mark=Mark.AREA,
        table="amortization",
        x="month",
        y=["closing"],
        color="tranche",
    )
    return [stack, cover, balance] if solution.sources else [stack]
