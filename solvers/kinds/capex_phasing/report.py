"""What to show of a phasing: the schedule as a Gantt chart, cash against its limit, uplift as it adds up."""

from itertools import accumulate

from solvers.kinds.capex_phasing.problem import LeftOutReason, Problem, Solution
from solvers.kinds.capex_phasing.terms import first_day, labels_of, month_name, monthly_cash
from solvers.report import Cell, Chart, Column, Fact, Mark, Report, Table, Unit
from solvers.result import SolveResult

Row = tuple[Cell, ...]

_REASONS = {
    LeftOutReason.NOT_WORTH: "adds nothing at any start",
    LeftOutReason.NO_CASH: "no cash",
    LeftOutReason.NO_CAPACITY: "no capacity",
    LeftOutReason.PREDECESSOR: "waits for one that is left out",
    LeftOutReason.NO_TIME: "no time",
}


def describe(problem: Problem, result: SolveResult[Solution]) -> Report:
    """Return what a reader should see of one phasing, or of why there is none."""
    solution = result.solution
    subtitle = f"{len(problem.projects)} projects, {_months(problem)}"
    if solution is None:
        return _without_answer(problem, result, subtitle)
    left_out = [_left_out(problem, solution)] if solution.left_out else []
    return Report(
        title="Capex phasing",
        subtitle=subtitle,
        currency=problem.currency,
        facts=_facts(problem, solution, result),
        sentences=result.explanation.sentences,
        tables=[_schedule(problem, solution), *left_out, _cash(problem, solution), _cumulated(problem, solution)],
        charts=_charts(problem, solution),
        hidden_tables=["cumulated"],
    )


def _months(problem: Problem) -> str:
    last = month_name(problem, problem.horizon_months - 1)
    return f"{problem.horizon_months} months from {problem.start} to {last}"


def _without_answer(problem: Problem, result: SolveResult[Solution], subtitle: str) -> Report:
    columns = [
        Column(name="repair", label="What would make it possible"),
        Column(name="cost", label="By how much", unit=Unit.NUMBER),
    ]
    rows: list[Row] = [(repair.label, repair.cost) for repair in result.explanation.repairs]
    return Report(
        title="Capex phasing",
        subtitle=f"No plan found: {subtitle}",
        currency=problem.currency,
        facts=[Fact(name="outcome", label="Outcome", value=result.status.value, unit=Unit.TEXT)],
        sentences=result.explanation.sentences,
        tables=[Table(name="repairs", title="Changes that were searched and work", columns=columns, rows=rows)]
        if rows
        else [],
    )


def _facts(problem: Problem, solution: Solution, result: SolveResult[Solution]) -> list[Fact]:
    payback = None if solution.payback_month is None else month_name(problem, solution.payback_month)
    cost = sum(one.cost for one in solution.schedule)
    facts: list[tuple[str, str, Cell, Unit, bool]] = [
        ("npv", "Net present value", solution.npv, Unit.MONEY, True),
        ("total_uplift", "Uplift within the horizon", solution.total_uplift, Unit.MONEY, True),
        ("cost", "Cost", cost, Unit.MONEY, True),
        ("makespan", "All done within", solution.makespan, Unit.MONTHS, True),
        ("payback", "Paid back by", payback or "not within the horizon", Unit.TEXT, True),
        ("projects", "Projects in the plan", len(solution.schedule), Unit.WHOLE, False),
        ("left_out", "Projects left out", len(solution.left_out), Unit.WHOLE, False),
        ("gap", "Distance from the proven bound", result.gap, Unit.SHARE, False),
    ]
    return [Fact(name=n, label=text, value=value, unit=unit, headline=top) for n, text, value, unit, top in facts]


def _schedule(problem: Problem, solution: Solution) -> Table:
    labels = labels_of(problem)
    rows: list[Row] = [
        (
            labels[one.project_id],
            one.start_date,
            one.finish_date,
            one.finish_month - one.start_month + 1,
            one.cost,
            one.uplift_total,
            one.npv,
        )
        for one in solution.schedule
    ]
    return Table(
        name="schedule",
        title="Schedule",
        columns=[
            Column(name="project", label="Project"),
            Column(name="start", label="Start", unit=Unit.DATE),
            Column(name="finish", label="Finish", unit=Unit.DATE),
            Column(name="months", label="Duration", unit=Unit.MONTHS),
            Column(name="cost", label="Cost", unit=Unit.MONEY, total=True),
            Column(name="uplift_total", label="Uplift", unit=Unit.MONEY, total=True),
            Column(name="npv", label="Net present value", unit=Unit.MONEY, total=True),
        ],
        rows=rows,
        note=f"Uplift counts to {month_name(problem, problem.horizon_months - 1)}, the end of the horizon.",
    )


def _left_out(problem: Problem, solution: Solution) -> Table:
    labels = labels_of(problem)
    costs = {project.id: project.cost for project in problem.projects}
    return Table(
        name="left_out",
        title="Left out",
        columns=[
            Column(name="project", label="Project"),
            Column(name="cost", label="Cost", unit=Unit.MONEY),
            Column(name="reason", label="Why"),
        ],
        rows=[(labels[one.project_id], costs[one.project_id], _REASONS[one.reason]) for one in solution.left_out],
        note="Why, given the projects that are in the plan.",
    )


def _cash(problem: Problem, solution: Solution) -> Table:
    rows: list[Row] = [
        (month_name(problem, one.month), one.available, one.spent, one.carried, one.uplift) for one in solution.cash
    ]
    return Table(
        name="cash",
        title="Cash by month",
        columns=[
            Column(name="month", label="Month"),
            Column(name="available", label="Available", unit=Unit.MONEY),
            Column(name="spent", label="Spent", unit=Unit.MONEY, total=True),
            Column(name="carried", label="Carried over", unit=Unit.MONEY),
            Column(name="uplift", label="Uplift received", unit=Unit.MONEY, total=True),
        ],
        rows=rows,
        note="Uplift is cash too." if problem.reinvest_uplift else "Uplift is not reinvested.",
        formulas={"carried": "{available} - {spent}"} if problem.carry_over else {},
    )


def _cumulated(problem: Problem, solution: Solution) -> Table:
    """Spending beside its limit, and uplift, each added up; without carry-over spending and limit are by month."""
    uplift = [one.uplift for one in solution.cash]
    spent = [one.spent for one in solution.cash]
    income = [
        cash + (gained if problem.reinvest_uplift else 0.0)
        for cash, gained in zip(monthly_cash(problem), uplift, strict=True)
    ]
    if problem.carry_over:
        spent, income = list(accumulate(spent)), list(accumulate(income))
    days = [first_day(problem, one.month) for one in solution.cash]
    return Table(
        name="cumulated",
        title="Cash and uplift over time",
        columns=[
            Column(name="month", label="Month", unit=Unit.DATE),
            Column(name="spent", label="Spent", unit=Unit.MONEY),
            Column(name="limit", label="Cash there is", unit=Unit.MONEY),
            Column(name="uplift", label="Uplift", unit=Unit.MONEY),
        ],
        rows=list(zip(days, spent, income, accumulate(uplift), strict=True)),
    )


def _charts(problem: Problem, solution: Solution) -> list[Chart]:
    gantt = Chart(
        name="gantt",
        title="When each project runs",
        mark=Mark.GANTT,
        table="schedule",
        x="start",
        x2="finish",
        y=["project"],
    )
    title = "Spending against cash, added up" if problem.carry_over else "Spending against cash, by month"
    cash = Chart(name="cash", title=title, mark=Mark.AREA, table="cumulated", x="month", y=["spent"], limit="limit")
    uplift = Chart(name="uplift", title="Uplift, added up", mark=Mark.AREA, table="cumulated", x="month", y=["uplift"])
    return [gantt, cash, uplift] if solution.schedule else [cash]
