"""Why a project is not in a plan: what it lacks, found by trying it with and without each limit."""

from solvers.kinds.capex_phasing.instance import Starts, instance_of
from solvers.kinds.capex_phasing.problem import LeftOutReason, Objective, Problem
from solvers.kinds.capex_phasing.timetable import Timetable, added, placed


def reasons_of(problem: Problem, starts: Starts) -> dict[int, LeftOutReason]:
    """Return by place why each left-out project is not in the plan, the others being where they are."""
    left_out = [place for place, start in enumerate(starts) if start < 0]
    if problem.objective is Objective.MAKESPAN:
        return dict.fromkeys(left_out, LeftOutReason.NOT_WORTH)
    table = placed(instance_of(problem, hopeful=True), starts)
    return {place: _reason(table, place) for place in left_out}


def _reason(table: Timetable, place: int) -> LeftOutReason:
    if any(table.starts[earlier] < 0 for earlier in table.instance.before[place]):
        return LeftOutReason.PREDECESSOR
    first, last = table.window(place)
    if last < first:
        return LeftOutReason.NO_TIME
    if added(table, place, cash=False, capacity=False) is None or added(table, place) is not None:
        return LeftOutReason.NOT_WORTH
    if added(table, place, capacity=False) is None:
        return LeftOutReason.NO_CASH
    return LeftOutReason.NO_CAPACITY
