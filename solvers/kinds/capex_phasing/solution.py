"""From start months to a plan that people can read."""

import numpy as np

from solvers.kinds.capex_phasing.instance import Instance, Starts
from solvers.kinds.capex_phasing.left_out import reasons_of
from solvers.kinds.capex_phasing.problem import CashMonth, LeftOut, Problem, Scheduled, Solution
from solvers.kinds.capex_phasing.terms import discount_factors, first_day, last_day, monthly_cash


def solution_of(of: Instance, starts: Starts) -> Solution:
    """Return the plan in which the projects start as given."""
    problem, order = of.problem, sorted(np.flatnonzero(starts >= 0), key=lambda i: (starts[i], i))
    spent, uplift = np.zeros(of.horizon), np.zeros(of.horizon)
    for i in order:
        end = starts[i] + of.durations[i]
        spent[starts[i] : end] += [float(amount) for amount in of.payments[i]]
        uplift[end:] += of.uplift[i]
    reasons = reasons_of(problem, starts)
    return Solution(
        schedule=[_scheduled(of, int(i), int(starts[i])) for i in order],
        left_out=[LeftOut(project_id=problem.projects[i].id, reason=reason) for i, reason in reasons.items()],
        cash=_cash(problem, spent.tolist(), uplift.tolist()),
        npv=float((uplift - spent) @ discount_factors(problem)),
        total_uplift=float(uplift.sum()),
        makespan=of.makespan(starts),
        payback_month=_payback((uplift - spent).tolist(), float(spent.sum())),
    )


def starts_of(of: Instance, solution: Solution) -> Starts:
    """Return when the projects of a plan start; a plan of a similar problem may know other projects."""
    told = {one.project_id: one.start_month for one in solution.schedule}
    return np.array([told.get(project.id, -1) for project in of.problem.projects], dtype=np.int64)


def _scheduled(of: Instance, i: int, start: int) -> Scheduled:
    project, end = of.problem.projects[i], start + of.durations[i]
    return Scheduled(
        project_id=project.id,
        start_month=start,
        finish_month=end - 1,
        start_date=first_day(of.problem, start),
        finish_date=last_day(of.problem, end - 1),
        cost=float(sum(of.payments[i])),
        uplift_total=(of.horizon - end) * project.monthly_uplift,
        npv=float(of.npvs[i][start - of.earliest[i]]),
    )


def _cash(problem: Problem, spent: list[float], uplift: list[float]) -> list[CashMonth]:
    months, carried = [], 0.0
    for month, income in enumerate(monthly_cash(problem)):
        available = carried + income + (uplift[month] if problem.reinvest_uplift else 0.0)
        carried = available - spent[month] if problem.carry_over else 0.0
        one = CashMonth(month=month, available=available, spent=spent[month], carried=carried, uplift=uplift[month])
        months.append(one)
    return months


def _payback(flow: list[float], spent: float) -> int | None:
    """Return the first month from which the flow added up stays ≥ 0, but for rounding; None: it ends below."""
    total, first = 0.0, 0
    for month, amount in enumerate(flow):
        total += amount
        if total < -1e-9 * max(1.0, spent):
            first = month + 1
    return first if first < len(flow) else None
