"""What to show of a funding: the stack, a term sheet to sign, cover by scenario, and how the debt is repaid."""

from solvers.explanation_tables import limit_columns, what_if_table
from solvers.kinds.debt_stack.fields import fields_of
from solvers.kinds.debt_stack.problem import EXPECTED, DscrScope, Problem, Solution, Source, Tranche
from solvers.kinds.debt_stack.terms import scenarios_of
from solvers.report import Cell, Chart, Column, Fact, Mark, Report, Table, Unit
from solvers.result import SolveResult

Row = tuple[Cell, ...]
_LINE = "_" * 28
_MONEY_STEP, _SHARE_STEP = 1000, 0.01


def describe(problem: Problem, result: SolveResult[Solution]) -> Report:
    """Return what a reader should see of one funding, or of why there is none."""
    solution = result.solution
    return Report(
        title="Debt stack",
        subtitle=f"Term sheet: funding a purchase of {problem.purchase_price:,.0f} {problem.currency}",
        currency=problem.currency,
        facts=[] if solution is None else _facts(problem, solution),
        sentences=result.explanation.sentences,
        tables=_without_answer(problem, result) if solution is None else _tables(problem, result, solution),
        charts=[] if solution is None else _charts(problem, solution),
        front=[] if solution is None else ["terms", "uses", "dscr", "signatures"],
        hidden_tables=[] if solution is None else ["stack", "amortization"],
    )


def _tables(problem: Problem, result: SolveResult[Solution], solution: Solution) -> list[Table]:
    return [
        _terms(problem, solution),
        _uses(solution),
        _cover(problem, solution),
        _signatures(problem, solution),
        *_limits(problem, result),
        what_if_table(result.explanation, "Cost a year"),
        _stack(problem, solution),
        _amortization(problem, solution),
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
        note="Each alone was solved and works.",
    )
    return [table for table in (conflicts, repairs) if table.rows]


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
    scenarios = scenarios_of(problem)
    mean = sum(scenario.weight * scenario.noi_factor for scenario in scenarios)
    entries = [(one.name, one.weight, one.index_rate, problem.noi_annual * one.noi_factor) for one in scenarios]
    rows: list[Row] = []
    for name, weight, index, income in [*entries, (EXPECTED, None, None, problem.noi_annual * mean)]:
        ratio = solution.dscr[name]
        rows.append((name, weight, index, income, income / ratio if ratio else None, ratio, problem.min_dscr))
    tested = "in every scenario" if problem.dscr_scope is DscrScope.EVERY_SCENARIO else "in the mean over the scenarios"
    return Table(
        name="dscr",
        title="Debt service cover",
        columns=[
            Column(name="scenario", label="Scenario"),
            Column(name="weight", label="Weight", unit=Unit.SHARE),
            Column(name="index_rate", label="Index", unit=Unit.SHARE),
            Column(name="income", label="Income a year", unit=Unit.MONEY),
            Column(name="service", label="Debt service a year", unit=Unit.MONEY),
            Column(name="dscr", label="Cover", unit=Unit.RATIO),
            Column(name="covenant", label="Covenant", unit=Unit.RATIO),
        ],
        rows=rows,
        note=f"The covenant is tested {tested}.",
        formulas={"dscr": "{income} / {service}"} if all(row[4] for row in rows) else {},
    )


def _signatures(problem: Problem, solution: Solution) -> Table:
    parties = ["Borrower", *(f"Lender: {tranche.label}" for tranche, _ in _drawn(problem, solution))]
    return Table(
        name="signatures",
        title="Signatures",
        columns=[
            Column(name="party", label="Party"),
            Column(name="place_date", label="Place and date"),
            Column(name="signature", label="Name and signature"),
        ],
        rows=[(party, _LINE, _LINE) for party in parties],
        note="Indicative terms; they bind nobody until a facility agreement is signed.",
    )


def _limits(problem: Problem, result: SolveResult[Solution]) -> list[Table]:
    """Return the limits that are amounts and those that are shares or ratios, each with a price for a readable step."""
    named = zip(fields_of(problem), result.explanation.constraints, strict=True)
    amounts: list[Row] = []
    shares: list[Row] = []
    for field, one in named:
        is_amount = field.unit is Unit.MONEY
        price = None if one.shadow_price is None else one.shadow_price * (_MONEY_STEP if is_amount else _SHARE_STEP)
        row: Row = (one.label, one.activity, one.limit, one.slack, price, one.valid_from, one.valid_to)
        (amounts if is_amount else shares).append(row)
    return [
        _limit_table("amount_limits", "What limits in money are worth", f"{_MONEY_STEP:,} more", Unit.MONEY, amounts),
        _limit_table("share_limits", "What shares and ratios are worth", f"{_SHARE_STEP} more", Unit.NUMBER, shares),
    ]


def _limit_table(name: str, title: str, step: str, unit: Unit, rows: list[Row]) -> Table:
    return Table(
        name=name,
        title=title,
        columns=limit_columns(unit, Column(name="price", label=f"{step} costs a year", unit=Unit.MONEY)),
        rows=rows,
        note="Parts of one field (cover by scenario) add up. No end given: there is none, or exact only at first.",
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
