from solvers.result import Violation
from tests.workers.kinds.roster.problem import Roster, Seats


def verify(problem: Roster, solution: Seats) -> list[Violation]:
    del problem, solution
    return []
